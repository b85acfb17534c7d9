//! Who may do what: the matrix of roles over every operation, and what a refusal leaves behind.

use halcyon_domain::{
    access::{Role, Scope},
    id::{DatasourceId, ProjectId},
};
use salvo::http::StatusCode;
use serde_json::{Value, json};

use super::support::{Gateway, config};

/// Every operation on a datasource, and the least role that may do it.
const OPERATIONS: &[(&str, &str, Role)] = &[
    ("GET", "", Role::Viewer),
    ("GET", "/versions", Role::Viewer),
    ("GET", "/versions/1", Role::Viewer),
    ("GET", "/versions/1/diff/1", Role::Viewer),
    ("GET", "/events", Role::Viewer),
    ("GET", "/metrics", Role::Viewer),
    ("GET", "/logs", Role::Viewer),
    ("GET", "/dead-letters", Role::Viewer),
    ("POST", "/test", Role::Operator),
    ("POST", "/start", Role::Operator),
    ("POST", "/stop", Role::Operator),
    ("POST", "/restart", Role::Operator),
    ("POST", "/reload", Role::Operator),
    ("POST", "/enable", Role::Operator),
    ("POST", "/disable", Role::Operator),
    ("PUT", "", Role::Admin),
    ("POST", "/versions", Role::Admin),
    ("PUT", "/versions/1", Role::Admin),
    ("POST", "/publish", Role::Admin),
    ("POST", "/rollback", Role::Admin),
    ("POST", "/clone", Role::Admin),
    ("POST", "/versions/1/archive", Role::Admin),
    ("POST", "/approvals", Role::Admin),
    ("GET", "/approvals", Role::Viewer),
    ("GET", "/versions/1/comments", Role::Viewer),
    ("POST", "/versions/1/comments", Role::Operator),
    ("POST", "/versions/1/impact", Role::Operator),
    ("GET", "/samples", Role::Operator),
    ("POST", "/samples", Role::Operator),
    ("GET", "/secrets", Role::Admin),
    ("PUT", "/secrets/a", Role::Admin),
    ("POST", "/secrets/a/rotate", Role::Admin),
    ("DELETE", "/secrets/a", Role::Admin),
    ("DELETE", "", Role::Admin),
];

fn body_of(method: &str, path: &str) -> Option<Value> {
    let body = match path {
        "/versions" => json!({"config": {}}),
        "/rollback" => json!({"version": 1}),
        "/versions/1/comments" => json!({"body": "x"}),
        "/samples" => json!({"name": "x", "payload": 1}),
        "/clone" => json!({"name": format!("copy {}", uuid::Uuid::new_v4())}),
        "/secrets/a" | "/secrets/a/rotate" => json!({"value": "x"}),
        _ => json!({}),
    };
    (method == "POST" || method == "PUT").then_some(body)
}

async fn datasource(gateway: &Gateway) -> String {
    let body =
        json!({"name": uuid::Uuid::new_v4().to_string(), "type": "http_webhook", "config": config("t")});
    let made = gateway
        .call(&gateway.admin(), "POST", "/datasources", Some(body))
        .await
        .expect(201);
    made["id"].as_str().unwrap().to_owned()
}

const FORBIDDEN: u16 = StatusCode::FORBIDDEN.as_u16();
const NOT_FOUND: u16 = StatusCode::NOT_FOUND.as_u16();

#[tokio::test]
async fn every_operation_takes_its_role() {
    let gateway = Gateway::start().await;
    let organization = Scope::Organization(gateway.organization);
    let mut users = Vec::new();
    for role in Role::ALL {
        users.push((*role, gateway.user(*role, organization).await));
    }
    for (method, path, least) in OPERATIONS {
        for (role, token) in &users {
            let id = datasource(&gateway).await;
            let before = gateway.refusals().len();
            let answer = gateway
                .call(
                    token,
                    method,
                    &format!("/datasources/{id}{path}"),
                    body_of(method, path),
                )
                .await;
            let refused = answer.status == FORBIDDEN;
            assert_eq!(
                refused,
                role < least,
                "{method} {path} as {role}: {}",
                answer.body
            );
            assert_eq!(
                gateway.refusals().len() - before,
                usize::from(refused),
                "{method} {path} as {role}"
            );
        }
    }
}

