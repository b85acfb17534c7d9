//! The audit trail is complete: every operation that changes something is done, and refused to a viewer, and each
//! time there is exactly one entry with actor, action, resource, outcome and request. An operation without a row in
//! the table fails the test.

use std::collections::{BTreeMap, BTreeSet};

use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    clock::{Clock, SystemClock},
    id::{RoleBindingId, UserId},
};
use halcyon_store::{AllTenants, PageRequest, RoleBinding, Store, StoreSettings, User};
use halcyon_tests::{
    client::{Answer, Client},
    up::Studio,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Operations that leave no entry, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("ingest", "events of feeds, which are counted and not audited"),
    ("logout", "a browser forgets its cookie; nothing else changes"),
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
    made: std::sync::atomic::AtomicUsize,
}

impl Scene {
    fn name(&self, what: &str) -> String {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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
            other => panic!("`{other}` is in the table and cannot be asked for"),
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

/// Somebody who may look at everything and change nothing, made in the database.
async fn viewer(studio: &Studio) -> Client {
    let (email, password) = ("viewer@example.test", "a password of this test only");
    let settings = StoreSettings {
        url: format!("sqlite://{}/data/halcyon.db", studio.folder.path().display()),
        ..StoreSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    let reason = AllTenants::because("a test");
    let organization = store
        .read()
        .organizations()
        .list(reason, None, None, &PageRequest::default())
        .await
        .unwrap()
        .items[0]
        .id;
    let (id, at) = (UserId::generate(), SystemClock.now());
    let user = User {
        id,
        organization,
        email: email.into(),
        name: "Viewer".into(),
        disabled: false,
        created_at: at,
        updated_at: at,
        revision: 1,
    };
    let binding = RoleBinding {
        id: RoleBindingId::generate(),
        organization: Some(organization),
        subject: Subject::User(id),
        grant: Grant {
            role: Role::Viewer,
            scope: Scope::Organization(organization),
        },
        created_at: at,
        created_by: None,
        updated_at: at,
        revision: 1,
    };
    let hash = halcyon_gateway::hash_password(password).unwrap();
    let tx = store.begin().await.unwrap();
    tx.users().insert(&user, Some(&hash)).await.unwrap();
    tx.role_bindings().insert(&binding).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await.unwrap();
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
        made: std::sync::atomic::AtomicUsize::new(0),
    };
    let known: BTreeSet<String> = TABLE.iter().map(|row| row.operation.to_owned()).collect();
    let excepted: BTreeSet<String> = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there = operations(&scene.admin).await;
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
