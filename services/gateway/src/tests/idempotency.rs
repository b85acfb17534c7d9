//! Requests that are sent again.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, ManualClock, SystemClock};
use serde_json::json;

use super::support::{Answer, Gateway};
use crate::Settings;

async fn post(gateway: &Gateway, path: &str, key: &str, body: serde_json::Value) -> Answer {
    post_as(gateway, &gateway.admin(), path, key, body).await
}

async fn post_as(gateway: &Gateway, token: &str, path: &str, key: &str, body: serde_json::Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
    gateway
        .ask("POST", &format!("/api/v1{path}"), &headers, Some(&body))
        .await
}

fn code(answer: &Answer) -> &str {
    answer.body["type"]
        .as_str()
        .unwrap_or_default()
        .rsplit(':')
        .next()
        .unwrap_or_default()
}

async fn count(gateway: &Gateway) -> usize {
    let list = gateway
        .call(&gateway.admin(), "GET", "/datasources", None)
        .await
        .expect(200);
    list["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_has_no_effect() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "EDR", "type": "generator"});
    let first = post(&gateway, "/datasources", "one", body.clone()).await;
    let again = post(&gateway, "/datasources", "one", body.clone()).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.body);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.header("idempotency-replayed"), "");
    for name in ["etag", "location", "content-type"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
        assert!(!first.header(name).is_empty(), "{name}");
    }
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    assert_eq!(count(&gateway).await, 1);
    assert_eq!(gateway.trail().await.len(), 1);

    let other = post(
        &gateway,
        "/datasources",
        "one",
        json!({"name": "B", "type": "generator"}),
    )
    .await;
    assert_eq!((other.status, code(&other)), (422, "idempotency_key_reused"));
    let id = first.body["id"].as_str().unwrap();
    let elsewhere = post(
        &gateway,
        &format!("/datasources/{id}/clone"),
        "one",
        json!({"name": "B"}),
    )
    .await;
    assert_eq!(
        (elsewhere.status, code(&elsewhere)),
        (422, "idempotency_key_reused")
    );
    let two = post(&gateway, "/datasources", "two", body).await;
    assert_eq!(
        (two.status, code(&two)),
        (409, "name_taken"),
        "another key is another request"
    );
}

