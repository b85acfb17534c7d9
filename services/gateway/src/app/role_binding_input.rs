//! What is given of role bindings.

use halcyon_domain::{
    access::{Role, Scope, ScopeKind, Subject},
    error::InputError,
    id::{ServiceAccountId, UserId},
};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{Error, Result, paged};

paged! {
    /// Which role bindings to list.
    ListRoleBindings {
        /// Those of this user.
        user_id: Option<UserId>,
        /// Those of this service account.
        service_account_id: Option<ServiceAccountId>,
        /// Those of this role.
        role: Option<Role>,
        /// Those at a scope of this kind.
        scope_kind: Option<ScopeKind>,
        /// Those at this organisation, project or datasource.
        scope_id: Option<Uuid>,
    }
}

/// A role to be given, to a user or to a service account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoleBinding {
    /// To this user; to name a user of another organisation takes the role everywhere.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// To this service account.
    #[serde(default)]
    pub service_account_id: Option<ServiceAccountId>,
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: BindingScope,
}

/// Where a role is to hold.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindingScope {
    /// What kind of scope.
    pub kind: ScopeKind,
    /// The organisation, project or datasource; nothing for the global scope.
    #[serde(default)]
    pub id: Option<Uuid>,
}

/// What to change of a role binding; what is absent stays.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateRoleBinding {
    /// The role.
    pub role: Option<Role>,
}

pub(super) fn subject_of(
    user: Option<UserId>,
    account: Option<ServiceAccountId>,
) -> std::result::Result<Option<Subject>, InputError> {
    match (user, account) {
        (Some(_), Some(_)) => {
            let detail = "either a user or a service account";
            Err(InputError::new("/service_account_id", "one_of", detail))
        }
        (Some(id), None) => Ok(Some(Subject::User(id))),
        (None, Some(id)) => Ok(Some(Subject::ServiceAccount(id))),
        (None, None) => Ok(None),
    }
}

impl BindingScope {
    pub(super) fn scope(self) -> Result<Scope> {
        let unfit = || {
            let detail = match self.kind {
                ScopeKind::Global => "the global scope is of nothing: leave it out",
                _ => "what the scope is of",
            };
            Error::field("/scope/id", "invalid", detail)
        };
        // The nil identifier is how the database keeps that there is none.
        let id = self
            .id
            .filter(|id| !id.is_nil() || self.kind == ScopeKind::Global);
        Scope::from_parts(self.kind, id).ok_or_else(unfit)
    }
}
