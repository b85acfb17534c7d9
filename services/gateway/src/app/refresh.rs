//! A session from its beginning to its end: access tokens are short-lived, and a refresh token gets the next one.

use std::time::Duration;

use chrono::TimeDelta;
use halcyon_domain::{
    audit::{Actor, ActorKind, AuditOutcome, Resource},
    clock::Timestamp,
    id::{OrganizationId, SessionId},
    session::EndReason,
};
use halcyon_store::{Session, SessionOwner, UsedToken, User, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    App, Error, RequestContext, Result,
    access::Asker,
    authenticate::{NO_KEYS, WHOSE},
    views::{self, UserView},
};
use crate::{
    auth::{Holder, RefreshToken, TokenError},
    context::RequestInfo,
};

/// What gets the next access token.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The refresh token, from programs; browsers send it as a cookie.
    #[serde(default)]
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refresh([REDACTED])")
    }
}

/// Which organisation to act in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchOrganization {
    /// The organisation.
    pub organization: OrganizationId,
}

/// An access token that was issued, and what gets the next one.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// What the caller is told.
    pub session: views::Session,
    /// The next refresh token; none if the caller has a good one.
    pub refresh: Option<RefreshToken>,
    /// How long the access token is good.
    pub lifetime: Duration,
    /// How long the refresh token is good if it is not used.
    pub idle: Duration,
}

