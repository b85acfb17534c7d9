//! Who may do what: roles, permissions, scopes and the matrix that joins them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    id::{DatasourceId, OrganizationId, ProjectId},
    lifecycle::states,
};

mod principal;

pub use principal::{Principal, Subject, Target};

states! {
    /// A role. A later one may do all that an earlier one may.
    Role {
        /// Sees.
        Viewer = "viewer",
        /// Sees, tests and operates.
        Operator = "operator",
        /// Does everything.
        Admin = "admin",
    }
}

impl Role {
    /// The role of a JWT claim such as `datasource:operator`, from this or an outside issuer.
    #[must_use]
    pub fn from_claim(claim: &str) -> Option<Self> {
        claim.strip_prefix("datasource:")?.parse().ok()
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal : $role:ident),* $(,)?) => {
        states! {
            /// Something that can be permitted. Its name is the action's name in the audit trail, too.
            Permission { $($(#[$doc])* $variant = $name),* }
        }

        impl Permission {
            /// The least role that has it.
            #[must_use]
            pub const fn least_role(self) -> Role {
                match self { $(Self::$variant => Role::$role),* }
            }
        }
    };
}

permissions! {
    /// See datasources, versions, state, metrics, events and logs.
    DatasourceRead = "datasource.read": Viewer,
    /// See alerts, entities and relationships.
    OntologyRead = "ontology.read": Viewer,
    /// See the connector catalog.
    ConnectorRead = "connector.read": Viewer,
    /// Run tests, test connections, discover.
    DatasourceTest = "datasource.test": Operator,
    /// Start, stop, restart, reload, enable, disable.
    DatasourceOperate = "datasource.operate": Operator,
    /// Create a datasource.
    DatasourceCreate = "datasource.create": Admin,
    /// Edit a datasource or its drafts.
    DatasourceUpdate = "datasource.update": Admin,
    /// Publish a version.
    DatasourcePublish = "datasource.publish": Admin,
    /// Put an earlier version back in effect.
    DatasourceRollback = "datasource.rollback": Admin,
    /// Delete a datasource.
    DatasourceDelete = "datasource.delete": Admin,
    /// See the names and ages of secrets.
    SecretRead = "secret.read": Admin,
    /// Write, rotate and delete secrets.
    SecretWrite = "secret.write": Admin,
    /// See saved samples, which hold what a vendor sent.
    SampleRead = "sample.read": Operator,
    /// Save and delete samples.
    SampleWrite = "sample.write": Operator,
    /// See what dead letters hold: their bodies and headers.
    DeadLetterPayload = "dead_letter.payload": Operator,
    /// Process dead letters anew.
    DeadLetterReplay = "dead_letter.replay": Operator,
    /// Move or clear a datasource's place in its source.
    CheckpointWrite = "checkpoint.write": Admin,
    /// Comment on versions and approvals.
    CommentWrite = "comment.write": Operator,
    /// Approve or reject what somebody else wants to publish.
    ApprovalDecide = "approval.decide": Admin,
    /// Read, verify and export the audit trail.
    AuditRead = "audit.read": Admin,
    /// See the organisation.
    OrganizationRead = "organization.read": Viewer,
    /// Create, change and delete organisations; to create or delete one takes the role at the global scope.
    OrganizationWrite = "organization.write": Admin,
    /// See projects.
    ProjectRead = "project.read": Viewer,
    /// Create, change and delete projects.
    ProjectWrite = "project.write": Admin,
    /// See users and their role bindings.
    UserRead = "user.read": Admin,
    /// Create, change and delete users; end their sessions.
    UserWrite = "user.write": Admin,
    /// See service accounts and the names and ages of their tokens.
    ServiceAccountRead = "service_account.read": Admin,
    /// Create, change and delete service accounts and their tokens.
    ServiceAccountWrite = "service_account.write": Admin,
    /// See role bindings.
    RoleBindingRead = "role_binding.read": Admin,
    /// Give and take roles, up to one's own.
    RoleBindingWrite = "role_binding.write": Admin,
    /// Replace the key that access tokens are signed with; takes the role at the global scope.
    TokenKeyRotate = "token_key.rotate": Admin,
}

impl Role {
    /// Whether the role has the permission.
    #[must_use]
    pub fn allows(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }
}

states! {
    /// What kind of scope.
    ScopeKind {
        /// Everywhere.
        Global = "global",
        /// One organisation.
        Organization = "organization",
        /// One project.
        Project = "project",
        /// One datasource.
        Datasource = "datasource",
    }
}

/// Where a role holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// Everywhere.
    Global,
    /// In one organisation.
    Organization(OrganizationId),
    /// In one project.
    Project(ProjectId),
    /// For one datasource.
    Datasource(DatasourceId),
}

impl Scope {
    /// The scope's kind.
    #[must_use]
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Organization(_) => ScopeKind::Organization,
            Self::Project(_) => ScopeKind::Project,
            Self::Datasource(_) => ScopeKind::Datasource,
        }
    }

    /// What the scope is of; nothing for the global one.
    #[must_use]
    pub const fn id(&self) -> Option<Uuid> {
        match self {
            Self::Global => None,
            Self::Organization(id) => Some(id.0),
            Self::Project(id) => Some(id.0),
            Self::Datasource(id) => Some(id.0),
        }
    }

    /// The scope of a kind and an identifier; none if there is an identifier too many, or one is missing.
    #[must_use]
    pub const fn from_parts(kind: ScopeKind, id: Option<Uuid>) -> Option<Self> {
        match (kind, id) {
            (ScopeKind::Global, None) => Some(Self::Global),
            (ScopeKind::Organization, Some(id)) => Some(Self::Organization(OrganizationId(id))),
            (ScopeKind::Project, Some(id)) => Some(Self::Project(ProjectId(id))),
            (ScopeKind::Datasource, Some(id)) => Some(Self::Datasource(DatasourceId(id))),
            _ => None,
        }
    }
}

