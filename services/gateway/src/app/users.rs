//! Users: the people who sign in.

use halcyon_domain::{
    access::Subject, audit::Resource, clock::Timestamp, datasource::check_name, error::InputError,
    id::UserId, session::EndReason,
};
use halcyon_store::{AllTenants, RoleBinding, User, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    authority::{Admins, ObjectChange, outranks, told},
    paged,
    views::{List, UserView},
};
use crate::auth::check_new_password;

paged! {
    /// Which users to list.
    ListUsers {
        /// Those with this text in their e-mail address or name.
        q: Option<String>,
    }
}

/// A user to be added.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Their e-mail address, with which they sign in; unique, whatever the case of its letters.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Their password: at least 12 characters, and not the e-mail address.
    pub password: String,
    /// Whether they may not sign in; `false` if absent.
    #[serde(default)]
    pub disabled: Option<bool>,
}

/// What to change of a user; what is absent stays.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateUser {
    /// Their e-mail address.
    pub email: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// A new password, which ends their sessions: at least 12 characters, and not the e-mail address.
    pub password: Option<String>,
    /// Whether they may not sign in; it ends their sessions.
    pub disabled: Option<bool>,
}

macro_rules! redacted {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }
    )*};
}
redacted! { CreateUser UpdateUser }
pub(super) use redacted;

/// The longest e-mail address (RFC 5321), in bytes.
const MAX_EMAIL: usize = 254;

pub(super) const ACROSS: AllTenants = AllTenants::because("a user may hold roles in several organisations");

pub(super) fn resource(id: Option<UserId>, email: &str) -> Resource {
    Resource {
        kind: "user".to_owned(),
        id: id.map(|id| id.to_string()),
        name: Some(email.chars().take(MAX_EMAIL).collect()),
    }
}

fn told_of(user: &User) -> Value {
    json!({"email": user.email, "name": user.name, "disabled": user.disabled})
}

/// An e-mail address as it is kept, if it can be one. Whether there is a mailbox is not looked into.
fn checked_email(email: &str) -> std::result::Result<String, InputError> {
    let email = email.trim().to_lowercase();
    let parts = email.split_once('@');
    let fits = email.len() <= MAX_EMAIL
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if fits {
        Ok(email)
    } else {
        Err(InputError::new(
            "/email",
            "invalid",
            "an e-mail address such as `name@host`",
        ))
    }
}

pub(super) fn all_fit<const N: usize>(checks: [std::result::Result<(), InputError>; N]) -> Result<()> {
    let errors: Vec<InputError> = checks.into_iter().filter_map(std::result::Result::err).collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}

impl App {
    /// The users who belong to the organisation.
    ///
    /// # Errors
    /// The caller may not see them, or the page cannot be had.
    pub async fn list_users(&self, context: &RequestContext, query: ListUsers) -> Result<List<UserView>> {
        self.authorize_tenant(context, Action::READ_USERS).await?;
        let read = self.store.read();
        let page = read
            .users()
            .list(tenant(context), query.q.as_deref(), &query.page())
            .await?;
        Ok(List::of(page, UserView::from))
    }

    /// A user who belongs to the organisation.
    ///
    /// # Errors
    /// The caller may not see users, or there is none.
    pub async fn get_user(&self, context: &RequestContext, id: UserId) -> Result<UserView> {
        self.authorize_tenant(context, Action::READ_USERS).await?;
        let found = self.store.read().users().find(tenant(context), id).await?;
        found.map(UserView::from).ok_or(Error::NotFound("user"))
    }

    /// Adds a user to the organisation, without any role.
    ///
    /// # Errors
    /// The caller may not, the input does not fit, or the e-mail address is taken.
    pub async fn create_user(&self, context: &RequestContext, input: CreateUser) -> Result<UserView> {
        let action = Action::CREATE_USER;
        self.authorize(context, action, &context.tenant(), resource(None, &input.email))
            .await?;
        let email = checked_email(&input.email);
        all_fit([
            email.clone().map(|_| ()),
            check_name(&input.name),
            check_new_password(&input.password, &input.email, "/password"),
        ])?;
        let hash = self.hashed(input.password).await?;
        let now = self.clock.now();
        let user = User {
            id: UserId::generate(),
            organization: context.organization(),
            email: email?,
            name: input.name,
            disabled: input.disabled.unwrap_or(false),
            external: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let tx = self.store.begin().await?;
        tx.users().insert(&user, Some(&hash)).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(user.id), &user.email),
            before: &json!({}),
            after: &told_of(&user),
            message: Some(format!("added `{}`", user.email)),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(user.into())
    }

