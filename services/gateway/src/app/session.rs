//! Signing in, and who is signed in.

use std::time::Duration;

use halcyon_domain::audit::{Actor, ActorKind, AuditOutcome, Resource};
use halcyon_store::{AllTenants, Credentials, Tenant, User, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::{App, Error, Result, access::Asker, refresh::SignedIn};
use crate::context::RequestInfo;

/// Who signs in.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The e-mail address.
    pub email: String,
    /// The password.
    pub password: String,
    /// Whether the answer is to hold the refresh token, for programs; browsers get it as a cookie.
    #[serde(default)]
    pub return_refresh_token: bool,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, [REDACTED])", self.email)
    }
}

/// The same whether the e-mail or the password is wrong.
const WRONG: Error = Error::Unauthenticated("the e-mail address or the password is wrong");

/// The longest e-mail address (RFC 5321), in bytes: what is tried is kept for a while, to slow down guessing.
const MAX_EMAIL: usize = 254;

/// When a refusal is answered. The refusal of a known user is written to the audit trail, that of an unknown one
/// is not: answering as soon as each is done would tell who exists.
const REFUSAL: Duration = Duration::from_millis(500);

impl App {
    /// Signs in.
    ///
    /// # Errors
    /// The e-mail or password is wrong, there were too many attempts, or there are no signing keys yet.
    pub async fn login(&self, input: Login, info: &RequestInfo) -> Result<SignedIn> {
        if input.email.len() > MAX_EMAIL {
            return Err(Error::field("/email", "too_long", "at most 254 bytes"));
        }
        let refuse_at = Instant::now() + REFUSAL;
        let outcome = self.sign_in(input, info).await;
        if matches!(outcome, Err(Error::Unauthenticated(_))) {
            tokio::time::sleep_until(refuse_at).await;
        }
        outcome
    }

    async fn sign_in(&self, input: Login, info: &RequestInfo) -> Result<SignedIn> {
        let taken = self.throttle.take(&input.email, info.remote_ip);
        taken.map_err(|retry_after| Error::TooMany { retry_after })?;
        let read = self.store.read();
        let reason = AllTenants::because("nobody is signed in yet: a login has no organisation");
        let found = read.users().by_email(reason, &input.email).await?;
        let (user, hash) = match found {
            Some(found) if !found.user.disabled => (Some(found.user), found.password_hash),
            Some(found) => (Some(found.user), None),
            None => (None, None),
        };
        let right = self
            .passwords
            .check(input.password, hash.clone())
            .await
            .map_err(Error::internal)?;
        let Some(user) = user else {
            tracing::info!("a login with an unknown e-mail address was refused");
            return Err(WRONG);
        };
        let signed_in = self.enter(&user, hash.filter(|_| right), info).await?;
        self.throttle.give_back(&input.email, info.remote_ip);
        Ok(signed_in)
    }

    /// Begins the session of a user whose password has this hash; there is none if the password was wrong. It is looked
    /// at again where nobody can change it any more: to check a password takes a while, and one that was replaced
    /// meanwhile opens no session.
    pub(crate) async fn enter(
        &self,
        user: &User,
        hash: Option<String>,
        info: &RequestInfo,
    ) -> Result<SignedIn> {
        let tx = self.store.begin().await?;
        let home = Tenant(user.organization);
        tx.users().lock(home, user.id).await?;
        let now = tx.users().credentials(home, user.id).await?;
        let stands = |now: &Credentials| !now.user.disabled && now.password_hash == hash;
        if hash.is_none() || !now.as_ref().is_some_and(stands) {
            self.record_login(&tx, user, info, AuditOutcome::Refused, "a login was refused")
                .await?;
            self.commit(tx).await?;
            return Err(WRONG);
        }
        let signed_in = self.begin_session(&tx, user, info).await?;
        self.record_login(&tx, user, info, AuditOutcome::Succeeded, "signed in")
            .await?;
        self.commit(tx).await?;
        Ok(signed_in)
    }

    async fn record_login(
        &self,
        tx: &WriteTx,
        user: &User,
        info: &RequestInfo,
        outcome: AuditOutcome,
        summary: &str,
    ) -> Result<()> {
        let known = outcome == AuditOutcome::Succeeded;
        let actor = Actor {
            kind: if known {
                ActorKind::User
            } else {
                ActorKind::Anonymous
            },
            id: known.then_some(user.id.0),
            name: user.email.clone(),
        };
        let resource = Resource {
            kind: "session".to_owned(),
            id: Some(user.id.to_string()),
            name: Some(user.email.clone()),
        };
        let asker = Asker {
            organization: user.organization,
            actor,
            info,
        };
        let entry = self.entry(asker, "session.login", resource, outcome, summary.to_owned());
        self.append_audit(tx, &entry, None).await
    }
}