#[tokio::test]
async fn who_may_not_know_is_told_that_there_is_nothing() {
    let gateway = Gateway::start().await;
    let (one, other) = (datasource(&gateway).await, datasource(&gateway).await);
    let scope = Scope::Datasource(one.parse::<DatasourceId>().unwrap());
    let token = gateway.user(Role::Admin, scope).await;
    for (method, path, _) in OPERATIONS {
        let path = format!("/datasources/{other}{path}");
        let answer = gateway
            .call(
                &token,
                method,
                &path,
                body_of(method, path.trim_start_matches(&format!("/datasources/{other}"))),
            )
            .await;
        assert_eq!(answer.status, NOT_FOUND, "{method} {path}");
    }
    gateway
        .call(&token, "GET", &format!("/datasources/{one}"), None)
        .await
        .expect(200);
    let list = gateway
        .call(&token, "GET", "/datasources", None)
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    gateway.call(&token, "GET", "/alerts", None).await.expect(403);
    gateway
        .call(&token, "GET", &format!("/alerts?datasource={one}"), None)
        .await
        .expect(200);
    gateway
        .call(&token, "GET", &format!("/alerts?datasource={other}"), None)
        .await
        .expect(404);
    gateway.call(&token, "GET", "/audit", None).await.expect(403);
    let body = json!({"name": "mine", "type": "http_webhook"});
    gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_role_in_a_project_holds_there() {
    let gateway = Gateway::start().await;
    let id = datasource(&gateway).await;
    let inside = gateway.user(Role::Admin, Scope::Project(gateway.project)).await;
    let outside = gateway
        .user(Role::Admin, Scope::Project(ProjectId::generate()))
        .await;
    gateway
        .call(&inside, "GET", &format!("/datasources/{id}"), None)
        .await
        .expect(200);
    let body = json!({"name": "mine", "type": "http_webhook"});
    gateway
        .call(&inside, "POST", "/datasources", Some(body.clone()))
        .await
        .expect(201);
    gateway
        .call(&outside, "GET", &format!("/datasources/{id}"), None)
        .await
        .expect(404);
    gateway
        .call(&outside, "POST", "/datasources", Some(body.clone()))
        .await
        .expect(403);
    for project in [gateway.project, ProjectId::generate()] {
        let body = json!({"name": "theirs", "type": "http_webhook", "project": project});
        let answer = gateway.call(&outside, "POST", "/datasources", Some(body)).await;
        assert_eq!(answer.status, 403, "whether there is such a project is not told");
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_kept_is_503() {
    let gateway = Gateway::start().await;
    let id = datasource(&gateway).await;
    let viewer = gateway
        .user(Role::Viewer, Scope::Organization(gateway.organization))
        .await;
    *gateway.stand.down.lock().unwrap() = true;
    let answer = gateway
        .call(&viewer, "POST", &format!("/datasources/{id}/stop"), None)
        .await;
    answer.expect(503);
    gateway
        .call(&viewer, "GET", &format!("/datasources/{id}"), None)
        .await
        .expect(200);
}

#[tokio::test]
async fn lists_of_the_organisation_take_their_role() {
    let gateway = Gateway::start().await;
    let viewer = gateway
        .user(Role::Viewer, Scope::Organization(gateway.organization))
        .await;
    for path in [
        "/connectors",
        "/datasources",
        "/alerts",
        "/entities",
        "/relationships",
        "/me",
    ] {
        gateway.call(&viewer, "GET", path, None).await.expect(200);
    }
    gateway.call(&viewer, "GET", "/audit", None).await.expect(403);
    gateway
        .call(&gateway.admin(), "GET", "/audit?action=datasource.create", None)
        .await
        .expect(200);
    assert_eq!(gateway.refusals(), ["audit.read"]);
}
