//! Sessions: refresh tokens that work once, lifetimes, ends, and acting in another organisation.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Role, Scope},
    clock::{Clock, ManualClock, SystemClock},
    id::{OrganizationId, UserId},
    organization::ApprovalPolicy,
};
use halcyon_store::{Organization, Tenant};
use serde_json::{Value, json};

use super::support::{ADMIN, Answer, Gateway};
use crate::Settings;

const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn at_clock() -> (Gateway, ManualClock) {
    let clock = ManualClock::at(SystemClock.now());
    (
        Gateway::start_at(&Settings::default(), Arc::new(clock.clone())).await,
        clock,
    )
}

async fn login(gateway: &Gateway, returned: bool) -> Answer {
    let body = json!({"email": ADMIN.0, "password": ADMIN.1, "return_refresh_token": returned});
    gateway.ask("POST", "/api/v1/auth/login", &[], Some(&body)).await
}

async fn refresh(gateway: &Gateway, token: &Value) -> Answer {
    let body = json!({"refresh_token": token});
    gateway
        .ask("POST", "/api/v1/auth/refresh", &[], Some(&body))
        .await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let (gateway, clock) = at_clock().await;
    let first = login(&gateway, true).await.expect(200);
    let second = refresh(&gateway, &first["refresh_token"]).await;
    assert_eq!(
        second.header("set-cookie"),
        "",
        "a program's cookies are not touched"
    );
    let second = second.expect(200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(second["session"], first["session"]);
    // Two that refresh at once: the second gets an access token, and keeps the refresh token of the first.
    let racing = refresh(&gateway, &first["refresh_token"]).await.expect(200);
    assert!(racing.get("refresh_token").is_none());
    for body in [&first, &second, &racing] {
        gateway
            .call(text(&body["access_token"]), "GET", "/me", None)
            .await
            .expect(200);
    }
    clock.advance(TimeDelta::seconds(10));
    refresh(&gateway, &first["refresh_token"]).await.expect(401);
    for body in [&first, &second, &racing] {
        gateway
            .call(text(&body["access_token"]), "GET", "/me", None)
            .await
            .expect(401);
    }
    refresh(&gateway, &second["refresh_token"]).await.expect(401);
    refresh(&gateway, &json!("hrt_made-up")).await.expect(401);
    let actions: Vec<_> = gateway
        .trail()
        .await
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(
        actions,
        [
            "session.login",
            "session.refresh",
            "session.refresh",
            "session.end"
        ]
    );
}

#[tokio::test]
async fn a_browser_refreshes_by_cookie_from_its_own_pages_only() {
    let (gateway, _) = at_clock().await;
    let answer = login(&gateway, false).await;
    let cookies = answer.cookies.clone();
    assert!(answer.expect(200).get("refresh_token").is_none());
    let named = |name: &str| {
        cookies
            .iter()
            .find(|cookie| cookie.starts_with(name))
            .unwrap()
            .clone()
    };
    let kept = named("halcyon_refresh=");
    for part in [
        "Path=/api/v1/auth",
        "HttpOnly",
        "SameSite=Strict",
        "Max-Age=43200",
    ] {
        assert!(kept.contains(part), "{kept}");
    }
    let cookie = kept.split(';').next().unwrap().to_owned();
    let path = "/api/v1/auth/refresh";
    let other = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    gateway.ask("POST", path, &other, None).await.expect(403);
    gateway
        .ask("POST", path, &[("cookie", cookie.as_str())], None)
        .await
        .expect(403);
    let own = [("cookie", cookie.as_str()), SAME];
    let answer = gateway.ask("POST", path, &own, None).await;
    assert_eq!(answer.cookies.len(), 2);
    assert!(answer.cookies.iter().all(|cookie| !cookie.contains("Max-Age=0")));
    answer.expect(200);
    let none = gateway.ask("POST", path, &[SAME], None).await;
    none.expect(401);
    let stale = [("cookie", "halcyon_refresh=hrt_x"), SAME];
    let answer = gateway.ask("POST", path, &stale, None).await;
    assert!(answer.cookies.iter().all(|cookie| cookie.contains("Max-Age=0")));
    answer.expect(401);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_at_its_longest() {
    let (gateway, clock) = at_clock().await;
    let session = login(&gateway, true).await.expect(200);
    clock.advance(TimeDelta::minutes(16));
    gateway
        .call(text(&session["access_token"]), "GET", "/me", None)
        .await
        .expect(401);
    clock.advance(TimeDelta::hours(11));
    let mut session = refresh(&gateway, &session["refresh_token"]).await.expect(200);
    gateway
        .call(text(&session["access_token"]), "GET", "/me", None)
        .await
        .expect(200);
    for _ in 0..14 {
        clock.advance(TimeDelta::hours(11));
        session = refresh(&gateway, &session["refresh_token"]).await.expect(200);
    }
    clock.advance(TimeDelta::hours(11));
    refresh(&gateway, &session["refresh_token"]).await.expect(401);
    let session = login(&gateway, true).await.expect(200);
    clock.advance(TimeDelta::hours(12));
    refresh(&gateway, &session["refresh_token"]).await.expect(401);
}

#[tokio::test]
async fn signing_out_ends_the_session_for_real() {
    let (gateway, _) = at_clock().await;
    let (one, two) = (
        login(&gateway, true).await.expect(200),
        login(&gateway, true).await.expect(200),
    );
    let token = text(&one["access_token"]);
    let out = gateway.call(token, "POST", "/auth/logout", None).await;
    assert!(out.cookies.iter().all(|cookie| cookie.contains("Max-Age=0")) && out.cookies.len() == 2);
    assert_eq!(out.status, 204);
    gateway.call(token, "GET", "/me", None).await.expect(401);
    refresh(&gateway, &one["refresh_token"]).await.expect(401);
    let body = json!({"refresh_token": two["refresh_token"]});
    gateway
        .ask("POST", "/api/v1/auth/logout", &[], Some(&body))
        .await
        .expect(204);
    gateway
        .call(text(&two["access_token"]), "GET", "/me", None)
        .await
        .expect(401);
    let again = gateway.ask("POST", "/api/v1/auth/logout", &[], Some(&body)).await;
    assert_eq!(again.status, 204, "a second time changes nothing");
    let trail = gateway.trail().await;
    assert_eq!(
        trail
            .iter()
            .filter(|entry| entry.action == "session.logout")
            .count(),
        2
    );
}

#[tokio::test]
async fn everybody_sees_and_ends_their_own_sessions_and_admins_end_them_all() {
    let (gateway, _) = at_clock().await;
    let (admin, other) = (gateway.admin(), login(&gateway, true).await.expect(200));
    let list = gateway
        .call(&admin, "GET", "/me/sessions", None)
        .await
        .expect(200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let current = |item: &&Value| item["current"] == true;
    assert_eq!(items.iter().filter(current).count(), 1);
    let organization = Scope::Organization(gateway.organization);
    let viewer = gateway.user(Role::Viewer, organization).await;
    let path = format!("/me/sessions/{}", text(&other["session"]));
    gateway.call(&viewer, "DELETE", &path, None).await.expect(404);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway.call(&admin, "DELETE", &path, None).await.expect(404);
    gateway
        .call(text(&other["access_token"]), "GET", "/me", None)
        .await
        .expect(401);

    let me = gateway.call(&viewer, "GET", "/me", None).await.expect(200);
    let path = format!("/users/{}/sessions", text(&me["id"]));
    gateway.call(&viewer, "DELETE", &path, None).await.expect(403);
    assert_eq!(gateway.refusals(), ["user.end_sessions"]);
    let nobody = format!("/users/{}/sessions", UserId::generate());
    gateway.call(&admin, "DELETE", &nobody, None).await.expect(404);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway.call(&viewer, "GET", "/me", None).await.expect(401);
    gateway.call(&admin, "GET", "/me", None).await.expect(200);
}

#[tokio::test]
async fn one_acts_in_another_organisation_only_if_something_is_there_for_them() {
    let (gateway, _) = at_clock().await;
    let now = SystemClock.now();
    let other = OrganizationId::generate();
    let tx = gateway.store.begin().await.unwrap();
    let organization = Organization {
        id: other,
        name: "other".to_owned(),
        approval_policy: ApprovalPolicy::Off,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    tx.organizations().insert(&organization).await.unwrap();
    tx.commit().await.unwrap();
    let viewer = gateway
        .user(Role::Admin, Scope::Organization(gateway.organization))
        .await;
    let (path, body) = ("/auth/switch-organization", json!({"organization": other}));
    gateway
        .call(&viewer, "POST", path, Some(body.clone()))
        .await
        .expect(404);
    let nowhere = json!({"organization": OrganizationId::generate()});
    let session = login(&gateway, true).await.expect(200);
    let token = text(&session["access_token"]);
    gateway.call(token, "POST", path, Some(nowhere)).await.expect(404);
    let switched = gateway.call(token, "POST", path, Some(body)).await.expect(200);
    assert_eq!(switched["organization"], json!(other));
    let (here, there) = (token, text(&switched["access_token"]));
    let made = json!({"name": "EDR", "type": "generator"});
    gateway
        .call(there, "POST", "/datasources", Some(made))
        .await
        .expect(201);
    let count = async |token: &str| {
        let list = gateway.call(token, "GET", "/datasources", None).await.expect(200);
        list["items"].as_array().unwrap().len()
    };
    assert_eq!((count(here).await, count(there).await), (0, 1));
    gateway.call(there, "GET", "/me", None).await.expect(200);
    let refreshed = refresh(&gateway, &session["refresh_token"]).await.expect(200);
    assert_eq!(refreshed["organization"], json!(other), "the session stays there");
    let trail = gateway.trail().await;
    let switch = trail
        .iter()
        .find(|entry| entry.action == "session.switch_organization")
        .unwrap();
    assert_eq!(switch.organization, other);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let (gateway, _) = at_clock().await;
    let session = login(&gateway, true).await.expect(200);
    let tenant = Tenant(gateway.organization);
    let mut user = gateway
        .store
        .read()
        .users()
        .find(tenant, gateway.admin)
        .await
        .unwrap()
        .unwrap();
    user.disabled = true;
    let tx = gateway.store.begin().await.unwrap();
    tx.users().update(&user, None, SystemClock.now()).await.unwrap();
    tx.commit().await.unwrap();
    gateway
        .call(text(&session["access_token"]), "GET", "/me", None)
        .await
        .expect(401);
    refresh(&gateway, &session["refresh_token"]).await.expect(401);
    login(&gateway, true).await.expect(401);
}
