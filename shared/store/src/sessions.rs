//! Sessions, their refresh tokens, and the counters that rise when rights change.
//!
//! A session belongs to its user; its organisation is the one that the user acts in at present. So what looks a
//! session up by its user, or by a token that nobody vouches for yet, looks across all organisations.

use halcyon_domain::{
    clock::Timestamp,
    id::{OrganizationId, SessionId, UserId},
    session::EndReason,
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, Query},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{access_epochs, refresh_tokens, sessions, users},
    error::{Error, Result},
    rows::{storable, word},
    tenant::AllTenants,
    users::User,
};

/// A login, until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier: the `sid` of its access tokens.
    pub id: SessionId,
    /// The organisation that its user acts in.
    pub organization: OrganizationId,
    /// Whose it is.
    pub user: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last got an access token.
    pub last_seen_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The program that it was last used with, as that program says.
    pub user_agent: Option<String>,
    /// The address that it was last used from.
    pub remote_ip: Option<String>,
    /// When it was ended, if it was.
    pub ended_at: Option<Timestamp>,
    /// Why.
    pub end_reason: Option<EndReason>,
}

/// A session and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOwner {
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub user: User,
}

/// A refresh token that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedToken {
    /// The session it was given to.
    pub session: SessionId,
    /// When it was used, if it was.
    pub used_at: Option<Timestamp>,
}

/// Counters that rise with every change of what they count; their values say nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessEpochs {
    /// Somebody's rights: users, role bindings, sessions, where datasources belong.
    pub rights: i64,
    /// The keys that access tokens are signed with.
    pub token_keys: i64,
}

fn session(row: sessions::Model) -> Result<Session> {
    Ok(Session {
        id: SessionId(row.id),
        organization: OrganizationId(row.organization_id),
        user: UserId(row.user_id),
        created_at: row.created_at,
        last_seen_at: row.last_seen_at,
        expires_at: row.expires_at,
        user_agent: row.user_agent,
        remote_ip: row.remote_ip,
        ended_at: row.ended_at,
        end_reason: row.end_reason.as_deref().map(word).transpose()?,
    })
}

/// Sessions.
#[derive(Debug)]
pub struct Sessions<'c, C>(pub(crate) &'c C);

impl<C: Connection> Sessions<'_, C> {
    /// A session and its user, whether or not it has ended; none if the user was deleted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, _: AllTenants, id: SessionId) -> Result<Option<SessionOwner>> {
        let row = sessions::Entity::find_by_id(id.0)
            .find_also_related(users::Entity)
            .filter(users::Column::DeletedAt.is_null())
            .one(&self.0.db())
            .await?;
        let Some((row, Some(user))) = row else {
            return Ok(None);
        };
        Ok(Some(SessionOwner {
            session: session(row)?,
            user: user.into(),
        }))
    }

    /// The sessions of a user that have not been ended or run out, the one that was used last first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn standing(&self, _: AllTenants, user: UserId, now: Timestamp) -> Result<Vec<Session>> {
        let rows = sessions::Entity::find()
            .filter(sessions::Column::UserId.eq(user.0))
            .filter(sessions::Column::EndedAt.is_null())
            .filter(sessions::Column::ExpiresAt.gt(now))
            .order_by_desc(sessions::Column::LastSeenAt)
            .order_by_desc(sessions::Column::Id)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(session).collect()
    }

    /// What is known of a refresh token, by its hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn token(&self, _: AllTenants, hash: &[u8]) -> Result<Option<UsedToken>> {
        let row = refresh_tokens::Entity::find_by_id(hash.to_vec())
            .one(&self.0.db())
            .await?;
        Ok(row.map(|row| UsedToken {
            session: SessionId(row.session_id),
            used_at: row.used_at,
        }))
    }

    /// The counters of changed rights.
    ///
    /// # Errors
    /// The database fails.
    pub async fn epochs(&self, _: AllTenants) -> Result<AccessEpochs> {
        let rows = access_epochs::Entity::find().all(&self.0.db()).await?;
        let mut epochs = AccessEpochs::default();
        for row in rows {
            match row.name.as_str() {
                "rights" => epochs.rights = row.value,
                "token_keys" => epochs.token_keys = row.value,
                other => return Err(Error::internal(format!("unknown counter {other}"))),
            }
        }
        Ok(epochs)
    }
}

