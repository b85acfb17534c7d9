//! One's own password.

use halcyon_domain::{audit::AuditOutcome, session::EndReason};
use halcyon_store::{Tenant, User};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Asker},
    authority::ObjectChange,
    users::{ACROSS, all_fit, redacted, resource},
};
use crate::auth::check_new_password;

/// A new password of one's own.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password as it is.
    pub current: String,
    /// The new one: at least 12 characters, and not the e-mail address.
    pub new: String,
}

redacted! { ChangePassword }

impl App {
    /// Sets a new password of one's own, and ends one's other sessions.
    ///
    /// # Errors
    /// The caller is no user, the present password is wrong, or the new one does not fit.
    pub async fn change_password(&self, context: &RequestContext, input: ChangePassword) -> Result<()> {
        let no_password = || Error::Conflict {
            code: "no_password",
            detail: "the caller has no password here".to_owned(),
        };
        let id = context.principal.subject.user().ok_or_else(no_password)?;
        let user = self.store.read().users().find_any(ACROSS, id).await?;
        let user = user.ok_or(Error::NotFound("user"))?;
        if user.external.is_some() {
            return Err(no_password());
        }
        all_fit([check_new_password(&input.new, &user.email, "/new")])?;
        self.check_current(context, &user, input.current).await?;
        let hash = self.hashed(input.new).await?;
        let tx = self.begin_access().await?;
        let home = Tenant(user.organization);
        let user = tx.users().lock(home, id).await?.ok_or(Error::NotFound("user"))?;
        tx.users().update(&user, Some(&hash), self.clock.now()).await?;
        let (reason, now) = (EndReason::PasswordChanged, self.clock.now());
        match context.credential.session {
            Some(own) => tx.sessions().end_all_but(id, own, reason, now).await?,
            None => tx.sessions().end_all_of(id, reason, now).await?,
        };
        let change = ObjectChange {
            action: Action::CHANGE_PASSWORD,
            resource: resource(Some(id), &user.email),
            before: &json!({}),
            after: &json!({"password": "[REDACTED]"}),
            message: Some("set a new password".to_owned()),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await
    }

    /// Checks the present password: whoever found an open session does not get the account with it. Guessing is
    /// slowed down as it is at login.
    async fn check_current(&self, context: &RequestContext, user: &User, current: String) -> Result<()> {
        let ip = context.info.remote_ip;
        let taken = self.throttle.take(&user.email, ip);
        taken.map_err(|retry_after| Error::TooMany { retry_after })?;
        let home = Tenant(user.organization);
        let known = self.store.read().users().credentials(home, user.id).await?;
        let hash = known.and_then(|known| known.password_hash);
        let right = self.passwords.check(current, hash).await;
        if right.map_err(Error::internal)? {
            self.throttle.give_back(&user.email, ip);
            return Ok(());
        }
        let entry = self.entry(
            Asker::of(context),
            Action::CHANGE_PASSWORD.name,
            resource(Some(user.id), &user.email),
            AuditOutcome::Refused,
            "refused: the present password was wrong".to_owned(),
        );
        self.services.publish_audit(&entry).await?;
        Err(Error::field("/current", "wrong", "this is not your password"))
    }
}