#[tokio::test]
async fn keys_belong_to_who_sent_them() {
    use halcyon_domain::access::{Role, Scope};
    let gateway = Gateway::start().await;
    let scope = Scope::Organization(gateway.organization);
    let other = gateway.user(Role::Admin, scope).await;
    post(
        &gateway,
        "/datasources",
        "k",
        json!({"name": "A", "type": "generator"}),
    )
    .await
    .expect(201);
    let made = post_as(
        &gateway,
        &other,
        "/datasources",
        "k",
        json!({"name": "B", "type": "generator"}),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let nobody = gateway
        .ask(
            "POST",
            "/api/v1/datasources",
            &[("idempotency-key", "k")],
            Some(&json!({})),
        )
        .await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn a_request_that_failed_may_be_put_right_under_its_key() {
    let gateway = Gateway::start().await;
    post(
        &gateway,
        "/datasources",
        "k",
        json!({"name": "A", "type": "nonsense"}),
    )
    .await
    .expect(422);
    post(
        &gateway,
        "/datasources",
        "k",
        json!({"name": "A", "type": "generator"}),
    )
    .await
    .expect(201);
    let made = post(
        &gateway,
        "/datasources",
        "k",
        json!({"name": "A", "type": "generator"}),
    )
    .await;
    assert_eq!((made.status, made.header("idempotency-replayed")), (201, "true"));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_only_posts_have_keys() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "A", "type": "generator"});
    let refused = post(&gateway, "/datasources", "a b", body.clone()).await;
    assert_eq!((refused.status, code(&refused)), (400, "invalid_idempotency_key"));
    let made = post(&gateway, "/datasources", "k", body).await.expect(201);
    let path = format!("/api/v1/datasources/{}", made["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", gateway.admin());
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    for name in ["B", "C"] {
        let put = gateway
            .ask("PUT", &path, &headers, Some(&json!({"name": name})))
            .await;
        assert_eq!((put.status, &put.body["name"]), (200, &json!(name)));
    }
}

#[tokio::test]
async fn many_at_once_make_one_object() {
    let gateway = Gateway::start().await;
    let ask = || {
        post(
            &gateway,
            "/datasources",
            "k",
            json!({"name": "A", "type": "generator"}),
        )
    };
    let answers = futures::future::join_all((0..12).map(|_| ask())).await;
    for answer in &answers {
        let in_flight = answer.status == 409 && code(answer) == "request_in_flight";
        assert!(
            answer.status == 201 || in_flight,
            "{} {}",
            answer.status,
            answer.body
        );
        assert_eq!(in_flight, !answer.header("retry-after").is_empty());
    }
    assert_eq!(ask().await.status, 201);
    assert_eq!(count(&gateway).await, 1);
    assert_eq!(gateway.trail().await.len(), 1);
}

#[tokio::test]
async fn signing_in_is_never_kept() {
    let gateway = Gateway::start().await;
    let login = || async {
        let body = json!({"email": super::support::ADMIN.0, "password": super::support::ADMIN.1});
        gateway
            .ask(
                "POST",
                "/api/v1/auth/login",
                &[("idempotency-key", "k")],
                Some(&body),
            )
            .await
    };
    let (one, two) = (login().await, login().await);
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(two.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn two_gateways_carry_a_request_out_once() {
    let one = Gateway::start().await;
    let two = one.beside();
    let body = || json!({"name": "A", "type": "generator"});
    let answers = futures::future::join_all((0..10).map(|n| {
        let gateway = if n % 2 == 0 { &one } else { &two };
        post(gateway, "/datasources", "k", body())
    }))
    .await;
    assert!(answers.iter().any(|answer| answer.status == 201));
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
    let (first, second) = (
        post(&one, "/datasources", "k", body()).await.expect(201),
        post(&two, "/datasources", "k", body()).await.expect(201),
    );
    assert_eq!(first, second);
    assert_eq!(count(&one).await, 1);
}

#[tokio::test]
async fn what_was_done_is_not_done_again_though_nobody_answered() {
    let clock = ManualClock::at(SystemClock.now() - TimeDelta::minutes(5));
    let gateway = Arc::new(Gateway::start_at(&Settings::default(), Arc::new(clock.clone())).await);
    let body = || json!({"name": "A", "type": "generator"});
    let asked = gateway.clone();
    let first = tokio::spawn(async move { post(&asked, "/datasources", "k", body()).await });
    // It has committed; its process goes before it has kept the answer.
    *gateway.stand.cut.lock().unwrap() = Some(first.abort_handle());
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(count(&gateway).await, 1);
    let soon = post(&gateway, "/datasources", "k", body()).await;
    assert_eq!((soon.status, code(&soon)), (409, "request_in_flight"));
    clock.advance(TimeDelta::seconds(66));
    let later = post(&gateway, "/datasources", "k", body()).await;
    assert_eq!((later.status, code(&later)), (409, "answer_lost"));
    let list = gateway
        .call(&gateway.admin(), "GET", "/datasources", None)
        .await
        .expect(200);
    let id = list["items"][0]["id"].as_str().unwrap();
    assert!(
        later.body["detail"]
            .as_str()
            .unwrap()
            .contains(&format!("datasource {id}")),
        "{}",
        later.body
    );
    assert_eq!(count(&gateway).await, 1);
}

#[tokio::test]
async fn a_sender_that_goes_away_may_send_it_again_at_once() {
    let gateway = Arc::new(Gateway::start().await);
    let body = || json!({"name": "A", "type": "generator"});
    // Somebody else writes, so the request waits before it has had any effect.
    let other = gateway.store.begin().await.unwrap();
    let asked = gateway.clone();
    let first = tokio::spawn(async move { post(&asked, "/datasources", "k", body()).await });
    tokio::task::yield_now().await;
    first.abort();
    let _ = first.await;
    other.rollback().await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let again = post(&gateway, "/datasources", "k", body()).await;
        if again.status == 201 {
            break;
        }
        assert_eq!(code(&again), "request_in_flight");
        assert!(tokio::time::Instant::now() < deadline, "it is held for ever");
    }
    assert_eq!(count(&gateway).await, 1);
}
