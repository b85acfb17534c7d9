//! The audit trail is complete: every operation that changes something is done, and refused to a viewer, and each
//! time there is exactly one entry with actor, action, resource, outcome and request. An operation without a row in
//! the table fails the test.

use std::collections::{BTreeMap, BTreeSet};

use halcyon_tests::{
    client::{Answer, Client},
    up::Studio,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Operations that leave no entry, or whose entries other tests count, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("ingest", "events of feeds, which are counted and not audited"),
    ("validateDatasource", "looks at a configuration and keeps nothing"),
    ("previewImpact", "says what a publish would do, and does nothing"),
    (
        "runBulk",
        "one entry for each datasource that it changes: the gateway's tests of bulk",
    ),
    (
        "approve",
        "takes a second administrator: the gateway's tests of approvals",
    ),
    (
        "reject",
        "takes a second administrator: the gateway's tests of approvals",
    ),
    ("withdrawApproval", "the gateway's tests of approvals"),
    ("requestApproval", "the gateway's tests of approvals"),
    ("createApprovalComment", "the gateway's tests of approvals"),
    ("archiveVersion", "the gateway's tests of versions"),
    (
        "changePassword",
        "ends the caller's other sessions: the gateway's tests of users",
    ),
    (
        "switchOrganization",
        "takes a second organisation: the gateway's tests of sessions",
    ),
];

/// What an operation has to leave behind.
struct Row {
    operation: &'static str,
    action: &'static str,
    resource: &'static str,
    /// What is named when it is refused.
    refused_resource: &'static str,
    /// The status that a viewer gets; none if nobody is refused.
    refused: Option<u16>,
}

const fn row(operation: &'static str, action: &'static str, resource: &'static str) -> Row {
    Row {
        operation,
        action,
        resource,
        refused_resource: resource,
        refused: Some(403),
    }
}

/// An operation on a part of a datasource: what is refused is refused at the datasource.
const fn part(operation: &'static str, action: &'static str, resource: &'static str) -> Row {
    Row {
        refused_resource: "datasource",
        ..row(operation, action, resource)
    }
}

/// What somebody does about their own session: nobody is refused.
const fn mine(operation: &'static str, action: &'static str) -> Row {
    Row {
        refused: None,
        ..row(operation, action, "session")
    }
}

/// One line for each operation; how it is asked for is in [`Scene::request`].
const TABLE: &[Row] = &[
    Row {
        refused: Some(401),
        ..row("login", "session.login", "session")
    },
    row("createDatasource", "datasource.create", "datasource"),
    row("updateDatasource", "datasource.update", "datasource"),
    row("deleteDatasource", "datasource.delete", "datasource"),
    row("cloneDatasource", "datasource.clone", "datasource"),
    row("delegateDatasource", "datasource.delegate", "datasource"),
    row("createVersion", "version.create", "datasource"),
    row("editVersion", "version.update", "datasource"),
    row("publishVersion", "datasource.publish", "datasource"),
    row("rollBack", "datasource.rollback", "datasource"),
    row("startDatasource", "datasource.start", "datasource"),
    row("stopDatasource", "datasource.stop", "datasource"),
    row("restartDatasource", "datasource.restart", "datasource"),
    row("reloadDatasource", "datasource.reload", "datasource"),
    row("enableDatasource", "datasource.enable", "datasource"),
    row("disableDatasource", "datasource.disable", "datasource"),
    row("runTest", "datasource.test", "datasource"),
    part("putSecret", "secret.write", "secret"),
    part("deleteSecret", "secret.delete", "secret"),
    row("replayDeadLetters", "dead_letter.replay", "datasource"),
    part("putCheckpoint", "checkpoint.update", "checkpoint"),
    part("deleteCheckpoint", "checkpoint.delete", "checkpoint"),
    part("rotateSecret", "secret.rotate", "secret"),
    row("createComment", "comment.create", "datasource"),
    row("editComment", "comment.update", "datasource"),
    row("resolveComment", "comment.resolve", "datasource"),
    row("reopenComment", "comment.reopen", "datasource"),
    row("deleteComment", "comment.delete", "datasource"),
    row("saveSample", "sample.create", "datasource"),
    row("deleteSample", "sample.delete", "datasource"),
    row("createProject", "project.create", "project"),
    row("updateProject", "project.update", "project"),
    row("deleteProject", "project.delete", "project"),
    row("createUser", "user.create", "user"),
    row("updateUser", "user.update", "user"),
    row("deleteUser", "user.delete", "user"),
    row(
        "createServiceAccount",
        "service_account.create",
        "service_account",
    ),
    row(
        "updateServiceAccount",
        "service_account.update",
        "service_account",
    ),
    row(
        "deleteServiceAccount",
        "service_account.delete",
        "service_account",
    ),
    row(
        "createServiceAccountToken",
        "service_account.create_token",
        "service_account",
    ),
    row(
        "deleteServiceAccountToken",
        "service_account.revoke_token",
        "service_account",
    ),
    row("createRoleBinding", "role_binding.create", "role_binding"),
    row("updateRoleBinding", "role_binding.update", "role_binding"),
    row("deleteRoleBinding", "role_binding.delete", "role_binding"),
    row("createOrganization", "organization.create", "organization"),
    row("updateOrganization", "organization.update", "organization"),
    row("deleteOrganization", "organization.delete", "organization"),
    mine("refresh", "session.refresh"),
    mine("logout", "session.logout"),
    mine("endMySession", "session.end"),
    row("rotateTokenKeys", "token_key.rotate", "token_key"),
    // The viewer is out of the way after this one.
    row("endUserSessions", "user.end_sessions", "user"),
];