    /// Changes what is given of a user. A new password, or `disabled`, ends their sessions.
    ///
    /// # Errors
    /// There is none, they hold more than the caller, they are the last admin, the input does not fit, the e-mail
    /// address is taken, or the revision is another one.
    pub async fn update_user(
        &self,
        context: &RequestContext,
        id: UserId,
        input: UpdateUser,
        if_match: IfMatch,
    ) -> Result<UserView> {
        let action = Action::UPDATE_USER;
        let known = self.known_user(context, id, action).await?;
        let email = input.email.as_deref().map(checked_email).transpose();
        let new_email = input.email.as_deref().unwrap_or(&known.email);
        let password = input.password.as_deref();
        all_fit([
            email.clone().map(|_| ()),
            input.name.as_deref().map_or(Ok(()), check_name),
            password.map_or(Ok(()), |new| check_new_password(new, new_email, "/password")),
        ])?;
        if password.is_some() && known.external.is_some() {
            let detail = "another issuer vouches for this user, who has no password here";
            return Err(Error::field("/password", "not_needed", detail));
        }
        let hash = match input.password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        let tx = self.begin_access().await?;
        let (before, given) = self.locked_user(&tx, context, id, if_match).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &known.email))
                .await);
        }
        let admins = Admins::before(&tx, Some(before.organization), &given).await?;
        let now = self.clock.now();
        let mut after = before.clone();
        after.email = email?.unwrap_or(after.email);
        after.name = input.name.unwrap_or(after.name);
        after.disabled = input.disabled.unwrap_or(after.disabled);
        let after = tx.users().update(&after, hash.as_deref(), now).await?;
        if after.email != before.email {
            tx.datasources()
                .rename_owner(tenant(context), &before.email, &after.email, now)
                .await?;
        }
        admins.are_kept(&tx, None).await?;
        if hash.is_some() {
            self.end_sessions(&tx, id, EndReason::PasswordChanged).await?;
        } else if after.disabled {
            self.end_sessions(&tx, id, EndReason::UserDisabled).await?;
        }
        let mut told_after = told_of(&after);
        if hash.is_some() {
            told_after["password"] = json!("[REDACTED]");
        }
        let change = ObjectChange {
            action,
            resource: resource(Some(id), &after.email),
            before: &told_of(&before),
            after: &told_after,
            message: None,
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(after.into())
    }

    /// Deletes a user with their roles, and ends their sessions.
    ///
    /// # Errors
    /// There is none, they hold more than the caller, they are the last admin, or the revision is another one.
    pub async fn delete_user(&self, context: &RequestContext, id: UserId, if_match: IfMatch) -> Result<()> {
        let action = Action::DELETE_USER;
        let known = self.known_user(context, id, action).await?;
        let tx = self.begin_access().await?;
        let (before, given) = self.locked_user(&tx, context, id, if_match).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &known.email))
                .await);
        }
        let admins = Admins::before(&tx, Some(before.organization), &given).await?;
        let taken = self.remove_user(&tx, &before, self.clock.now()).await?;
        admins.are_kept(&tx, None).await?;
        let mut told_before = told_of(&before);
        told_before["role_bindings"] = told(&taken);
        let change = ObjectChange {
            action,
            resource: resource(Some(id), &before.email),
            before: &told_before,
            after: &json!({}),
            message: Some(format!("deleted `{}`", before.email)),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await
    }

    /// Deletes a user, takes back all that they were given, and ends their sessions. Returns what was taken.
    pub(super) async fn remove_user(
        &self,
        tx: &WriteTx,
        user: &User,
        at: Timestamp,
    ) -> Result<Vec<RoleBinding>> {
        tx.users().delete(user, at).await?;
        self.end_sessions(tx, user.id, EndReason::UserDeleted).await?;
        Ok(tx
            .role_bindings()
            .delete_of(ACROSS, Subject::User(user.id))
            .await?)
    }

    /// Ends the sessions of a user, in the transaction that takes their right to sign in.
    async fn end_sessions(&self, tx: &WriteTx, id: UserId, reason: EndReason) -> Result<()> {
        tx.sessions().end_all_of(id, reason, self.clock.now()).await?;
        Ok(())
    }

    pub(super) async fn hashed(&self, password: String) -> Result<String> {
        self.passwords.hash(password).await.map_err(Error::internal)
    }

    /// A user who belongs to the organisation, for a change.
    pub(super) async fn known_user(
        &self,
        context: &RequestContext,
        id: UserId,
        action: Action,
    ) -> Result<User> {
        let found = self.store.read().users().find(tenant(context), id).await?;
        let name = found.as_ref().map_or("", |user| &user.email);
        self.authorize(context, action, &context.tenant(), resource(Some(id), name))
            .await?;
        found.ok_or(Error::NotFound("user"))
    }

    /// The user, kept from changing until the transaction ends, and all that they were given.
    pub(super) async fn locked_user(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        id: UserId,
        if_match: IfMatch,
    ) -> Result<(User, Vec<RoleBinding>)> {
        let found = tx.users().lock(tenant(context), id).await?;
        let user = found.ok_or(Error::NotFound("user"))?;
        if_match.check(user.revision)?;
        let given = tx.role_bindings().of(ACROSS, Subject::User(id)).await?;
        Ok((user, given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_lower_case_and_has_two_parts() {
        assert_eq!(checked_email(" A@x.Org ").unwrap(), "a@x.org");
        for bad in ["", "a", "@x", "a@", "a@b@c", "a b@x", "a@x\n.org"] {
            assert_eq!(checked_email(bad).unwrap_err().pointer, "/email", "{bad:?}");
        }
        assert!(checked_email(&format!("{}@x.org", "a".repeat(250))).is_err());
    }

    #[test]
    fn no_input_shows_its_password() {
        let input: CreateUser =
            serde_json::from_value(json!({"email": "a@x", "name": "a", "password": "hunter2hunter2"}))
                .unwrap();
        assert!(!format!("{input:?}").contains("hunter2"));
    }
}