impl Sessions<'_, WriteTx> {
    /// Adds a session.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert(&self, session: &Session) -> Result<()> {
        let row = sessions::ActiveModel {
            id: Set(session.id.0),
            organization_id: Set(session.organization.0),
            user_id: Set(session.user.0),
            created_at: Set(session.created_at),
            last_seen_at: Set(session.last_seen_at),
            expires_at: Set(session.expires_at),
            user_agent: Set(session.user_agent.as_deref().map(storable)),
            remote_ip: Set(session.remote_ip.clone()),
            ended_at: Set(session.ended_at),
            end_reason: Set(session.end_reason.map(|reason| reason.to_string())),
        };
        sessions::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Gives a session a refresh token, by its hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_token(&self, id: SessionId, hash: &[u8], at: Timestamp) -> Result<()> {
        let row = refresh_tokens::ActiveModel {
            hash: Set(hash.to_vec()),
            session_id: Set(id.0),
            created_at: Set(at),
            used_at: Set(None),
        };
        refresh_tokens::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Marks a refresh token as used. Returns whether it was not used before: of several that try at once one does.
    ///
    /// # Errors
    /// The database fails.
    pub async fn use_token(&self, hash: &[u8], at: Timestamp) -> Result<bool> {
        let done = refresh_tokens::Entity::update_many()
            .col_expr(refresh_tokens::Column::UsedAt, Expr::value(at))
            .filter(refresh_tokens::Column::Hash.eq(hash.to_vec()))
            .filter(refresh_tokens::Column::UsedAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Writes when, with what, from where and for which organisation a session was last used.
    ///
    /// # Errors
    /// The database fails.
    pub async fn touch(&self, used: &Session) -> Result<()> {
        sessions::Entity::update_many()
            .col_expr(sessions::Column::LastSeenAt, Expr::value(used.last_seen_at))
            .col_expr(
                sessions::Column::UserAgent,
                Expr::value(used.user_agent.as_deref().map(storable)),
            )
            .col_expr(sessions::Column::RemoteIp, Expr::value(used.remote_ip.clone()))
            .col_expr(sessions::Column::OrganizationId, Expr::value(used.organization.0))
            .filter(sessions::Column::Id.eq(used.id.0))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Ends a session of a user. Returns whether it was there and had not ended.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end(&self, user: UserId, id: SessionId, reason: EndReason, at: Timestamp) -> Result<bool> {
        let one = sessions::Column::Id.eq(id.0);
        Ok(self
            .end_where(user, Condition::all().add(one), reason, at)
            .await?
            > 0)
    }

    /// Ends all sessions of a user: to be called in the transaction that takes their right to sign in. Returns how
    /// many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_all_of(&self, user: UserId, reason: EndReason, at: Timestamp) -> Result<u64> {
        self.end_where(user, Condition::all(), reason, at).await
    }

    /// Ends all sessions of a user but the one that they do this from. Returns how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_all_but(
        &self,
        user: UserId,
        kept: SessionId,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<u64> {
        let others = sessions::Column::Id.ne(kept.0);
        self.end_where(user, Condition::all().add(others), reason, at)
            .await
    }

    async fn end_where(
        &self,
        user: UserId,
        which: Condition,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<u64> {
        let done = sessions::Entity::update_many()
            .col_expr(sessions::Column::EndedAt, Expr::value(at))
            .col_expr(sessions::Column::EndReason, Expr::value(reason.as_str()))
            .filter(sessions::Column::UserId.eq(user.0))
            .filter(sessions::Column::EndedAt.is_null())
            .filter(which)
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected)
    }

    /// Removes sessions that ended, ran out or were last used before `before`, with their tokens: a thousand at most.
    /// Returns how many.
    ///
    /// # Errors
    /// The database fails.
    pub async fn sweep(&self, _: AllTenants, before: Timestamp) -> Result<u64> {
        let over = Condition::any()
            .add(sessions::Column::EndedAt.lt(before))
            .add(sessions::Column::ExpiresAt.lt(before))
            .add(sessions::Column::LastSeenAt.lt(before));
        let some = Query::select()
            .column(sessions::Column::Id)
            .from(sessions::Entity)
            .cond_where(over)
            .limit(1_000)
            .to_owned();
        let done = sessions::Entity::delete_many()
            .filter(sessions::Column::Id.in_subquery(some))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected)
    }
}
