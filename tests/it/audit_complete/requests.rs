//! How each operation is asked for, after what it needs was made.

use reqwest::Method;
use serde_json::{Value, json};

use super::scene::{PASSWORD, SECRET, Scene};

/// A request that can be sent by anybody.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Value,
}

fn request(method: Method, path: impl Into<String>, body: Value) -> Request {
    let path = path.into();
    Request { method, path, body }
}

pub(super) fn post(path: impl Into<String>, body: Value) -> Request {
    request(Method::POST, path, body)
}

pub(super) fn put(path: impl Into<String>, body: Value) -> Request {
    request(Method::PUT, path, body)
}

pub(super) fn delete(path: impl Into<String>) -> Request {
    request(Method::DELETE, path, Value::Null)
}

impl Scene {
    /// The request of an operation, after making what it needs.
    pub(super) async fn request(&self, operation: &str) -> Request {
        if let Some(request) = self.of_feeds(operation).await {
            return request;
        }
        if let Some(request) = self.of_reviews(operation).await {
            return request;
        }
        if let Some(request) = self.of_parts(operation).await {
            return request;
        }
        let request = self.of_people(operation).await;
        request.unwrap_or_else(|| panic!("`{operation}` is in the table and cannot be asked for"))
    }

    async fn of_feeds(&self, operation: &str) -> Option<Request> {
        let name = |what| json!({"name": self.name(what)});
        Some(match operation {
            "createDatasource" => post("/datasources", feed(&self.name("feed"))),
            "updateDatasource" => put(self.draft().await, json!({"description": "changed"})),
            "deleteDatasource" => delete(self.draft().await),
            "cloneDatasource" => post(of(&self.draft().await, "/clone"), name("copy")),
            "delegateDatasource" => {
                let user = self.made("/users", self.somebody()).await;
                let body = json!({"user_id": user.trim_start_matches("/users/")});
                post(of(&self.draft().await, "/owner"), body)
            }
            "createVersion" => post(
                of(&self.published().await, "/versions"),
                json!({"config": config(2)}),
            ),
            "editVersion" => put(
                of(&self.draft().await, "/versions/1"),
                json!({"config": config(3)}),
            ),
            "archiveVersion" => post(of(&self.draft().await, "/versions/1/archive"), json!({})),
            "publishVersion" => post(of(&self.draft().await, "/publish"), json!({})),
            "rollBack" => {
                let path = self.published().await;
                self.made(&of(&path, "/versions"), json!({"config": config(4)}))
                    .await;
                self.done(&of(&path, "/publish"), json!({})).await;
                post(of(&path, "/rollback"), json!({"version": 1}))
            }
            "startDatasource" => post(of(&self.published().await, "/start"), json!({})),
            "stopDatasource" => post(of(&self.published().await, "/stop"), json!({})),
            "restartDatasource" => post(of(&self.published().await, "/restart"), json!({})),
            "reloadDatasource" => post(of(&self.published().await, "/reload"), json!({})),
            "disableDatasource" => post(of(&self.published().await, "/disable"), json!({})),
            "enableDatasource" => {
                let path = self.published().await;
                self.done(&of(&path, "/disable"), json!({})).await;
                post(of(&path, "/enable"), json!({}))
            }
            "runBulk" => {
                let path = self.published().await;
                let ids = [path.trim_start_matches("/datasources/")];
                post("/datasources/bulk", json!({"action": "disable", "ids": ids}))
            }
            "runTest" => post(of(&self.draft().await, "/test"), json!({"payload": {"n": 1}})),
            _ => return None,
        })
    }

