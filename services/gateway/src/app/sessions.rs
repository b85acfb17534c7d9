//! The sessions that a user has, and ending them.

use std::time::Duration;

use chrono::TimeDelta;
use halcyon_domain::{
    audit::{AuditOutcome, Resource},
    id::{SessionId, UserId},
    session::EndReason,
};
use halcyon_store::{AllTenants, Session};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Asker},
    authenticate::WHOSE,
    authority::outranks,
    users::resource as user_resource,
    views::{List, SessionInfo},
};

/// How long a session that is over is kept, for those who look into what happened.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

const EVERYBODYS: AllTenants = AllTenants::because("what is over is removed, whosever it was");

fn info(session: Session, current: Option<SessionId>) -> SessionInfo {
    SessionInfo {
        current: Some(session.id) == current,
        id: session.id,
        organization: session.organization,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        expires_at: session.expires_at,
        user_agent: session.user_agent,
        remote_ip: session.remote_ip,
    }
}

impl App {
    /// The caller's sessions, the one that was used last first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_sessions(&self, context: &RequestContext) -> Result<List<SessionInfo>> {
        let Some(user) = context.principal.subject.user() else {
            return Ok(List::whole(Vec::new()));
        };
        let now = self.clock.now();
        let sessions = self.store.read().sessions().standing(WHOSE, user, now).await?;
        let current = context.credential.session;
        Ok(List::whole(
            sessions
                .into_iter()
                .map(|session| info(session, current))
                .collect(),
        ))
    }

    /// Ends one of the caller's sessions; its tokens hold no more.
    ///
    /// # Errors
    /// The caller has no such session.
    pub async fn end_session(&self, context: &RequestContext, id: SessionId) -> Result<()> {
        let user = context.principal.subject.user();
        let (user, now) = (user.ok_or(Error::NotFound("session"))?, self.clock.now());
        let tx = self.store.begin().await?;
        if !tx.sessions().end(user, id, EndReason::Revoked, now).await? {
            return Err(Error::NotFound("session"));
        }
        let resource = Resource {
            kind: "session".to_owned(),
            id: Some(id.to_string()),
            name: Some(context.principal.name.clone()),
        };
        let entry = self.entry(
            Asker::of(context),
            "session.end",
            resource,
            AuditOutcome::Succeeded,
            "ended a session".to_owned(),
        );
        self.append_audit(&tx, &entry, None).await?;
        self.commit(tx).await
    }

    /// Removes the sessions that are over, a week after they ended or were last used.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn sweep_sessions(&self) -> Result<u64> {
        let longest = self.options.sessions.idle_timeout.get().max(KEPT);
        let age = TimeDelta::from_std(longest).unwrap_or(TimeDelta::MAX);
        let mut swept = 0;
        loop {
            let tx = self.store.begin().await?;
            let removed = tx.sessions().sweep(EVERYBODYS, self.clock.now() - age).await?;
            tx.commit().await?;
            swept += removed;
            if removed == 0 {
                return Ok(swept);
            }
        }
    }

    /// Ends all sessions of a user of the organisation.
    ///
    /// # Errors
    /// There is no such user, the caller may not, or the user holds more than the caller.
    pub async fn end_user_sessions(&self, context: &RequestContext, id: UserId) -> Result<()> {
        let action = Action::END_SESSIONS;
        self.known_user(context, id, action).await?;
        // Nobody is given a role, and so comes to outrank the caller, before the sessions are over.
        let tx = self.begin_access().await?;
        let (user, given) = self.locked_user(&tx, context, id, IfMatch::Any).await?;
        let resource = user_resource(Some(id), &user.email);
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self.forbid(context, action, resource).await);
        }
        let ended = tx
            .sessions()
            .end_all_of(id, EndReason::RevokedByAdmin, self.clock.now())
            .await?;
        let entry = self.entry(
            Asker::of(context),
            action.name,
            resource,
            AuditOutcome::Succeeded,
            format!("ended {ended} sessions"),
        );
        self.append_audit(&tx, &entry, None).await?;
        self.commit(tx).await
    }
}
