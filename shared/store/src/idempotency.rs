//! Requests with an `Idempotency-Key`: each takes effect once, and its answer is kept for a day.
//!
//! A request is *claimed* before it runs, *marked* in the transaction that gives it effect, and *answered* at the
//! end. A process that dies before the mark leaves a claim that runs out, so the request may be run again; one that
//! dies after it leaves a mark without an answer, and the request is never run again. A claim that was lost to
//! somebody else can no longer mark: its transaction must not commit.

use chrono::TimeDelta;
use halcyon_domain::clock::Timestamp;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::idempotency_keys::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    tenant::Tenant,
};

/// For how long an answer is kept.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// A request with an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Who sent it.
    pub subject: Uuid,
    /// The key.
    pub key: String,
    /// A hash of method, path and body.
    pub hash: Vec<u8>,
    /// Identifies this run of the request.
    pub claim: Uuid,
}

/// The answer that a repeated request gets again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers worth keeping, as the caller writes them.
    pub headers: String,
    /// The body; nothing if it held a secret.
    pub body: Option<Vec<u8>>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It is new, or was given up without effect: it may run now.
    New,
    /// The same request is being run until this time at the latest.
    InFlight(Timestamp),
    /// The key was used for another request.
    OtherRequest,
    /// It took effect, on this object if it is known, and its answer is lost.
    AnswerLost(Option<String>),
    /// It was answered.
    Answered(KeptAnswer),
}

/// Requests with an `Idempotency-Key`.
#[derive(Debug)]
pub struct IdempotencyKeys<'c, C>(pub(crate) &'c C);

fn is(tenant: Tenant, request: &KeyedRequest) -> Condition {
    Condition::all()
        .add(Column::OrganizationId.eq(tenant.uuid()))
        .add(Column::SubjectId.eq(request.subject))
        .add(Column::IdempotencyKey.eq(request.key.as_str()))
}

fn claimed(tenant: Tenant, request: &KeyedRequest) -> Condition {
    is(tenant, request).add(Column::Claim.eq(request.claim))
}

fn remembered(row: Model, request: &KeyedRequest, now: Timestamp) -> Result<Remembered> {
    if row.request_hash != request.hash {
        return Ok(Remembered::OtherRequest);
    }
    let Some(status) = row.status else {
        // While the claim lasts its process may be about to write the answer.
        let lost = row.committed_at.is_some() && row.claimed_until <= now;
        return Ok(if lost {
            Remembered::AnswerLost(row.object)
        } else {
            Remembered::InFlight(row.claimed_until)
        });
    };
    Ok(Remembered::Answered(KeptAnswer {
        status: u16::try_from(status).map_err(Error::internal)?,
        headers: row.headers.unwrap_or_default(),
        body: row.body,
    }))
}

impl<C: Connection> IdempotencyKeys<'_, C> {
    async fn row(&self, tenant: Tenant, request: &KeyedRequest) -> Result<Option<Model>> {
        Ok(Entity::find()
            .filter(is(tenant, request))
            .one(&self.0.db())
            .await?)
    }
}

impl IdempotencyKeys<'_, WriteTx> {
    /// Claims a request until `until`, unless it is known.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim(
        &self,
        tenant: Tenant,
        request: &KeyedRequest,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Remembered> {
        let over = Condition::any().add(Column::CreatedAt.lt(now - KEPT_FOR)).add(
            Condition::all()
                .add(Column::Status.is_null())
                .add(Column::CommittedAt.is_null())
                .add(Column::ClaimedUntil.lte(now)),
        );
        Entity::delete_many()
            .filter(is(tenant, request))
            .filter(over)
            .exec(&self.0.db())
            .await?;
        let row = ActiveModel {
            organization_id: Set(tenant.uuid()),
            subject_id: Set(request.subject),
            idempotency_key: Set(request.key.clone()),
            request_hash: Set(request.hash.clone()),
            claim: Set(request.claim),
            claimed_until: Set(until),
            committed_at: Set(None),
            object: Set(None),
            status: Set(None),
            headers: Set(None),
            body: Set(None),
            created_at: Set(now),
        };
        let key = [Column::OrganizationId, Column::SubjectId, Column::IdempotencyKey];
        let inserted = Entity::insert(row)
            .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
            .exec_without_returning(&self.0.db())
            .await?;
        if inserted > 0 {
            return Ok(Remembered::New);
        }
        match self.row(tenant, request).await? {
            Some(row) => remembered(row, request, now),
            // Given up between the two statements: whoever asks again may run it.
            None => Ok(Remembered::InFlight(now)),
        }
    }

    /// Says that the request takes effect with this transaction, on `object` if that is known. False if the claim
    /// was lost: then the transaction must not commit.
    ///
    /// # Errors
    /// The database fails.
    pub async fn mark(
        &self,
        tenant: Tenant,
        request: &KeyedRequest,
        object: Option<&str>,
        now: Timestamp,
    ) -> Result<bool> {
        let done = Entity::update_many()
            .col_expr(Column::CommittedAt, Expr::value(now))
            .col_expr(Column::Object, Expr::value(object.map(str::to_owned)))
            .filter(claimed(tenant, request))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Keeps the answer, if the claim still holds.
    ///
    /// # Errors
    /// The database fails.
    pub async fn answer(&self, tenant: Tenant, request: &KeyedRequest, answer: &KeptAnswer) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(i64::from(answer.status)))
            .col_expr(Column::Headers, Expr::value(answer.headers.as_str()))
            .col_expr(Column::Body, Expr::value(answer.body.clone()))
            .filter(claimed(tenant, request))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Gives a request up that had no effect, so that it may be run again at once. False if it had one: then it
    /// stays, without an answer.
    ///
    /// # Errors
    /// The database fails.
    pub async fn give_up(&self, tenant: Tenant, request: &KeyedRequest) -> Result<bool> {
        let done = Entity::delete_many()
            .filter(claimed(tenant, request))
            .filter(Column::CommittedAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Removes what is older than a day.
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