    async fn of_reviews(&self, operation: &str) -> Option<Request> {
        let comment = json!({"body": "looks right"});
        Some(match operation {
            "requestApproval" => post(of(&self.draft().await, "/approvals"), json!({})),
            "withdrawApproval" => post(of(&self.approval().await, "/withdraw"), json!({})),
            "approve" => post(of(&self.approval().await, "/approve"), json!({})),
            "reject" => post(
                of(&self.approval().await, "/reject"),
                json!({"comment": "not yet"}),
            ),
            "createApprovalComment" => post(of(&self.approval().await, "/comments"), comment),
            "createComment" => post(of(&self.draft().await, "/versions/1/comments"), comment),
            "editComment" => put(self.comment().await, json!({"body": "looks better"})),
            "deleteComment" => delete(self.comment().await),
            "resolveComment" => post(of(&self.comment().await, "/resolve"), json!({})),
            "reopenComment" => {
                let path = self.comment().await;
                self.done(&of(&path, "/resolve"), json!({})).await;
                post(of(&path, "/reopen"), json!({}))
            }
            _ => return None,
        })
    }

    async fn of_parts(&self, operation: &str) -> Option<Request> {
        let sample = json!({"name": "one", "payload": {"n": 1}});
        let place = json!({"position": {"sequence": 5}});
        Some(match operation {
            "saveSample" => post(of(&self.draft().await, "/samples"), sample),
            "deleteSample" => delete(self.made(&of(&self.draft().await, "/samples"), sample).await),
            "startCapture" => post(of(&self.published().await, "/captures"), json!({"point": "raw"})),
            "stopCapture" => {
                let captures = of(&self.published().await, "/captures");
                let made = self
                    .admin
                    .post(&captures, json!({"point": "raw"}))
                    .await
                    .expect(202);
                delete(of(
                    &captures,
                    &format!("/{}", made["id"].as_str().unwrap_or_default()),
                ))
            }
            "createBackfill" => post(of(&self.published().await, "/backfill"), past()),
            "cancelBackfill" => {
                let feed = self.published().await;
                let asked = self.admin.post(&of(&feed, "/backfill"), past()).await;
                let asked = asked.expect(202)["id"].take();
                delete(of(
                    &feed,
                    &format!("/backfills/{}", asked.as_str().unwrap_or_default()),
                ))
            }
            "acceptSchema" => post(of(&self.published().await, "/schema/accept"), json!({})),
            "putSecret" => put(
                of(&self.draft().await, "/secrets/token"),
                json!({"value": SECRET}),
            ),
            "rotateSecret" => post(
                of(&self.secret().await, "/rotate"),
                json!({"value": format!("{SECRET}, the next")}),
            ),
            "deleteSecret" => delete(self.secret().await),
            "replayDeadLetters" => post(
                of(&self.published().await, "/dead-letters/replay"),
                json!({"ids": ["1"]}),
            ),
            "testDeadLetters" => post(of(&self.published().await, "/dead-letters/test"), json!({})),
            "putCheckpoint" => put(of(&self.stopped().await, "/checkpoint"), place),
            "deleteCheckpoint" => {
                let path = of(&self.stopped().await, "/checkpoint");
                self.admin.put(&path, place).await.expect(200);
                delete(path)
            }
            _ => return None,
        })
    }

    async fn of_people(&self, operation: &str) -> Option<Request> {
        let changed = json!({"description": "changed"});
        Some(match operation {
            "createProject" => post("/projects", self.named("project")),
            "updateProject" => put(self.made("/projects", self.named("project")).await, changed),
            "deleteProject" => delete(self.made("/projects", self.named("project")).await),
            "createOrganization" => post("/organizations", self.named("organisation")),
            "updateOrganization" => put(self.home().await, self.named("renamed")),
            "deleteOrganization" => delete(self.made("/organizations", self.named("organisation")).await),
            "createUser" => post("/users", self.somebody()),
            "updateUser" => put(
                self.made("/users", self.somebody()).await,
                json!({"name": "Other"}),
            ),
            "deleteUser" => delete(self.made("/users", self.somebody()).await),
            "endUserSessions" => delete(of(&self.made("/users", self.somebody()).await, "/sessions")),
            "createServiceAccount" => post("/service-accounts", self.named("program")),
            "updateServiceAccount" => put(self.program().await, changed),
            "deleteServiceAccount" => delete(self.program().await),
            "createServiceAccountToken" => post(of(&self.program().await, "/tokens"), self.named("token")),
            "deleteServiceAccountToken" => {
                let tokens = of(&self.program().await, "/tokens");
                delete(self.made(&tokens, self.named("token")).await)
            }
            "createRoleBinding" => post("/role-bindings", self.binding().await),
            "updateRoleBinding" => {
                let path = self.made("/role-bindings", self.binding().await).await;
                put(path, json!({"role": "operator"}))
            }
            "deleteRoleBinding" => delete(self.made("/role-bindings", self.binding().await).await),
            "rotateTokenKeys" => post("/token-keys/rotate", json!({})),
            _ => return None,
        })
    }

