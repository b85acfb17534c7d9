//! The answers to requests that carried an `Idempotency-Key`, kept for a day.

use chrono::TimeDelta;
use halcyon_domain::{
    clock::Timestamp,
    id::{OrganizationId, UserId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::idempotency_keys::{ActiveModel, Column, Entity},
    error::{Error, Result},
};

/// For how long an answer is kept.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// For how long a request without an answer counts as being in flight; its process may have died.
const IN_FLIGHT_FOR: TimeDelta = TimeDelta::minutes(2);

/// A request with an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// The organisation it acts in.
    pub organization: OrganizationId,
    /// Who sent it.
    pub user: UserId,
    /// The key.
    pub key: String,
    /// A hash of method, path and body.
    pub hash: Vec<u8>,
}

/// The answer that a repeated request gets again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status; 409 stands for an answer that held a secret.
    pub status: u16,
    /// The headers worth keeping, as the caller writes them.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It is new, and now in flight.
    New,
    /// The same request is in flight.
    InFlight,
    /// The key was used for another request.
    OtherRequest,
    /// It was answered.
    Answered(KeptAnswer),
}

/// Answers kept for repeated requests.
#[derive(Debug)]
pub struct IdempotencyKeys<'c, C>(pub(crate) &'c C);

fn is(request: &KeptRequest) -> sea_orm::Condition {
    sea_orm::Condition::all()
        .add(Column::OrganizationId.eq(request.organization.0))
        .add(Column::UserId.eq(request.user.0))
        .add(Column::IdempotencyKey.eq(request.key.as_str()))
}

impl<C: Connection> IdempotencyKeys<'_, C> {
    async fn recall(&self, request: &KeptRequest) -> Result<Remembered> {
        let row = Entity::find().filter(is(request)).one(&self.0.db()).await?;
        let Some(row) = row else {
            return Ok(Remembered::New);
        };
        if row.request_hash != request.hash {
            return Ok(Remembered::OtherRequest);
        }
        let (Some(status), Some(headers), Some(body)) = (row.status, row.headers, row.body) else {
            return Ok(Remembered::InFlight);
        };
        let status = u16::try_from(status).map_err(Error::internal)?;
        Ok(Remembered::Answered(KeptAnswer {
            status,
            headers,
            body,
        }))
    }
}

impl IdempotencyKeys<'_, WriteTx> {
    /// Marks a request as in flight, unless it is known.
    ///
    /// # Errors
    /// The database fails.
    pub async fn begin(&self, request: &KeptRequest, now: Timestamp) -> Result<Remembered> {
        let stale = sea_orm::Condition::any()
            .add(Column::CreatedAt.lt(now - KEPT_FOR))
            .add(
                Column::Status
                    .is_null()
                    .and(Column::CreatedAt.lt(now - IN_FLIGHT_FOR)),
            );
        Entity::delete_many()
            .filter(is(request))
            .filter(stale)
            .exec(&self.0.db())
            .await?;
        let row = ActiveModel {
            organization_id: Set(request.organization.0),
            user_id: Set(request.user.0),
            idempotency_key: Set(request.key.clone()),
            request_hash: Set(request.hash.clone()),
            status: Set(None),
            headers: Set(None),
            body: Set(None),
            created_at: Set(now),
        };
        let key = [Column::OrganizationId, Column::UserId, Column::IdempotencyKey];
        let inserted = Entity::insert(row)
            .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
            .exec_without_returning(&self.0.db())
            .await?;
        if inserted == 0 {
            self.recall(request).await
        } else {
            Ok(Remembered::New)
        }
    }

    /// Keeps the answer.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish(&self, request: &KeptRequest, answer: &KeptAnswer) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(i64::from(answer.status)))
            .col_expr(Column::Headers, Expr::value(answer.headers.as_str()))
            .col_expr(Column::Body, Expr::value(answer.body.clone()))
            .filter(is(request))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Forgets a request that failed in a way that is worth another try.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget(&self, request: &KeptRequest) -> Result<()> {
        Entity::delete_many()
            .filter(is(request))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Removes answers older than a day.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prune(&self, now: Timestamp) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CreatedAt.lt(now - KEPT_FOR))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }
}