/// A role at a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_name_roles() {
        assert_eq!(Role::from_claim("datasource:operator"), Some(Role::Operator));
        assert_eq!(Role::from_claim("operator"), None);
    }

    /// What the doc comments say of an enumeration's values, in their order.
    fn docs<T: JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T).to_value();
        let values = schema["oneOf"].as_array().unwrap();
        let doc = |value: &serde_json::Value| value["description"].as_str().unwrap().to_owned();
        values.iter().map(doc).collect()
    }

    #[test]
    fn the_permissions_reference_is_up_to_date() {
        use halcyon_tests::reference::{check, code, page, table};

        let mut text = page("Roles and permissions", &["shared/domain/src/access.rs"]);
        text.push_str(
            "A role holds at a scope: everywhere (`global`), in an organisation, in a project, or for one \
             datasource. What somebody may not see is answered 404, what they see but may not do 403. A \
             permission's name is the action's name in the audit trail.\n\n",
        );
        let roles = Role::ALL.iter().zip(docs::<Role>());
        let rows = roles.map(|(role, doc)| {
            let claim = format!("datasource:{role}");
            assert_eq!(Role::from_claim(&claim), Some(*role));
            vec![code(role.as_str()), code(&claim), doc]
        });
        text.push_str(&table(&["Role", "Claim", ""], rows));
        let roles = Role::ALL.iter().map(|role| role.as_str());
        let head: Vec<_> = ["Permission"]
            .into_iter()
            .chain(roles)
            .chain(["What for"])
            .collect();
        let permissions = Permission::ALL.iter().zip(docs::<Permission>());
        let rows = permissions.map(|(permission, doc)| {
            let mark = |role: &Role| if role.allows(*permission) { "yes" } else { "" }.to_owned();
            let marks = Role::ALL.iter().map(mark);
            [code(permission.as_str())]
                .into_iter()
                .chain(marks)
                .chain([doc])
                .collect()
        });
        text.push_str(&table(&head, rows));
        check("permissions.md", &text);
    }
}