/// A request that can be sent by anybody.
struct Request {
    method: Method,
    path: String,
    body: Value,
}

fn post(path: impl Into<String>, body: Value) -> Request {
    Request {
        method: Method::POST,
        path: path.into(),
        body,
    }
}

fn put(path: impl Into<String>, body: Value) -> Request {
    Request {
        method: Method::PUT,
        path: path.into(),
        body,
    }
}

fn delete(path: impl Into<String>) -> Request {
    Request {
        method: Method::DELETE,
        path: path.into(),
        body: Value::Null,
    }
}

/// A running system with somebody who may do everything, and somebody who may look.
struct Scene {
    admin: Client,
    viewer: Client,
    email: String,
    password: String,
    count: std::sync::atomic::AtomicUsize,
}

impl Scene {
    fn name(&self, what: &str) -> String {
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{what}-{number}")
    }

    async fn draft(&self) -> String {
        let body = json!({"name": self.name("feed"), "type": "generator", "config": config(1)});
        let made = self.admin.post("/datasources", body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    async fn published(&self) -> String {
        let id = self.draft().await;
        self.done(&format!("/datasources/{id}/publish"), json!({})).await;
        id
    }

    async fn done(&self, path: &str, body: Value) {
        let answer = self.admin.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
    }

    async fn stopped(&self) -> String {
        let id = self.published().await;
        self.done(&format!("/datasources/{id}/stop"), json!({})).await;
        self.admin
            .wait_for("the feed to stop", async |client| {
                client.get(&format!("/datasources/{id}")).await["state"]["status"] == "STOPPED"
            })
            .await;
        id
    }

    /// The request of an operation, after making what it needs.
    async fn request(&self, operation: &str) -> Request {
        let of = |id: String, rest: &str| format!("/datasources/{id}{rest}");
        match operation {
            "createDatasource" => post(
                "/datasources",
                json!({"name": self.name("feed"), "type": "generator"}),
            ),
            "updateDatasource" => put(of(self.draft().await, ""), json!({"description": "changed"})),
            "deleteDatasource" => delete(of(self.draft().await, "")),
            "cloneDatasource" => post(
                of(self.draft().await, "/clone"),
                json!({"name": self.name("copy")}),
            ),
            "delegateDatasource" => {
                let user = self.made("/users", self.somebody()).await;
                let body = json!({"user_id": user.trim_start_matches("/users/")});
                post(of(self.draft().await, "/owner"), body)
            }
            "createVersion" => post(
                of(self.published().await, "/versions"),
                json!({"config": config(2)}),
            ),
            "editVersion" => put(
                of(self.draft().await, "/versions/1"),
                json!({"config": config(3)}),
            ),
            "publishVersion" => post(of(self.draft().await, "/publish"), json!({})),
            "rollBack" => {
                let id = self.published().await;
                let versions = of(id.clone(), "/versions");
                self.done(&versions, json!({"config": config(4)})).await;
                self.done(&of(id.clone(), "/publish"), json!({})).await;
                post(of(id, "/rollback"), json!({"version": 1}))
            }
            "startDatasource" => post(of(self.published().await, "/start"), json!({})),
            "stopDatasource" => post(of(self.published().await, "/stop"), json!({})),
            "restartDatasource" => post(of(self.published().await, "/restart"), json!({})),
            "reloadDatasource" => post(of(self.published().await, "/reload"), json!({})),
            "disableDatasource" => post(of(self.published().await, "/disable"), json!({})),
            "enableDatasource" => {
                let id = self.published().await;
                self.done(&of(id.clone(), "/disable"), json!({})).await;
                post(of(id, "/enable"), json!({}))
            }
            "runTest" => post(of(self.draft().await, "/test"), json!({"payload": {"n": 1}})),
            "putSecret" => put(
                of(self.draft().await, "/secrets/token"),
                json!({"value": "s3cret"}),
            ),
            "deleteSecret" => {
                let path = of(self.draft().await, "/secrets/token");
                self.admin
                    .put(&path, json!({"value": "s3cret"}))
                    .await
                    .expect(200);
                delete(path)
            }
            "replayDeadLetters" => post(
                of(self.published().await, "/dead-letters/replay"),
                json!({"ids": ["1"]}),
            ),
            "putCheckpoint" => put(
                of(self.stopped().await, "/checkpoint"),
                json!({"position": {"sequence": 5}}),
            ),
            "deleteCheckpoint" => {
                let path = of(self.stopped().await, "/checkpoint");
                self.admin
                    .put(&path, json!({"position": {"sequence": 5}}))
                    .await
                    .expect(200);
                delete(path)
            }
            "rotateSecret" => {
                let path = of(self.draft().await, "/secrets/token");
                self.admin
                    .put(&path, json!({"value": "s3cret"}))
                    .await
                    .expect(200);
                post(format!("{path}/rotate"), json!({"value": "s3cret, the next"}))
            }
            "createComment" => post(
                of(self.draft().await, "/versions/1/comments"),
                json!({"body": "looks right"}),
            ),
            "editComment" => put(self.comment().await, json!({"body": "looks better"})),
            "deleteComment" => delete(self.comment().await),
            "resolveComment" => post(format!("{}/resolve", self.comment().await), json!({})),
            "reopenComment" => {
                let path = self.comment().await;
                self.done(&format!("{path}/resolve"), json!({})).await;
                post(format!("{path}/reopen"), json!({}))
            }
            "saveSample" => post(
                of(self.draft().await, "/samples"),
                json!({"name": "one", "payload": {"n": 1}}),
            ),
            "deleteSample" => {
                let path = of(self.draft().await, "/samples");
                let body = json!({"name": "one", "payload": {"n": 1}});
                let made = self.admin.post(&path, body).await.expect(201);
                delete(format!("{path}/{}", made["id"].as_str().unwrap()))
            }
            "createProject" => post("/projects", json!({"name": self.name("project")})),
            "updateProject" => put(
                self.made("/projects", self.named("project")).await,
                json!({"description": "x"}),
            ),
            "deleteProject" => delete(self.made("/projects", self.named("project")).await),
            "createOrganization" => post("/organizations", self.named("organisation")),
            "updateOrganization" => {
                let own = self.admin.get("/me").await["organization"].clone();
                put(
                    format!("/organizations/{}", own.as_str().unwrap()),
                    json!({"approval_policy": "off"}),
                )
            }
            "deleteOrganization" => delete(self.made("/organizations", self.named("organisation")).await),
            "createUser" => post("/users", self.somebody()),
            "updateUser" => put(
                self.made("/users", self.somebody()).await,
                json!({"name": "Other"}),
            ),
            "deleteUser" => delete(self.made("/users", self.somebody()).await),
            "createServiceAccount" => post("/service-accounts", self.named("program")),
            "updateServiceAccount" => put(self.program().await, json!({"description": "x"})),
            "deleteServiceAccount" => delete(self.program().await),
            "createServiceAccountToken" => {
                post(format!("{}/tokens", self.program().await), json!({"name": "t"}))
            }
            "deleteServiceAccountToken" => {
                let tokens = format!("{}/tokens", self.program().await);
                delete(self.made(&tokens, json!({"name": "t"})).await)
            }
            "createRoleBinding" => post("/role-bindings", self.binding().await),
            "updateRoleBinding" => {
                let path = self.made("/role-bindings", self.binding().await).await;
                put(path, json!({"role": "operator"}))
            }
            "deleteRoleBinding" => delete(self.made("/role-bindings", self.binding().await).await),
            "rotateTokenKeys" => post("/token-keys/rotate", json!({})),
            "endUserSessions" => {
                let viewer = self.viewer.get("/me").await["id"].clone();
                delete(format!("/users/{}/sessions", viewer.as_str().unwrap()))
            }
            other => panic!("`{other}` is in the table and cannot be asked for"),
        }
    }

    fn named(&self, what: &str) -> Value {
        json!({"name": self.name(what)})
    }

    fn somebody(&self) -> Value {
        let email = format!("{}@example.test", self.name("user"));
        json!({"email": email, "name": "Somebody", "password": "a password of this test only"})
    }

    /// Makes an object of a collection: its path.
    async fn made(&self, collection: &str, body: Value) -> String {
        let made = self.admin.post(collection, body).await.expect(201);
        let id = made["id"].as_str().or_else(|| made["token_id"].as_str());
        format!(
            "{collection}/{}",
            id.unwrap_or_else(|| panic!("{collection}: {made}"))
        )
    }

    /// A service account: its path.
    async fn program(&self) -> String {
        self.made("/service-accounts", self.named("program")).await
    }

    /// A role that somebody can be given.
    async fn binding(&self) -> Value {
        let user = self.made("/users", self.somebody()).await;
        let organization = self.admin.get("/me").await["organization"].clone();
        let scope = json!({"kind": "organization", "id": organization});
        json!({"user_id": user.trim_start_matches("/users/"), "role": "viewer", "scope": scope})
    }

    /// A comment on a draft: its path.
    async fn comment(&self) -> String {
        let path = format!("/datasources/{}/versions/1/comments", self.draft().await);
        let made = self
            .admin
            .post(&path, json!({"body": "looks right"}))
            .await
            .expect(201);
        format!("{path}/{}", made["id"].as_str().unwrap())
    }

    /// What somebody does about their own session, with one that is made for it.
    async fn own_session(&self, row: &Row) -> Answer {
        let login = json!({"email": self.email, "password": self.password, "return_refresh_token": true});
        let session = self.admin.post("/auth/login", login).await.expect(200);
        let token = json!({"refresh_token": session["refresh_token"]});
        match row.operation {
            "refresh" => self.admin.post("/auth/refresh", token).await,
            "logout" => self.admin.post("/auth/logout", token).await,
            _ => {
                let sessions = self.admin.get("/me/sessions").await;
                let other = sessions["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|one| one["current"] != true);
                let path = format!("/me/sessions/{}", other.unwrap()["id"].as_str().unwrap());
                send(&self.admin, &delete(path)).await
            }
        }
    }

    /// Does an operation and has it refused. Returns the two requests' identifiers.
    async fn perform(&self, row: &Row) -> (Option<String>, String) {
        match row.operation {
            "login" => {
                let right = json!({"email": self.email, "password": self.password});
                let wrong = json!({"email": self.email, "password": "no password of anybody"});
                let refused = self.admin.post("/auth/login", wrong).await;
                let done = self.admin.post("/auth/login", right).await;
                (Some(checked(row, refused, row.refused)), checked(row, done, None))
            }
            "refresh" | "logout" | "endMySession" => (None, checked(row, self.own_session(row).await, None)),
            operation => {
                let request = self.request(operation).await;
                let refused = send(&self.viewer, &request).await;
                let refused = row.refused.map(|status| checked(row, refused, Some(status)));
                (refused, checked(row, send(&self.admin, &request).await, None))
            }
        }
    }
}

async fn send(client: &Client, request: &Request) -> Answer {
    let body = (!request.body.is_null()).then(|| request.body.clone());
    let path = format!("/api/v1{}", request.path);
    client.call(request.method.clone(), &path, body).await
}

/// The request's identifier, if the status is the expected one, or any that says that it was done.
fn checked(row: &Row, answer: Answer, status: Option<u16>) -> String {
    let found = answer.status.as_u16();
    let right = status.map_or(answer.status.is_success(), |status| status == found);
    assert!(right, "{}: {found} {}", row.operation, answer.body);
    answer.request_id
}

fn config(n: u64) -> Value {
    json!({
        "connection": {"records_per_second": 1},
        "mapping": {"language": "jmespath", "outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "to_string(id)"}, "title": {"value": format!("t{n}")},
            "time": {"from": "context", "expr": "received_at", "as": "timestamp"}}}]},
    })
}

