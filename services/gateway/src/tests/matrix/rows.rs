//! What each operation takes.

use halcyon_domain::access::Role;
use serde_json::{Value, json};

use super::world::Target;
use Role::{Admin, Operator, Viewer};

/// What an operation takes of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: it is for those who are not known yet.
    Nothing,
    /// That they are signed in.
    SignedIn,
    /// At least this role.
    Role(Role),
}

impl Takes {
    pub(super) const fn role(self) -> Option<Role> {
        match self {
            Self::Role(role) => Some(role),
            _ => None,
        }
    }
}

/// Where the role is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At the datasource.
    Datasource,
    /// At the project.
    Project,
    /// At the organisation.
    Organization,
    /// Anywhere in the organisation.
    Member,
    /// Everywhere.
    Global,
}

impl At {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Datasource => "datasource",
            Self::Project => "project",
            Self::Organization => "organization",
            Self::Member => "anywhere in it",
            Self::Global => "global",
        }
    }
}

/// An operation.
pub(super) struct Row {
    /// Its `operationId`.
    pub(super) operation: &'static str,
    /// What it takes.
    pub(super) takes: Takes,
    /// Where.
    pub(super) at: At,
    /// The object whose identifier is the path's `{id}`.
    pub(super) id: Option<fn(&Target) -> &str>,
    /// What GraphQL calls that object beside `id`.
    pub(super) kind: &'static str,
    /// Whether somebody without a role there is told that it does not exist.
    pub(super) hides: bool,
    /// Whether a role everywhere reaches into other organisations.
    pub(super) crosses: bool,
    /// Whether something below the object is not there in these requests: 404 says nothing.
    pub(super) misses: bool,
    /// The body of a request.
    pub(super) body: fn(&Target) -> Value,
    /// Other parts of the path and the query.
    pub(super) parts: fn(&Target) -> Value,
}

fn nothing(_: &Target) -> Value {
    Value::Null
}

const fn row(operation: &'static str, takes: Takes, at: At) -> Row {
    Row {
        operation,
        takes,
        at,
        id: None,
        kind: "",
        hides: false,
        crosses: false,
        misses: false,
        body: nothing,
        parts: nothing,
    }
}

/// An operation on a datasource.
const fn datasource(operation: &'static str, role: Role) -> Row {
    Row {
        id: Some(|target| &target.datasource),
        kind: "datasourceId",
        hides: true,
        ..row(operation, Takes::Role(role), At::Datasource)
    }
}

/// An operation of the organisation as a whole.
const fn organization(operation: &'static str, role: Role) -> Row {
    row(operation, Takes::Role(role), At::Organization)
}

impl Row {
    /// Whether it names an object, which may belong to others.
    pub(super) const fn is_about_one(&self) -> bool {
        self.id.is_some()
    }

    const fn sends(self, body: fn(&Target) -> Value) -> Self {
        Self { body, ..self }
    }

    const fn with(self, parts: fn(&Target) -> Value) -> Self {
        Self { parts, ..self }
    }

    const fn of(self, kind: &'static str, id: fn(&Target) -> &str) -> Self {
        Self {
            id: Some(id),
            kind,
            ..self
        }
    }

    const fn misses(self) -> Self {
        Self { misses: true, ..self }
    }

    const fn hides(self) -> Self {
        Self { hides: true, ..self }
    }

    const fn crosses(self) -> Self {
        Self {
            crosses: true,
            ..self
        }
    }
}

fn empty(_: &Target) -> Value {
    json!({})
}

fn first(_: &Target) -> Value {
    json!({"number": 1})
}

fn comment(target: &Target) -> Value {
    json!({"number": 1, "comment": target.comment})
}

fn approval(target: &Target) -> Value {
    json!({"approval": target.approval})
}

fn sample(target: &Target) -> Value {
    json!({"sample": target.sample})
}

fn token(_: &Target) -> Value {
    json!({"name": "token"})
}

fn named(_: &Target) -> Value {
    json!({"name": format!("new {}", uuid::Uuid::new_v4())})
}

