//! What surrounds a request: headers, origins, limits, identifiers, deadlines, aliases.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_domain::{
    clock::{Clock, ManualClock, SystemClock},
    duration::HumanDuration,
};
use salvo::{
    Router, Service, handler,
    test::{ResponseExt, TestClient},
};
use serde_json::{Value, json};

use super::support::{Answer, Gateway};
use crate::{
    Settings,
    edge::{
        deadline::Deadline,
        settings::{CorsSettings, LimitSettings, Quota},
    },
};

const PAGE: &str = "https://console.example.org";

fn with_page() -> Settings {
    Settings {
        tls_terminated_in_front: true,
        cors: CorsSettings {
            origins: vec![PAGE.to_owned()],
            ..CorsSettings::default()
        },
        ..Settings::default()
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is() {
    let gateway = Gateway::start_with(&with_page()).await;
    for path in [
        "/api/v1/me",
        "/api/v1/nothing",
        "/nothing",
        "/livez",
        "/",
        "/api/openapi.json",
        "/api/asyncapi.json",
    ] {
        let answer = gateway.ask("GET", path, &[], None).await;
        for (name, part) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("permissions-policy", "camera=()"),
            ("strict-transport-security", "max-age="),
            ("cache-control", "no-"),
        ] {
            assert!(
                answer.header(name).contains(part),
                "{path}: {name}: {}",
                answer.header(name)
            );
        }
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    let docs = gateway.ask("GET", "/api/docs", &[], None).await;
    assert!(
        docs.header("content-security-policy")
            .contains("script-src 'self'")
    );
    let plain = Gateway::start().await.ask("GET", "/livez", &[], None).await;
    assert_eq!(plain.header("strict-transport-security"), "");
}

#[tokio::test]
async fn only_listed_origins_may_call() {
    let gateway = Gateway::start_with(&with_page()).await;
    let asks = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "if-match"),
        ]
    };
    let path = "/api/v1/datasources";
    let answer = gateway.ask("OPTIONS", path, &asks(PAGE), None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), PAGE);
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    for header in ["if-match", "idempotency-key", "authorization", "content-type"] {
        assert!(
            answer.header("access-control-allow-headers").contains(header),
            "{header}"
        );
    }
    let token = format!("Bearer {}", gateway.admin());
    let get = |origin: &'static str| {
        [
            ("origin", origin),
            ("authorization", token.clone().leak() as &str),
        ]
    };
    let answer = gateway.ask("GET", path, &get(PAGE), None).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, PAGE)
    );
    assert!(answer.header("access-control-expose-headers").contains("etag"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert_eq!(answer.header("vary"), "origin");
    for other in [
        "https://evil.example",
        "null",
        "https://console.example.org.evil.example",
        "http://console.example.org",
    ] {
        let refused = gateway.ask("OPTIONS", path, &asks(other), None).await;
        assert!(refused.status >= 400, "{other}: {}", refused.status);
        assert_eq!(refused.header("access-control-allow-origin"), "", "{other}");
        let answer = gateway.ask("GET", path, &get(other), None).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
    }
    let none = Gateway::start()
        .await
        .ask("OPTIONS", path, &asks(PAGE), None)
        .await;
    assert_eq!(none.header("access-control-allow-origin"), "");
}

async fn ask_as(gateway: &Gateway, token: &str) -> Answer {
    gateway.call(token, "GET", "/me", None).await
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_go_on() {
    let quota = |requests| Quota {
        requests,
        window: HumanDuration::from_secs(60),
    };
    let settings = Settings {
        limits: LimitSettings {
            subject: quota(3),
            address: quota(2),
            ..LimitSettings::default()
        },
        ..Settings::default()
    };
    let clock = ManualClock::at(SystemClock.now());
    let gateway = Gateway::start_at(&settings, Arc::new(clock.clone())).await;
    let admin = gateway.admin();
    for left in ["2", "1", "0"] {
        let answer = ask_as(&gateway, &admin).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .header("ratelimit")
                .starts_with(&format!("\"subject\";r={left};t=")),
            "{:?}",
            answer.headers
        );
        assert_eq!(answer.header("ratelimit-policy"), "\"subject\";q=3;w=60");
    }
    let refused = ask_as(&gateway, &admin).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "20"));
    assert_eq!(refused.body["type"], "urn:halcyon:problem:too_many_requests");
    assert_eq!(refused.header("ratelimit"), "\"subject\";r=0;t=60");
    assert!(
        gateway
            .ask("GET", "/livez", &[], None)
            .await
            .header("ratelimit")
            .is_empty()
    );
    for status in [401, 401, 429] {
        assert_eq!(ask_as(&gateway, "nonsense").await.status, status);
    }
    clock.advance(TimeDelta::seconds(20));
    assert_eq!(ask_as(&gateway, &admin).await.status, 200);
    assert_eq!(ask_as(&gateway, &admin).await.status, 429);
}

