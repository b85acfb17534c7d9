//! A running system, and the people who ask for the operations.

use std::sync::atomic::{AtomicUsize, Ordering};

use halcyon_tests::{
    client::{Answer, Client},
    up::Studio,
};
use serde_json::json;

use super::{
    requests::{Request, delete},
    rows::{Refusal, Row},
};

/// The password of all whom the test adds.
pub(super) const PASSWORD: &str = "a password of this test only";
/// The password that somebody chooses instead.
const NEXT_PASSWORD: &str = "the next password of this test";
/// The value of secrets; others begin with it.
pub(super) const SECRET: &str = "s3cret-of-this-test";

/// The identifiers of the requests for one operation.
pub(super) struct Asked {
    /// Of the one that could not be done, unless nobody is refused.
    pub(super) refused: Option<String>,
    /// Of the one that was done.
    pub(super) done: String,
}

/// A running system with some who may do everything, and somebody who may look.
pub(super) struct Scene {
    url: String,
    /// May do everything.
    pub(super) admin: Client,
    /// Decides on what the administrator asks for.
    colleague: Client,
    /// May look at everything in the organisation and change nothing.
    viewer: Client,
    email: String,
    password: String,
    count: AtomicUsize,
}

impl Scene {
    pub(super) async fn new(studio: &Studio) -> Self {
        let url = &studio.up.ready.url;
        Self {
            url: url.clone(),
            admin: studio.client.clone(),
            colleague: member(studio, "colleague", "admin").await,
            viewer: member(studio, "viewer", "viewer").await,
            email: studio.up.ready.admin_email.clone(),
            password: studio.password.clone(),
            count: AtomicUsize::new(0),
        }
    }

    /// What must not be in the trail.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        [self.password.as_str(), PASSWORD, NEXT_PASSWORD, SECRET].into_iter()
    }

    /// A name that nothing has yet.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Does an operation, and has it asked for by somebody who may not.
    pub(super) async fn perform(&self, row: &Row) -> Asked {
        match row.operation {
            "login" => {
                let login = |password: &str| json!({"email": self.email, "password": password});
                let wrong = login("no password of anybody");
                let refused = self.admin.post("/auth/login", wrong).await;
                let done = self.admin.post("/auth/login", login(&self.password)).await;
                asked(row, Some(refused), done)
            }
            "refresh" | "logout" | "endMySession" => asked(row, None, self.own_session(row).await),
            "switchOrganization" => self.switch(row).await,
            "changePassword" => self.change_password(row).await,
            operation => {
                let request = self.request(operation).await;
                let refused = match operation {
                    // The viewer sees no other organisation than their own.
                    "deleteOrganization" => send(&self.viewer, &delete(self.home().await)).await,
                    _ => send(&self.viewer, &request).await,
                };
                let decides = matches!(operation, "approve" | "reject");
                let who = if decides { &self.colleague } else { &self.admin };
                asked(row, Some(refused), send(who, &request).await)
            }
        }
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
                let path = format!("/me/sessions/{}", session["session"].as_str().unwrap());
                send(&self.admin, &delete(path)).await
            }
        }
    }

    /// Goes into another organisation and comes back, which is in the trail of the one that is come back to.
    async fn switch(&self, row: &Row) -> Asked {
        let away = self.made("/organizations", self.named("organisation")).await;
        let away = json!({"organization": away.trim_start_matches("/organizations/")});
        let home = json!({"organization": self.admin.get("/me").await["organization"]});
        let path = "/auth/switch-organization";
        let refused = self.viewer.post(path, away.clone()).await;
        let traveller = Client::login(&self.url, &self.email, &self.password).await;
        traveller.post(path, away).await.expect(200);
        asked(row, Some(refused), traveller.post(path, home).await)
    }

    async fn change_password(&self, row: &Row) -> Asked {
        let somebody = self.somebody();
        let email = somebody["email"].as_str().unwrap().to_owned();
        let user = self.made("/users", somebody).await;
        let role = self.viewing(user.trim_start_matches("/users/")).await;
        self.made("/role-bindings", role).await;
        let who = Client::login(&self.url, &email, PASSWORD).await;
        let change = |current: &str| json!({"current": current, "new": NEXT_PASSWORD});
        let refused = who.put("/me/password", change("no password of anybody")).await;
        asked(
            row,
            Some(refused),
            who.put("/me/password", change(PASSWORD)).await,
        )
    }
}

/// Adds somebody with a role in the organisation, and signs them in.
async fn member(studio: &Studio, name: &str, role: &str) -> Client {
    let email = format!("{name}@example.test");
    let user = json!({"email": email, "name": name, "password": PASSWORD});
    let user = studio.client.post("/users", user).await.expect(201);
    let organization = studio.client.get("/me").await["organization"].clone();
    let scope = json!({"kind": "organization", "id": organization});
    let binding = json!({"user_id": user["id"], "role": role, "scope": scope});
    studio.client.post("/role-bindings", binding).await.expect(201);
    Client::login(&studio.up.ready.url, &email, PASSWORD).await
}

async fn send(client: &Client, request: &Request) -> Answer {
    let body = (!request.body.is_null()).then(|| request.body.clone());
    let path = format!("/api/v1{}", request.path);
    client.call(request.method.clone(), &path, body).await
}

/// The requests' identifiers, if the statuses are the expected ones.
fn asked(row: &Row, refused: Option<Answer>, done: Answer) -> Asked {
    let name = row.operation;
    assert!(done.status.is_success(), "{name}: {} {}", done.status, done.body);
    let expected = match row.refusal {
        Refusal::Audited(status, _) => Some(status),
        Refusal::Unseen => Some(404),
        Refusal::Nobody => None,
    };
    if let Some(refused) = &refused {
        assert_eq!(
            Some(refused.status.as_u16()),
            expected,
            "{name}: {}",
            refused.body
        );
    }
    Asked {
        refused: refused.map(|answer| answer.request_id),
        done: done.request_id,
    }
}