/// Every operation.
pub(super) const ROWS: &[Row] = &[
    row("login", Takes::Nothing, At::Organization)
        .sends(|_| json!({"email": "nobody@example.org", "password": "wrong"}))
        .misses(),
    row("refresh", Takes::Nothing, At::Organization).misses(),
    row("switchOrganization", Takes::SignedIn, At::Organization)
        .sends(|target| json!({"organization": target.organization}))
        .misses(),
    row("getMe", Takes::SignedIn, At::Organization),
    row("changePassword", Takes::SignedIn, At::Organization).sends(|_| json!({"current": "x", "new": "y"})).misses(),
    row("listMySessions", Takes::SignedIn, At::Organization),
    row("endMySession", Takes::SignedIn, At::Organization).with(|target| json!({"id": target.user})).misses(),
    organization("endUserSessions", Admin).of("userId", |target| &target.user),
    row("rotateTokenKeys", Takes::Role(Admin), At::Global).misses(),
    row("listOrganizations", Takes::SignedIn, At::Organization),
    row("createOrganization", Takes::Role(Admin), At::Global).sends(named),
    row("getOrganization", Takes::Role(Viewer), At::Member)
        .of("organizationId", |target| &target.organization)
        .sends(empty)
        .hides()
        .crosses(),
    row("deleteOrganization", Takes::Role(Admin), At::Global)
        .of("organizationId", |target| &target.organization)
        .hides()
        .crosses(),
    row("listProjects", Takes::Role(Viewer), At::Project),
    organization("createProject", Admin).sends(named),
    row("getProject", Takes::Role(Viewer), At::Project).of("projectId", |target| &target.project).hides(),
    row("updateProject", Takes::Role(Admin), At::Project)
        .of("projectId", |target| &target.project)
        .sends(|_| json!({"description": "changed"}))
        .hides(),
    row("deleteProject", Takes::Role(Admin), At::Project).of("projectId", |target| &target.project).hides(),
    organization("listUsers", Admin),
    organization("createUser", Admin).sends(|_| {
        json!({"email": format!("{}@example.org", uuid::Uuid::new_v4()), "name": "N", "password": "long enough to be one"})
    }),
    organization("getUser", Admin).of("userId", |target| &target.user),
    organization("updateUser", Admin).of("userId", |target| &target.user).sends(|_| json!({"name": "M"})),
    organization("deleteUser", Admin).of("userId", |target| &target.user),
    organization("listServiceAccounts", Admin),
    organization("createServiceAccount", Admin).sends(named),
    organization("getServiceAccount", Admin).of("serviceAccountId", |target| &target.account),
    organization("updateServiceAccount", Admin)
        .of("serviceAccountId", |target| &target.account)
        .sends(|_| json!({"description": "changed"})),
    organization("deleteServiceAccount", Admin).of("serviceAccountId", |target| &target.account),
    organization("listServiceAccountTokens", Admin).of("serviceAccountId", |target| &target.account),
    organization("createServiceAccountToken", Admin)
        .of("serviceAccountId", |target| &target.account)
        .sends(named),
    organization("deleteServiceAccountToken", Admin)
        .of("serviceAccountId", |target| &target.account)
        .with(|target| json!({"token": target.token})),
    row("listRoleBindings", Takes::Role(Admin), At::Datasource),
    row("createRoleBinding", Takes::Role(Admin), At::Project).sends(|target| {
        let scope = json!({"kind": "project", "id": target.project});
        json!({"service_account_id": target.account, "role": "viewer", "scope": scope})
    }),
    row("getRoleBinding", Takes::Role(Admin), At::Project).of("roleBindingId", |target| &target.binding).hides(),
    row("updateRoleBinding", Takes::Role(Admin), At::Project)
        .of("roleBindingId", |target| &target.binding)
        .sends(|_| json!({"role": "viewer"}))
        .hides(),
    row("deleteRoleBinding", Takes::Role(Admin), At::Project).of("roleBindingId", |target| &target.binding).hides(),
    organization("listConnectors", Viewer),
    organization("getConnector", Viewer).with(|_| json!({"connector": "http_webhook"})),
    row("listDatasources", Takes::Role(Viewer), At::Datasource),
    row("createDatasource", Takes::Role(Admin), At::Project).sends(|target| {
        json!({"name": uuid::Uuid::new_v4().to_string(), "type": "http_webhook", "project": target.project})
    }),
    row("validateDatasource", Takes::Role(Admin), At::Project).sends(|target| {
        json!({"name": uuid::Uuid::new_v4().to_string(), "type": "http_webhook", "project": target.project})
    }),
    row("runBulk", Takes::SignedIn, At::Datasource).sends(|target| json!({"action": "stop", "ids": [target.datasource]})),
    datasource("getDatasource", Viewer),
    datasource("updateDatasource", Admin).sends(|_| json!({"description": "changed"})),
    datasource("deleteDatasource", Admin),
    datasource("cloneDatasource", Admin).sends(named),
    datasource("delegateDatasource", Admin).sends(|target| json!({"user_id": target.user})),
    datasource("listVersions", Viewer),
    datasource("createVersion", Admin).sends(|_| json!({"config": {}})),
    datasource("getVersion", Viewer).with(first),
    datasource("editVersion", Admin).with(first).sends(|_| json!({"comment": "changed"})),
    datasource("diffVersions", Viewer).with(|_| json!({"from": 1, "to": 1})),
    datasource("archiveVersion", Admin).with(first).sends(empty),
    datasource("previewImpact", Operator).with(first).sends(empty),
    datasource("listComments", Viewer).with(first),
    datasource("createComment", Operator).with(first).sends(|_| json!({"body": "Why?"})),
    datasource("getComment", Viewer).with(comment),
    datasource("editComment", Operator).with(comment).sends(|_| json!({"body": "How?"})),
    datasource("deleteComment", Operator).with(comment),
    datasource("resolveComment", Operator).with(comment),
    datasource("reopenComment", Operator).with(comment),
    datasource("listApprovals", Viewer),
    datasource("requestApproval", Admin).sends(empty),
    datasource("getApproval", Viewer).with(approval),
    datasource("approve", Admin).with(approval).sends(empty),
    datasource("reject", Admin).with(approval).sends(|_| json!({"reason": "no"})),
    datasource("withdrawApproval", Admin).with(approval),
    datasource("listApprovalComments", Viewer).with(approval),
    datasource("createApprovalComment", Operator).with(approval).sends(|_| json!({"body": "Why?"})),
    row("listInbox", Takes::Role(Viewer), At::Datasource),
    datasource("listSamples", Operator),
    datasource("saveSample", Operator)
        .sends(|_| json!({"name": format!("sample {}", uuid::Uuid::new_v4()), "payload": {"id": 1}})),
    datasource("getSample", Operator).with(sample),
    datasource("deleteSample", Operator).with(sample),
    datasource("publishVersion", Admin).sends(empty),
    datasource("rollBack", Admin).sends(|_| json!({"version": 1})),
    datasource("startDatasource", Operator),
    datasource("stopDatasource", Operator),
    datasource("restartDatasource", Operator),
    datasource("reloadDatasource", Operator),
    datasource("enableDatasource", Operator),
    datasource("disableDatasource", Operator),
    datasource("runTest", Operator).sends(empty),
    datasource("listSecrets", Admin),
    datasource("putSecret", Admin).with(token).sends(|_| json!({"value": "x"})),
    datasource("rotateSecret", Admin).with(token).sends(|_| json!({"value": "x"})).misses(),
    datasource("deleteSecret", Admin).with(token).misses(),
    datasource("listEvents", Viewer),
    datasource("getMetrics", Viewer),
    datasource("listLogs", Viewer),
    datasource("listDeadLetters", Viewer),
    datasource("replayDeadLetters", Operator).sends(|_| json!({"ids": ["1"]})),
    datasource("getCheckpoint", Viewer).misses(),
    datasource("putCheckpoint", Admin).sends(|_| json!({"position": {}})),
    datasource("deleteCheckpoint", Admin),
    datasource("listDatasourceAudit", Admin),
    organization("listAlerts", Viewer),
    organization("getAlert", Viewer).with(|target| json!({"id": target.user})).misses(),
    organization("listEntities", Viewer),
    organization("getEntity", Viewer).with(|target| json!({"id": target.user})).misses(),
    organization("listRelationships", Viewer),
    organization("getRelationship", Viewer).with(|target| json!({"id": target.user})).misses(),
    organization("listAudit", Admin),
    organization("getAuditEntry", Admin).with(|target| json!({"id": target.user})).misses(),
    organization("listAuditCheckpoints", Admin),
    organization("listAuditKeys", Admin),
    organization("verifyAudit", Admin),
    organization("exportAudit", Admin).with(|_| json!({"format": "jsonl"})),
    organization("followAudit", Admin),
    // The last one: it ends the session that asks.
    row("logout", Takes::Nothing, At::Organization),
];