#[tokio::test]
async fn a_callers_request_identifier_goes_through_to_the_trail() {
    let gateway = Gateway::start().await;
    let token = format!("Bearer {}", gateway.admin());
    let body = json!({"name": "A", "type": "generator"});
    let headers = [
        ("authorization", token.as_str()),
        ("x-request-id", "build-7/step_2"),
    ];
    let made = gateway
        .ask("POST", "/api/v1/datasources", &headers, Some(&body))
        .await;
    assert_eq!(
        (made.status, made.header("x-request-id")),
        (201, "build-7/step_2")
    );
    assert_eq!(
        gateway.trail().await[0].request_id.as_deref(),
        Some("build-7/step_2")
    );
    for odd in ["a b", "x\"y", "<script>", &"a".repeat(129), ""] {
        let answer = gateway.ask("GET", "/livez", &[("x-request-id", odd)], None).await;
        assert_ne!(answer.header("x-request-id"), odd);
        assert_eq!(answer.header("x-request-id").len(), 36, "{odd}");
    }
}

#[tokio::test]
async fn the_paths_of_datasources_work_without_their_prefix() {
    let gateway = Gateway::start().await;
    let token = format!("Bearer {}", gateway.admin());
    let headers = [("authorization", token.as_str()), ("idempotency-key", "k")];
    let ask = |method: &'static str, path: String, body: Option<Value>| {
        let gateway = &gateway;
        async move { gateway.ask(method, &path, &headers, body.as_ref()).await }
    };
    let body = json!({"name": "A", "type": "generator"});
    let made = ask("POST", "/datasources".into(), Some(body.clone())).await;
    let again = ask("POST", "/datasources".into(), Some(body)).await;
    assert_eq!((made.status, again.header("idempotency-replayed")), (201, "true"));
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/api/v1/datasources/{id}"));
    for path in ["", "/versions", "/events", "/metrics"] {
        let (short, long) = (
            format!("/datasources/{id}{path}"),
            format!("/api/v1/datasources/{id}{path}"),
        );
        let (short, long) = (ask("GET", short, None).await, ask("GET", long, None).await);
        assert_eq!((short.status, &short.body), (200, &long.body), "{path}");
    }
    let listed = ask("GET", "/datasources?limit=1".into(), None).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.ask("GET", "/datasources", &[], None).await.status, 401);
    assert_eq!(ask("PATCH", "/datasources".into(), None).await.status, 405);
    assert_eq!(ask("GET", "/studio".into(), None).await.status, 404);
    let described = crate::openapi_json();
    assert!(
        !described.contains("\"/datasources"),
        "an alias is not described twice"
    );
}

#[handler]
async fn never() -> &'static str {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_ended() {
    let router = Router::new().hoop(Deadline(Duration::from_secs(60))).get(never);
    let mut answer = TestClient::get("http://localhost/")
        .send(&Service::new(router))
        .await;
    assert_eq!(answer.status_code.unwrap().as_u16(), 504);
    assert!(answer.take_string().await.unwrap().contains("deadline_exceeded"));
}
