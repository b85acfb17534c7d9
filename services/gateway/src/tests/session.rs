//! Signing in and who is signed in.

use halcyon_domain::{
    audit::AuditOutcome,
    clock::Timestamp,
    id::{SessionId, UserId},
};
use halcyon_store::AllTenants;
use serde_json::json;

use super::support::{ADMIN, Gateway};
use crate::{app::Error, auth::Holder, context::RequestInfo};

#[tokio::test]
async fn a_login_gives_a_token_and_a_cookie() {
    let gateway = Gateway::start().await;
    let body = json!({"email": "Admin@Example.org", "password": ADMIN.1});
    let answer = gateway.ask("POST", "/api/v1/auth/login", &[], Some(&body)).await;
    let cookie = answer.cookies[0].clone();
    assert!(
        cookie.starts_with("halcyon_session=")
            && cookie.contains("Path=/;")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let session = answer.expect(200);
    let token = session["access_token"].as_str().unwrap();
    let me = gateway.call(token, "GET", "/me", None).await.expect(200);
    assert_eq!(
        (&me["email"], &me["roles"][0]["role"]),
        (&json!(ADMIN.0), &json!("admin"))
    );

    let cookie = cookie.split(';').next().unwrap();
    let me = gateway
        .ask("GET", "/api/v1/me", &[("cookie", cookie)], None)
        .await;
    assert_eq!(me.expect(200)["email"], ADMIN.0);
    let body = json!({"name": "n", "type": "http_webhook"});
    let from = |site| [("cookie", cookie), ("sec-fetch-site", site)];
    let path = "/api/v1/datasources";
    gateway
        .ask("POST", path, &from("cross-site"), Some(&body))
        .await
        .expect(403);
    gateway
        .ask("POST", path, &from("same-origin"), Some(&body))
        .await
        .expect(201);
    let out = gateway.ask("POST", "/api/v1/auth/logout", &[], None).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(out.status, 204);
}

#[tokio::test]
async fn a_password_that_was_replaced_while_it_was_checked_opens_no_session() {
    let gateway = Gateway::start().await;
    let reason = AllTenants::because("a test");
    let known = gateway.store.read().users().by_email(reason, ADMIN.0).await;
    let known = known.unwrap().unwrap();
    let info = RequestInfo {
        request_id: String::new(),
        trace_id: String::new(),
        remote_ip: None,
        user_agent: None,
    };
    let enter = async || {
        let hash = known.password_hash.clone();
        gateway.app.enter(&known.user, hash, &info).await
    };
    assert!(enter().await.is_ok());
    let tx = gateway.store.begin().await.unwrap();
    let users = tx.users();
    let changed = users.update(&known.user, Some("another"), gateway.now());
    changed.await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(enter().await, Err(Error::Unauthenticated(_))));
    let last = gateway.trail().await.pop().unwrap();
    assert_eq!(
        (last.action.as_str(), last.outcome),
        ("session.login", AuditOutcome::Refused)
    );
}

#[tokio::test]
async fn wrong_logins_sound_alike_are_kept_and_are_slowed_down() {
    let gateway = Gateway::start().await;
    let try_once = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        gateway.ask("POST", "/api/v1/auth/login", &[], Some(&body)).await
    };
    let begun = std::time::Instant::now();
    let unknown = try_once("nobody@example.org", "x").await.expect(401);
    assert!(
        begun.elapsed() >= std::time::Duration::from_millis(500),
        "a refusal takes the same time whoever is refused"
    );
    let endless = "e".repeat(300);
    let endless = try_once(&endless, "x").await.expect(422);
    assert_eq!(endless["errors"][0]["pointer"], "/email");
    let wrong = try_once(ADMIN.0, "x").await.expect(401);
    assert_eq!(unknown["detail"], wrong["detail"]);
    let trail = gateway.trail().await;
    assert_eq!(trail.len(), 1);
    assert_eq!(
        (trail[0].action.as_str(), trail[0].outcome.as_str()),
        ("session.login", "refused")
    );
    for _ in 0..2 {
        try_once(ADMIN.0, "x").await.expect(401);
    }
    let slowed = try_once(ADMIN.0, ADMIN.1).await;
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    slowed.expect(429);
}

#[tokio::test]
async fn no_token_a_broken_one_and_a_forgotten_user_are_401() {
    let gateway = Gateway::start().await;
    let answer = gateway.ask("GET", "/api/v1/me", &[], None).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.expect(401);
    assert_eq!(problem["instance"], "/api/v1/me");
    assert_eq!(problem["trace_id"].as_str().unwrap().len(), 32);
    gateway.call("a.b.c", "GET", "/me", None).await.expect(401);
    gateway
        .ask("GET", "/api/v1/me", &[("authorization", "Basic YTpi")], None)
        .await
        .expect(401);
    let until = Timestamp::MAX_UTC;
    let forged = |user, organization, session| {
        let holder = Holder {
            user,
            organization,
            session,
            until,
        };
        gateway.tokens.issue(&holder).unwrap().token
    };
    let (user, organization) = (gateway.admin, gateway.organization);
    let session = gateway.only_session().await;
    gateway
        .call(&forged(user, organization, session), "GET", "/me", None)
        .await
        .expect(200);
    for wrong in [
        forged(UserId::generate(), organization, session),
        forged(user, organization, SessionId::generate()),
    ] {
        gateway.call(&wrong, "GET", "/me", None).await.expect(401);
    }
}