    /// The organisation that all are in.
    pub(super) async fn home(&self) -> String {
        let own = self.admin.get("/me").await["organization"].clone();
        format!("/organizations/{}", own.as_str().unwrap())
    }

    /// A feed that was never published: its path, like the other paths here.
    async fn draft(&self) -> String {
        self.made("/datasources", feed(&self.name("feed"))).await
    }

    async fn published(&self) -> String {
        let path = self.draft().await;
        self.done(&of(&path, "/publish"), json!({})).await;
        path
    }

    async fn stopped(&self) -> String {
        let path = self.published().await;
        self.done(&of(&path, "/stop"), json!({})).await;
        self.admin
            .wait_for("the feed to stop", async |client| {
                client.get(&path).await["state"]["status"] == "STOPPED"
            })
            .await;
        path
    }

    async fn secret(&self) -> String {
        let path = of(&self.draft().await, "/secrets/token");
        self.admin.put(&path, json!({"value": SECRET})).await.expect(200);
        path
    }

    async fn comment(&self) -> String {
        let path = of(&self.draft().await, "/versions/1/comments");
        self.made(&path, json!({"body": "looks right"})).await
    }

    async fn approval(&self) -> String {
        self.made(&of(&self.draft().await, "/approvals"), json!({})).await
    }

    async fn program(&self) -> String {
        self.made("/service-accounts", self.named("program")).await
    }

    /// Makes an object of a collection: its path.
    pub(super) async fn made(&self, collection: &str, body: Value) -> String {
        let made = self.admin.post(collection, body).await.expect(201);
        let id = ["id", "token_id", "number"].map(|field| made[field].clone());
        let id = id.iter().find(|id| !id.is_null());
        let id = id.unwrap_or_else(|| panic!("{collection}: {made}")).to_string();
        format!("{collection}/{}", id.trim_matches('"'))
    }

    async fn done(&self, path: &str, body: Value) {
        let answer = self.admin.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
    }

    pub(super) fn named(&self, what: &str) -> Value {
        json!({"name": self.name(what)})
    }

    /// A user to be added.
    pub(super) fn somebody(&self) -> Value {
        let email = format!("{}@example.test", self.name("user"));
        json!({"email": email, "name": "Somebody", "password": PASSWORD})
    }

    /// A role that somebody new can be given.
    async fn binding(&self) -> Value {
        let user = self.made("/users", self.somebody()).await;
        self.viewing(user.trim_start_matches("/users/")).await
    }

    /// The role of looking at everything in the organisation, for this user.
    pub(super) async fn viewing(&self, user: &str) -> Value {
        let organization = self.admin.get("/me").await["organization"].clone();
        let scope = json!({"kind": "organization", "id": organization});
        json!({"user_id": user, "role": "viewer", "scope": scope})
    }
}

/// A path below another.
fn of(path: &str, rest: &str) -> String {
    format!("{path}{rest}")
}

fn feed(name: &str) -> Value {
    json!({"name": name, "type": "generator", "config": config(1)})
}

fn config(n: u64) -> Value {
    json!({
        "connection": {"records_per_second": 1},
        "mapping": {"language": "jmespath", "outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "to_string(id)"}, "title": {"value": format!("t{n}")},
            "time": {"from": "context", "expr": "received_at", "as": "timestamp"}}}]},
    })
}

/// A stretch of the past that takes long to be read.
fn past() -> Value {
    json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z", "records_per_second": 1})
}
