//! Who acts, what is acted on, and whether the one may do it to the other.

use uuid::Uuid;

use super::{Grant, Permission, Role, Scope};
use crate::{
    audit::ActorKind,
    id::{ActorId, DatasourceId, OrganizationId, ProjectId, ServiceAccountId, UserId},
};

/// Whom roles are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// A program.
    ServiceAccount(ServiceAccountId),
}

impl Subject {
    /// The identifier that is kept of whoever made or changed something.
    #[must_use]
    pub const fn actor(self) -> ActorId {
        match self {
            Self::User(id) => ActorId(id.0),
            Self::ServiceAccount(id) => ActorId(id.0),
        }
    }

    /// The bare identifier.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.actor().0
    }

    /// What the audit trail calls one of this kind.
    #[must_use]
    pub const fn kind(self) -> ActorKind {
        match self {
            Self::User(_) => ActorKind::User,
            Self::ServiceAccount(_) => ActorKind::ServiceAccount,
        }
    }

    /// The user, if it is one.
    #[must_use]
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::ServiceAccount(_) => None,
        }
    }

    /// The service account, if it is one.
    #[must_use]
    pub const fn service_account(self) -> Option<ServiceAccountId> {
        match self {
            Self::User(_) => None,
            Self::ServiceAccount(id) => Some(id),
        }
    }
}

/// Who acts, and what they were granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user or service account.
    pub subject: Subject,
    /// The user's e-mail or the account's name, for the audit trail.
    pub name: String,
    /// The organisation they act in.
    pub organization: OrganizationId,
    /// What they were granted.
    pub grants: Vec<Grant>,
}

/// What is acted on, with all that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The organisation.
    pub organization: OrganizationId,
    /// The project, if there is one.
    pub project: Option<ProjectId>,
    /// The datasource, if it is one.
    pub datasource: Option<DatasourceId>,
}

impl Target {
    /// The organisation as a whole.
    #[must_use]
    pub const fn organization(organization: OrganizationId) -> Self {
        Self {
            organization,
            project: None,
            datasource: None,
        }
    }

    /// A project as a whole.
    #[must_use]
    pub const fn project(organization: OrganizationId, project: ProjectId) -> Self {
        Self {
            organization,
            project: Some(project),
            datasource: None,
        }
    }

    fn is_within(&self, scope: Scope) -> bool {
        match scope {
            Scope::Global => true,
            Scope::Organization(id) => self.organization == id,
            Scope::Project(id) => self.project == Some(id),
            Scope::Datasource(id) => self.datasource == Some(id),
        }
    }
}

impl Principal {
    /// The strongest role at `target`; none if the target is not theirs to see. A principal acts in one
    /// organisation at a time: what belongs to another is not theirs, whatever they were granted there.
    #[must_use]
    pub fn role_at(&self, target: &Target) -> Option<Role> {
        if target.organization != self.organization {
            return None;
        }
        self.grants
            .iter()
            .filter(|grant| target.is_within(grant.scope))
            .map(|grant| grant.role)
            .max()
    }

    /// Whether they may.
    #[must_use]
    pub fn may(&self, permission: Permission, target: &Target) -> bool {
        self.role_at(target).is_some_and(|role| role.allows(permission))
    }

    /// The strongest role that holds everywhere, in whichever organisation they act.
    #[must_use]
    pub fn global_role(&self) -> Option<Role> {
        self.grants
            .iter()
            .filter(|grant| grant.scope == Scope::Global)
            .map(|grant| grant.role)
            .max()
    }

    /// Whether they may in every organisation.
    #[must_use]
    pub fn may_everywhere(&self, permission: Permission) -> bool {
        self.global_role().is_some_and(|role| role.allows(permission))
    }

    /// Whether they may give or take the role `grant`, whose scope is `target`: they need the permission for it
    /// there, and nobody hands out more than they hold.
    #[must_use]
    pub fn may_grant(&self, grant: Grant, target: &Target) -> bool {
        let held = match grant.scope {
            Scope::Global => self.global_role(),
            _ => self.role_at(target),
        };
        held.is_some_and(|held| held.allows(Permission::RoleBindingWrite) && held >= grant.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, scope: Scope, organization: OrganizationId) -> Principal {
        Principal {
            subject: Subject::User(UserId::generate()),
            name: "a".into(),
            organization,
            grants: vec![Grant { role, scope }],
        }
    }

    #[test]
    fn a_role_holds_at_its_scope_only() {
        let organization = OrganizationId::generate();
        let datasource = DatasourceId::generate();
        let target = Target {
            organization,
            project: None,
            datasource: Some(datasource),
        };
        let operator = principal(Role::Operator, Scope::Datasource(datasource), organization);
        assert!(operator.may(Permission::DatasourceOperate, &target));
        assert!(!operator.may(Permission::DatasourcePublish, &target));
        assert_eq!(operator.role_at(&Target::organization(organization)), None);
    }

    #[test]
    fn even_a_global_admin_acts_in_one_organisation() {
        let admin = principal(Role::Admin, Scope::Global, OrganizationId::generate());
        assert!(admin.may(Permission::AuditRead, &Target::organization(admin.organization)));
        assert!(!admin.may(
            Permission::AuditRead,
            &Target::organization(OrganizationId::generate())
        ));
        assert!(admin.may_everywhere(Permission::OrganizationWrite));
    }

    #[test]
    fn a_role_is_given_by_those_who_hold_it_there() {
        let organization = OrganizationId::generate();
        let project = ProjectId::generate();
        let grant = |role, scope| Grant { role, scope };
        let whole = Target::organization(organization);
        let part = Target::project(organization, project);
        let admin = principal(Role::Admin, Scope::Project(project), organization);
        assert!(admin.may_grant(grant(Role::Admin, Scope::Project(project)), &part));
        assert!(!admin.may_grant(grant(Role::Viewer, Scope::Organization(organization)), &whole));
        assert!(!admin.may_grant(grant(Role::Viewer, Scope::Global), &part));
        let operator = principal(Role::Operator, Scope::Global, organization);
        assert!(!operator.may_grant(grant(Role::Viewer, Scope::Global), &whole));
        let admin = principal(Role::Admin, Scope::Organization(organization), organization);
        assert!(!admin.may_grant(grant(Role::Viewer, Scope::Global), &whole));
    }
}