/// The same whatever is wrong with a refresh token.
const REFUSED: Error = Error::Unauthenticated("the refresh token does not hold; sign in again");

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl App {
    /// Begins a session of a user who has shown who they are.
    pub(super) async fn begin_session(
        &self,
        tx: &WriteTx,
        user: &User,
        info: &RequestInfo,
    ) -> Result<SignedIn> {
        let now = self.clock.now();
        let session = Session {
            id: SessionId::generate(),
            organization: user.organization,
            user: user.id,
            created_at: now,
            last_seen_at: now,
            expires_at: now + delta(self.options.sessions.max_lifetime.get()),
            user_agent: info.user_agent.clone(),
            remote_ip: info.remote_ip.map(|ip| ip.to_string()),
            ended_at: None,
            end_reason: None,
        };
        tx.sessions().insert(&session).await?;
        let refresh = self.next_token(tx, &session).await?;
        self.signed_in(
            &SessionOwner {
                session,
                user: user.clone(),
            },
            Some(refresh),
        )
    }

    async fn next_token(&self, tx: &WriteTx, session: &Session) -> Result<RefreshToken> {
        let token = RefreshToken::generate();
        tx.sessions()
            .insert_token(session.id, &token.hash(), self.clock.now())
            .await?;
        Ok(token)
    }

    fn signed_in(&self, owner: &SessionOwner, refresh: Option<RefreshToken>) -> Result<SignedIn> {
        let session = &owner.session;
        let holder = Holder {
            user: session.user,
            organization: session.organization,
            session: session.id,
            until: session.expires_at,
        };
        let issued = self.tokens.issue(&holder).map_err(|error| match error {
            TokenError::NoKeys => NO_KEYS,
            other => Error::internal(other),
        })?;
        let left = |until: Timestamp| (until - self.clock.now()).to_std().unwrap_or_default();
        let session = views::Session {
            access_token: issued.token,
            token_type: "Bearer",
            expires_at: issued.expires_at,
            session: session.id,
            organization: session.organization,
            refresh_token: None,
            user: UserView::from(owner.user.clone()),
        };
        Ok(SignedIn {
            lifetime: left(session.expires_at),
            idle: self
                .options
                .sessions
                .idle_timeout
                .get()
                .min(left(owner.session.expires_at)),
            session,
            refresh,
        })
    }

    /// Gets a session its next access token, and its next refresh token in the place of the one that was shown.
    ///
    /// A refresh token works once. One that is shown again after a few seconds has been copied by somebody: the
    /// session ends, whoever comes second.
    ///
    /// # Errors
    /// The token is not known or was used, or the session is over.
    pub async fn refresh(&self, shown: &RefreshToken, info: &RequestInfo) -> Result<SignedIn> {
        let (hash, now) = (shown.hash(), self.clock.now());
        let tx = self.store.begin().await?;
        let Some(known) = tx.sessions().token(WHOSE, &hash).await? else {
            return Err(REFUSED);
        };
        let found = tx.sessions().find(WHOSE, known.session).await?;
        let Some(mut owner) = found.filter(|owner| self.stands(owner) && self.is_in_use(&owner.session))
        else {
            return Err(REFUSED);
        };
        let first = known.used_at.is_none() && tx.sessions().use_token(&hash, now).await?;
        if !first && self.is_reused(&known) {
            self.end_reused(tx, &owner, info).await?;
            return Err(REFUSED);
        }
        if self
            .principal_as(owner.user.clone(), owner.session.organization)
            .await?
            .is_none()
        {
            owner.session.organization = owner.user.organization;
        }
        owner.session.last_seen_at = now;
        owner.session.user_agent.clone_from(&info.user_agent);
        owner.session.remote_ip = info.remote_ip.map(|ip| ip.to_string());
        tx.sessions().touch(&owner.session).await?;
        let refresh = if first {
            Some(self.next_token(&tx, &owner.session).await?)
        } else {
            None
        };
        let signed_in = self.signed_in(&owner, refresh)?;
        self.record_session(&tx, &owner, info, "session.refresh", "got the next access token")
            .await?;
        self.commit(tx).await?;
        Ok(signed_in)
    }

    /// Whether a session was used lately enough to go on.
    fn is_in_use(&self, session: &Session) -> bool {
        session.last_seen_at + delta(self.options.sessions.idle_timeout.get()) > self.clock.now()
    }

    /// Whether a refresh token was used so long ago that its owner would have the next one by now.
    fn is_reused(&self, known: &UsedToken) -> bool {
        let grace = delta(self.options.sessions.refresh_grace.get());
        known.used_at.is_some_and(|at| at + grace <= self.clock.now())
    }

    async fn end_reused(&self, tx: WriteTx, owner: &SessionOwner, info: &RequestInfo) -> Result<()> {
        let session = &owner.session;
        tracing::warn!(session.id = %session.id, "a refresh token was used twice; its session is ended");
        tx.sessions()
            .end(session.user, session.id, EndReason::TokenReused, self.clock.now())
            .await?;
        let summary = "ended the session: a refresh token was used twice";
        self.record_session(&tx, owner, info, "session.end", summary)
            .await?;
        self.commit(tx).await
    }

    /// Ends the session of a refresh token or of an access token; nothing happens if there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn logout(
        &self,
        refresh: Option<&RefreshToken>,
        access: Option<&str>,
        info: &RequestInfo,
    ) -> Result<()> {
        let tx = self.store.begin().await?;
        let known = match refresh {
            Some(token) => tx.sessions().token(WHOSE, &token.hash()).await?,
            None => None,
        };
        let claimed = || access.and_then(|token| self.tokens.verify(token).ok());
        let Some(id) = known.map(|known| known.session).or_else(|| Some(claimed()?.sid)) else {
            return Ok(());
        };
        let Some(owner) = tx.sessions().find(WHOSE, id).await? else {
            return Ok(());
        };
        let ended = tx
            .sessions()
            .end(owner.user.id, id, EndReason::SignedOut, self.clock.now())
            .await?;
        if ended {
            self.record_session(&tx, &owner, info, "session.logout", "signed out")
                .await?;
            self.commit(tx).await?;
        }
        Ok(())
    }

    /// Goes on in another organisation, in the same session.
    ///
    /// # Errors
    /// There is nothing there for the caller, or they have no session.
    pub async fn switch_organization(
        &self,
        context: &RequestContext,
        input: SwitchOrganization,
    ) -> Result<SignedIn> {
        let id = context.credential.session.ok_or_else(|| Error::Conflict {
            code: "no_session",
            detail: "this token is good for one organisation only; sign in to switch".to_owned(),
        })?;
        let tx = self.store.begin().await?;
        let mut owner = tx.sessions().find(WHOSE, id).await?.ok_or(REFUSED)?;
        let there = self.principal_as(owner.user.clone(), input.organization).await?;
        if there.is_none() {
            return Err(Error::NotFound("organization"));
        }
        owner.session.organization = input.organization;
        tx.sessions().touch(&owner.session).await?;
        let signed_in = self.signed_in(&owner, None)?;
        let action = "session.switch_organization";
        self.record_session(
            &tx,
            &owner,
            &context.info,
            action,
            "acts in this organisation now",
        )
        .await?;
        self.commit(tx).await?;
        Ok(signed_in)
    }

    /// Writes what became of a session into the trail of the organisation that it acts in.
    async fn record_session(
        &self,
        tx: &WriteTx,
        owner: &SessionOwner,
        info: &RequestInfo,
        action: &str,
        summary: &str,
    ) -> Result<()> {
        let actor = Actor {
            kind: ActorKind::User,
            id: Some(owner.user.id.0),
            name: owner.user.email.clone(),
        };
        let asker = Asker {
            organization: owner.session.organization,
            actor,
            info,
        };
        let resource = Resource {
            kind: "session".to_owned(),
            id: Some(owner.session.id.to_string()),
            name: Some(owner.user.email.clone()),
        };
        let entry = self.entry(
            asker,
            action,
            resource,
            AuditOutcome::Succeeded,
            summary.to_owned(),
        );
        self.append_audit(tx, &entry, None).await
    }
}
