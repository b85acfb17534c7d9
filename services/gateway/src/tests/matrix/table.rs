//! The rows: what each operation takes.

use halcyon_domain::access::Role;
use serde_json::{Value, json};

use super::{
    holder::At,
    rows::{Row, Takes, datasource, organization, row},
    world::Target,
};
use Role::{Admin, Operator, Viewer};

/// Operations that ask for no role, and why they have no row.
pub(super) const NOT_BY_ROLE: &[(&str, &str)] = &[
    ("ingest", "takes events in by what their senders show"),
    (
        "ingestHandshake",
        "answers a sender's question whether we are there",
    ),
];

/// The operations that programs ask for, too.
pub(super) const BY_PROGRAMS: &[&str] = &[
    "getMe",
    "listOrganizations",
    "getOrganization",
    "updateOrganization",
    "createOrganization",
    "rotateTokenKeys",
    "getProject",
    "updateProject",
    "getUser",
    "updateUser",
    "createServiceAccountToken",
    "createRoleBinding",
    "deleteRoleBinding",
    "listConnectors",
    "listDatasources",
    "createDatasource",
    "runBulk",
    "getDatasource",
    "updateDatasource",
    "startDatasource",
    "publishVersion",
    "approve",
    "putSecret",
    "getAlert",
    "listAudit",
    "Subscription.datasourceEvents",
];

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
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

fn backfill(_: &Target) -> Value {
    json!({"backfill": unique()})
}

fn range(_: &Target) -> Value {
    json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"})
}

fn secret(_: &Target) -> Value {
    json!({"name": "token"})
}

fn named(_: &Target) -> Value {
    json!({"name": unique()})
}

fn value(_: &Target) -> Value {
    json!({"value": "x"})
}

fn changed(_: &Target) -> Value {
    json!({"description": "changed"})
}

fn login(_: &Target) -> Value {
    json!({"email": format!("{}@example.org", unique()), "password": "wrong"})
}

fn user(_: &Target) -> Value {
    json!({"email": format!("{}@example.org", unique()), "name": "N", "password": "long enough to be one"})
}

fn new_datasource(target: &Target) -> Value {
    json!({"name": unique(), "type": "http_webhook", "project": target.project})
}

fn binding_at(target: &Target, kind: &str, id: &str) -> Value {
    let scope = json!({"kind": kind, "id": id});
    json!({"service_account_id": target.account, "role": "viewer", "scope": scope})
}

fn global_binding(target: &Target) -> Value {
    json!({"service_account_id": target.account, "role": "viewer", "scope": {"kind": "global"}})
}

fn of_datasource(target: &Target) -> Value {
    json!({"datasource": target.datasource})
}

const fn signed_in(operation: &'static str) -> Row {
    row(operation, Takes::SignedIn, At::Member)
}

/// An operation for which a role anywhere in the organisation is enough.
const fn member(operation: &'static str, role: Role) -> Row {
    row(operation, Takes::Role(role), At::Member)
}

const fn known_organization(operation: &'static str, role: Role, at: At) -> Row {
    row(operation, Takes::Role(role), at)
        .of("organizationId", |target| &target.organization)
        .seen(Viewer, At::Member)
        .crosses()
}

const fn project(operation: &'static str, role: Role) -> Row {
    row(operation, Takes::Role(role), At::Project)
        .of("projectId", |target| &target.project)
        .seen(Viewer, At::Project)
}

const fn binding(operation: &'static str) -> Row {
    row(operation, Takes::Role(Admin), At::Project)
        .of("roleBindingId", |target| &target.binding)
        .seen(Admin, At::Project)
}

const fn known_user(operation: &'static str) -> Row {
    organization(operation, Admin).of("userId", |target| &target.user)
}

const fn account(operation: &'static str) -> Row {
    organization(operation, Admin).of("serviceAccountId", |target| &target.account)
}

/// An object that came of a datasource's events.
const fn object(operation: &'static str, id: fn(&Target) -> &str) -> Row {
    row(operation, Takes::Role(Viewer), At::Datasource)
        .of("id", id)
        .seen(Viewer, At::Datasource)
        .outlives()
}

const fn node(case: &'static str) -> Row {
    row("Query.node", Takes::Role(Viewer), At::Datasource).case(case)
}

const fn followed(operation: &'static str) -> Row {
    datasource(operation, Viewer)
}

