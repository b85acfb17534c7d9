//! What the API says of organisations, of who acts in them, and of what they were given.

use std::collections::HashMap;

use halcyon_domain::{
    access::{Role, Scope, ScopeKind},
    audit::ActorKind,
    clock::Timestamp,
    id::{
        ActorId, OrganizationId, ProjectId, RoleBindingId, ServiceAccountId, ServiceAccountTokenId, UserId,
    },
    organization::ApprovalPolicy,
};
use halcyon_store::{Organization, Project, RoleBinding, ServiceAccount, ServiceAccountToken, User};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::projects::ProjectApprovalPolicy;

/// An organisation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub struct OrganizationView {
    /// Its identifier.
    pub id: OrganizationId,
    /// Its name, unique.
    pub name: String,
    /// Whether what is published needs an approval, where a project does not say otherwise.
    pub approval_policy: ApprovalPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<Organization> for OrganizationView {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            approval_policy: organization.approval_policy,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
            revision: organization.revision,
        }
    }
}

/// A project.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Project")]
pub struct ProjectView {
    /// Its identifier.
    pub id: ProjectId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether what is published in it needs an approval.
    pub approval_policy: ProjectApprovalPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            name: project.name,
            description: project.description,
            approval_policy: project.approval_policy.into(),
            created_at: project.created_at,
            updated_at: project.updated_at,
            revision: project.revision,
        }
    }
}

/// A user.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserView {
    /// Their identifier.
    pub id: UserId,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// The organisation they belong to.
    pub organization: OrganizationId,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            organization: user.organization,
            disabled: user.disabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
            revision: user.revision,
        }
    }
}

/// A scope, with the name of what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NamedScope")]
pub struct ScopeView {
    /// What kind of scope.
    pub kind: ScopeKind,
    /// The organisation, project or datasource; null for the global scope.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: Option<String>,
}

impl ScopeView {
    /// A scope, with its name as far as it is known.
    #[must_use]
    pub fn new(scope: Scope, names: &HashMap<Uuid, String>) -> Self {
        let id = scope.id();
        Self {
            kind: scope.kind(),
            id,
            name: id.and_then(|id| names.get(&id).cloned()),
        }
    }
}

/// A role and where it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "HeldRole")]
pub struct HeldRole {
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: ScopeView,
}

/// The caller, and what they were granted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Me {
    /// Whether it is a user or a service account.
    pub kind: ActorKind,
    /// Their identifier.
    pub id: ActorId,
    /// A user's e-mail address.
    pub email: Option<String>,
    /// Their name.
    pub name: String,
    /// The organisation they act in.
    pub organization: OrganizationId,
    /// Their roles and where they hold.
    pub roles: Vec<HeldRole>,
}

/// A service account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ServiceAccount")]
pub struct ServiceAccountView {
    /// Its identifier.
    pub id: ServiceAccountId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its tokens do not count.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<ServiceAccount> for ServiceAccountView {
    fn from(account: ServiceAccount) -> Self {
        Self {
            id: account.id,
            name: account.name,
            description: account.description,
            disabled: account.disabled,
            created_at: account.created_at,
            created_by: account.created_by,
            updated_at: account.updated_at,
            revision: account.revision,
        }
    }
}

/// What is known of a service account's token. The token itself is shown once, when it is made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ServiceAccountToken")]
pub struct TokenView {
    /// Its identifier.
    pub id: ServiceAccountTokenId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// Its age in seconds.
    pub age_seconds: i64,
    /// From when on it does not count.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it does not count.
    pub revoked_at: Option<Timestamp>,
}

impl TokenView {
    /// What is known of a token at `now`.
    #[must_use]
    pub fn new(token: ServiceAccountToken, now: Timestamp) -> Self {
        Self {
            age_seconds: (now - token.created_at).num_seconds().max(0),
            id: token.id,
            name: token.name,
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token that was made just now.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "NewServiceAccountToken")]
pub struct NewTokenView {
    /// What is known of it.
    #[serde(flatten)]
    pub about: TokenView,
    /// The token, to send as `Authorization: Bearer`. It is not shown again.
    pub token: String,
}

impl std::fmt::Debug for NewTokenView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewTokenView({:?}, [REDACTED])", self.about)
    }
}

/// A role that was given.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "RoleBinding")]
pub struct RoleBindingView {
    /// Its identifier.
    pub id: RoleBindingId,
    /// The user it was given to.
    pub user_id: Option<UserId>,
    /// The service account it was given to.
    pub service_account_id: Option<ServiceAccountId>,
    /// The user's e-mail address, or the service account's name.
    pub name: Option<String>,
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: ScopeView,
    /// When it was given.
    pub created_at: Timestamp,
    /// Who gave it.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl RoleBindingView {
    /// A role binding, with what `names` knows of whom and what it names.
    #[must_use]
    pub fn new(binding: RoleBinding, names: &HashMap<Uuid, String>) -> Self {
        Self {
            id: binding.id,
            user_id: binding.subject.user(),
            service_account_id: binding.subject.service_account(),
            name: names.get(&binding.subject.uuid()).cloned(),
            role: binding.grant.role,
            scope: ScopeView::new(binding.grant.scope, names),
            created_at: binding.created_at,
            created_by: binding.created_by,
            updated_at: binding.updated_at,
            revision: binding.revision,
        }
    }
}