/// Somebody who may look at everything and change nothing.
async fn viewer(studio: &Studio) -> Client {
    let (email, password) = ("viewer@example.test", "a password of this test only");
    let user = json!({"email": email, "name": "Viewer", "password": password});
    let user = studio.client.post("/users", user).await.expect(201);
    let organization = studio.client.get("/me").await["organization"].clone();
    let scope = json!({"kind": "organization", "id": organization});
    let binding = json!({"user_id": user["id"], "role": "viewer", "scope": scope});
    studio.client.post("/role-bindings", binding).await.expect(201);
    Client::login(&studio.up.ready.url, email, password).await
}

/// The operations of the API that are no mere reading.
async fn operations(admin: &Client) -> BTreeSet<String> {
    let document = admin
        .call(Method::GET, "/api/openapi.json", None)
        .await
        .expect(200);
    let paths = document["paths"].as_object().unwrap();
    let items = paths.values().flat_map(|item| item.as_object().unwrap());
    items
        .filter(|(method, _)| ["post", "put", "patch", "delete"].contains(&method.as_str()))
        .map(|(_, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_change_and_every_refusal_is_exactly_one_entry() {
    let studio = Studio::start(crate::halcyon()).await;
    let scene = Scene {
        viewer: viewer(&studio).await,
        admin: studio.client.clone(),
        email: studio.up.ready.admin_email.clone(),
        password: studio.password.clone(),
        count: std::sync::atomic::AtomicUsize::new(0),
    };
    let known: BTreeSet<String> = TABLE.iter().map(|row| row.operation.to_owned()).collect();
    let excepted: BTreeSet<String> = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there = operations(&scene.admin).await;
    let stale: Vec<_> = excepted.difference(&there).collect();
    assert!(
        stale.is_empty(),
        "{stale:?} are excepted, and the API does not have them"
    );
    let missing: Vec<_> = there
        .difference(&known)
        .filter(|name| !excepted.contains(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "no row says what {missing:?} leave in the audit trail"
    );
    let gone: Vec<_> = known.difference(&there).collect();
    assert!(
        gone.is_empty(),
        "the table has rows for {gone:?}, which the API does not have"
    );

    let mut expected = BTreeMap::new();
    for row in TABLE {
        let (refused, done) = scene.perform(row).await;
        expected.insert(done, (row, "succeeded"));
        expected.extend(refused.map(|request| (request, (row, "refused"))));
    }
    let all = async || {
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for entry in scene.admin.all("/audit?sort=sequence").await {
            // What a service does for a request has its identifier, too; that is no operation of the caller.
            if entry["action"] != "secret.open" {
                let request = entry["request_id"].as_str().unwrap_or_default().to_owned();
                found.entry(request).or_default().push(entry);
            }
        }
        found
    };
    scene
        .admin
        .wait_for("all entries", async |_| {
            let found = all().await;
            expected.keys().all(|request| found.contains_key(request))
        })
        .await;
    let found = all().await;
    for (request, (row, outcome)) in &expected {
        let name = row.operation;
        let [entry] = found[request].as_slice() else {
            panic!(
                "{name} ({outcome}) left {} entries: {:?}",
                found[request].len(),
                found[request]
            );
        };
        assert_eq!(
            (&entry["action"], &entry["outcome"]),
            (&json!(row.action), &json!(outcome)),
            "{name}: {entry}"
        );
        let resource = if *outcome == "refused" {
            row.refused_resource
        } else {
            row.resource
        };
        assert_eq!(entry["resource"]["kind"], resource, "{name}: {entry}");
        assert!(
            entry["actor"]["name"]
                .as_str()
                .is_some_and(|name| !name.is_empty()),
            "{name}: {entry}"
        );
        assert!(entry["remote_ip"].is_string(), "{name}: {entry}");
        let secret = entry.to_string();
        assert!(
            !secret.contains("s3cret") && !secret.contains(&scene.password),
            "{name}: {entry}"
        );
    }
    studio.up.stop();
}