/// Every operation.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row("login", Takes::Nothing, At::Member).sends(login).misses(),
    row("refresh", Takes::Nothing, At::Member).misses(),
    signed_in("switchOrganization").sends(|target| json!({"organization": target.organization})).names().crosses(),
    signed_in("getMe"),
    signed_in("changePassword").sends(|_| json!({"current": "x", "new": "y"})),
    signed_in("listMySessions"),
    signed_in("endMySession").with(|target| json!({"id": target.user})).misses(),
    known_user("endUserSessions"),
    row("rotateTokenKeys", Takes::Role(Admin), At::Global).sends(empty),
    member("listOrganizations", Viewer),
    row("createOrganization", Takes::Role(Admin), At::Global).sends(named),
    known_organization("getOrganization", Viewer, At::Member),
    known_organization("updateOrganization", Admin, At::Organization).sends(empty),
    known_organization("deleteOrganization", Admin, At::Global).spoils(),
    row("listProjects", Takes::Role(Viewer), At::Project),
    organization("createProject", Admin).sends(named),
    project("getProject", Viewer),
    project("updateProject", Admin).sends(changed),
    project("updateProject", Admin).case("its approvals").at(At::Organization).sends(|_| json!({"approval_policy": "required"})),
    project("deleteProject", Admin).spoils(),
    organization("listUsers", Admin),
    organization("createUser", Admin).sends(user),
    known_user("getUser"),
    known_user("updateUser").sends(|_| json!({"name": "M"})),
    known_user("deleteUser").spoils(),
    organization("listServiceAccounts", Admin),
    organization("createServiceAccount", Admin).sends(named),
    account("getServiceAccount"),
    account("updateServiceAccount").sends(changed),
    account("deleteServiceAccount").spoils(),
    account("listServiceAccountTokens"),
    account("createServiceAccountToken").sends(named),
    account("deleteServiceAccountToken").with(|target| json!({"token": target.token})).spoils(),
    member("listRoleBindings", Admin),
    row("createRoleBinding", Takes::Role(Admin), At::Datasource).case("for a datasource")
        .sends(|target| binding_at(target, "datasource", &target.datasource)).names(),
    row("createRoleBinding", Takes::Role(Admin), At::Project).case("in a project")
        .sends(|target| binding_at(target, "project", &target.project)).names(),
    organization("createRoleBinding", Admin).case("in an organisation")
        .sends(|target| binding_at(target, "organization", &target.organization)).names(),
    row("createRoleBinding", Takes::Role(Admin), At::Global).case("everywhere").sends(global_binding),
    binding("getRoleBinding"),
    binding("updateRoleBinding").sends(|_| json!({"role": "viewer"})),
    binding("deleteRoleBinding").spoils(),
    member("listConnectors", Viewer),
    member("getConnector", Viewer).with(|_| json!({"connector": "http_webhook"})),
    member("listDatasources", Viewer),
    row("createDatasource", Takes::Role(Admin), At::Project).sends(new_datasource).names(),
    row("validateDatasource", Takes::Role(Admin), At::Project).sends(new_datasource).names(),
    row("runBulk", Takes::Role(Operator), At::Datasource).seen(Viewer, At::Datasource)
        .sends(|target| json!({"action": "stop", "ids": [target.datasource]})).names(),
    datasource("getDatasource", Viewer),
    datasource("updateDatasource", Admin).sends(changed),
    datasource("updateDatasource", Admin).case("into another project").at(At::Organization)
        .sends(|target| json!({"project": target.destination})).spoils(),
    datasource("deleteDatasource", Admin).spoils(),
    datasource("cloneDatasource", Admin).at(At::Project).sends(named),
    datasource("delegateDatasource", Admin).sends(|target| json!({"user_id": target.user})),
    datasource("listVersions", Viewer),
    datasource("createVersion", Admin).sends(|_| json!({"config": {}})),
    datasource("getVersion", Viewer).with(first),
    datasource("editVersion", Admin).with(first).sends(|_| json!({"comment": "changed"})),
    datasource("diffVersions", Viewer).with(|_| json!({"from": 1, "to": 1})),
    datasource("archiveVersion", Admin).with(first).sends(empty).spoils(),
    datasource("previewImpact", Operator).with(first).sends(empty),
    datasource("listComments", Viewer).with(first),
    datasource("createComment", Operator).with(first).sends(|_| json!({"body": "Why?"})),
    datasource("getComment", Viewer).with(comment),
    datasource("editComment", Operator).with(comment).sends(|_| json!({"body": "How?"})),
    datasource("deleteComment", Operator).with(comment).spoils(),
    datasource("resolveComment", Operator).with(comment),
    datasource("reopenComment", Operator).with(comment),
    datasource("listApprovals", Viewer),
    datasource("requestApproval", Admin).sends(empty),
    datasource("getApproval", Viewer).with(approval),
    datasource("approve", Admin).with(approval).sends(empty).spoils(),
    datasource("reject", Admin).with(approval).sends(|_| json!({"comment": "no"})).spoils(),
    datasource("withdrawApproval", Admin).with(approval).sends(empty).spoils(),
    datasource("listApprovalComments", Viewer).with(approval),
    datasource("createApprovalComment", Operator).with(approval).sends(|_| json!({"body": "Why?"})),
    member("listInbox", Viewer),
    datasource("listSamples", Operator),
    datasource("saveSample", Operator).sends(|_| json!({"name": unique(), "payload": {"id": 1}})),
    datasource("getSample", Operator).with(sample),
    datasource("inferSchema", Operator),
    datasource("startCapture", Operator).sends(|_| json!({"point": "raw"})),
    datasource("listCaptures", Operator),
    datasource("getCapture", Operator).with(|_| json!({"capture": unique()})).misses(),
    datasource("stopCapture", Operator).with(|_| json!({"capture": unique()})).misses(),
    datasource("acceptSchema", Operator),
    datasource("deleteSample", Operator).with(sample).spoils(),
    datasource("publishVersion", Admin).sends(empty).spoils(),
    datasource("rollBack", Admin).sends(|_| json!({"version": 1})),
    datasource("startDatasource", Operator),
    datasource("stopDatasource", Operator),
    datasource("restartDatasource", Operator),
    datasource("reloadDatasource", Operator),
    datasource("enableDatasource", Operator),
    datasource("disableDatasource", Operator),
    datasource("listBackfills", Viewer),
    datasource("createBackfill", Operator).sends(range),
    datasource("getBackfill", Viewer).with(backfill).misses(),
    datasource("cancelBackfill", Operator).with(backfill).misses(),
    datasource("runTest", Operator).sends(empty),
    datasource("listSecrets", Admin),
    datasource("putSecret", Admin).with(secret).sends(value),
    datasource("rotateSecret", Admin).with(secret).sends(value).misses(),
    datasource("deleteSecret", Admin).with(secret).misses().spoils(),
    datasource("listEvents", Viewer),
    datasource("getMetrics", Viewer),
    datasource("listLogs", Viewer),
    datasource("listDeadLetters", Viewer),
    datasource("getDeadLetter", Viewer).with(|_| json!({"letter": "1"})).misses(),
    datasource("summarizeDeadLetters", Viewer),
    datasource("downloadDeadLetters", Operator),
    datasource("testDeadLetters", Operator).sends(empty),
    datasource("replayDeadLetters", Operator).sends(|_| json!({"ids": ["1"]})),
    datasource("getCheckpoint", Viewer).misses(),
    datasource("putCheckpoint", Admin).sends(|_| json!({"position": {}})),
    datasource("deleteCheckpoint", Admin),
    datasource("listDatasourceAudit", Admin),
    organization("listAlerts", Viewer),
    row("listAlerts", Takes::Role(Viewer), At::Datasource).case("of a datasource")
        .seen(Viewer, At::Datasource).with(of_datasource).narrows(),
    object("getAlert", |target| &target.alert),
    organization("listEntities", Viewer),
    row("listEntities", Takes::Role(Viewer), At::Datasource).case("of a datasource")
        .seen(Viewer, At::Datasource).with(of_datasource).narrows(),
    object("getEntity", |target| &target.entity),
    organization("listRelationships", Viewer),
    row("listRelationships", Takes::Role(Viewer), At::Datasource).case("of a datasource")
        .seen(Viewer, At::Datasource).with(of_datasource).narrows(),
    object("getRelationship", |target| &target.relationship),
    organization("listAudit", Admin),
    organization("getAuditEntry", Admin).of("id", |target| &target.entry),
    organization("listAuditCheckpoints", Admin),
    organization("listAuditKeys", Admin),
    organization("verifyAudit", Admin),
    organization("exportAudit", Admin).with(|_| json!({"format": "jsonl"})),
    organization("followAudit", Admin),
    node("a datasource").of("id", |target| &target.datasource).seen(Viewer, At::Datasource),
    node("a project").at(At::Project).of("id", |target| &target.project).seen(Viewer, At::Project),
    node("an organisation").at(At::Member).of("id", |target| &target.organization).seen(Viewer, At::Member).crosses(),
    node("an alert").of("id", |target| &target.alert).seen(Viewer, At::Datasource).outlives(),
    node("an entity").of("id", |target| &target.entity).seen(Viewer, At::Datasource).outlives(),
    node("a relationship").of("id", |target| &target.relationship).seen(Viewer, At::Datasource).outlives(),
    followed("Subscription.datasourceState"),
    followed("Subscription.datasourceMetrics"),
    followed("Subscription.datasourceEvents"),
    followed("Subscription.logs"),
    organization("Subscription.alerts", Viewer),
    followed("Subscription.alerts").case("of a datasource"),
    organization("Subscription.entities", Viewer),
    followed("Subscription.entities").case("of a datasource"),
    organization("Subscription.relationships", Viewer),
    followed("Subscription.relationships").case("of a datasource"),
    // The last one: it ends the session that asks.
    row("logout", Takes::Nothing, At::Member),
];
