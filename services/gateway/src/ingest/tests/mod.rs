//! Requests against a real nats-server and a registry that only opens secrets.

mod fixture;

use std::io::Write;

use halcyon_domain::{
    assignment::IngestRoute,
    clock::{Clock, SystemClock},
    id::DatasourceId,
    lifecycle::DatasourceStatus,
};
use halcyon_tests::{client::hmac_sha256_hex, wait};
use salvo::test::TestClient;
use serde_json::json;

use self::fixture::{Feed, Fixture, SOON, bearer, open, route};

#[tokio::test]
async fn a_signed_event_is_stored_as_it_came() {
    let fixture = Fixture::start().await;
    fixture.set_secret(&[("key", None)]);
    let feed = fixture
        .feed(json!({"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}}))
        .await;
    let body = "{\"b\" : 1.10, \"a\":12345678901234567890123}";
    let post = |signature: &str| {
        feed.post()
            .add_header("content-type", "application/json", true)
            .add_header("x-hub-signature-256", format!("sha256={signature}"), true)
            .add_header("x-github-delivery", "d-1", true)
            .add_header("authorization", "Bearer canary", true)
            .add_header("cookie", "canary", true)
            .body(body)
    };
    let signature = hmac_sha256_hex(b"key", body.as_bytes());
    let (status, answer, _) = feed.send(post(&signature)).await;
    assert_eq!(status, 202, "{answer}");
    let (_, again, _) = feed.send(post(&signature)).await;
    assert_eq!(answer, again, "a redelivery is the same event");
    let (status, problem, _) = feed.send(post(&hmac_sha256_hex(b"other", body.as_bytes()))).await;
    assert_eq!((status, &problem["status"]), (401, &json!(401)), "{problem}");

    let event = &feed.stored(2).await[0];
    assert_eq!(event.id.as_str(), answer["id"]);
    assert_eq!(event.payload, body);
    assert_eq!(event.organization, feed.route.organization);
    assert_eq!(
        event.headers.get("x-github-delivery").map(String::as_str),
        Some("d-1")
    );
    let kept: Vec<_> = event.headers.keys().collect();
    assert!(!kept.iter().any(|name| name.contains("signature")), "{kept:?}");
    assert!(
        !event.headers.values().any(|value| value.contains("canary")),
        "{kept:?}"
    );
}

#[tokio::test]
async fn each_line_is_an_event_also_when_compressed() {
    let fixture = Fixture::start().await;
    let feed = fixture.feed(open()).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"n\":1}\n\n{\"n\":2}\nnot json\n").unwrap();
    let request = feed
        .post()
        .add_header("content-type", "application/x-ndjson", true)
        .add_header("content-encoding", "gzip", true)
        .body(gzip.finish().unwrap());
    let (status, answer, _) = feed.send(request).await;
    assert_eq!(status, 202, "{answer}");
    let events = feed.stored(3).await;
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str().to_owned()).collect();
    assert_eq!(answer["ids"], json!(ids));
    let bodies: Vec<_> = events.iter().map(|event| event.payload.as_ref()).collect();
    assert_eq!(bodies, [&b"{\"n\":1}"[..], b"{\"n\":2}", b"not json"]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_apart() {
    let fixture = Fixture::start().await;
    let mut feed = fixture
        .feed(json!({"auth": {"type": "none"}, "max_body": 2_000}))
        .await;
    let json_type = ("content-type", "application/json");
    let post = |body: String| feed.post().add_header(json_type.0, json_type.1, true).body(body);
    let (status, problem, _) = feed.send(post(format!("\"{}\"", "x".repeat(3_000)))).await;
    assert_eq!(status, 413, "{problem}");
    assert_eq!(problem["type"], "urn:halcyon:problem:too_large");
    let (status, ..) = feed.send(post(String::new())).await;
    assert_eq!(status, 400);
    let (status, ..) = feed
        .send(
            feed.post()
                .add_header("content-type", "image/png", true)
                .body("x"),
        )
        .await;
    assert_eq!(status, 415);
    feed.until(|status| status == 405).await;

    for unknown in [DatasourceId::generate().to_string(), "nonsense".to_owned()] {
        let url = format!("http://127.0.0.1/ingest/{unknown}");
        assert_eq!(feed.send(TestClient::post(url).body("{}")).await.0, 404);
    }
    feed.change(|route| route.status = DatasourceStatus::Disabled)
        .await;
    feed.until(|status| status == 409).await;
    let (_, problem, _) = feed.send(feed.post().body("{}")).await;
    assert_eq!(problem["type"], "urn:halcyon:problem:disabled");
    feed.change(|route| route.status = DatasourceStatus::Active).await;
    feed.until(|status| status == 405).await;
    let draft = fixture
        .route(IngestRoute {
            status: DatasourceStatus::Draft,
            version: None,
            ..route(open())
        })
        .await;
    draft.until(|status| status == 409).await;
    fixture
        .registry
        .routes()
        .delete(&feed.route.datasource.to_string(), None)
        .await
        .unwrap();
    feed.until(|status| status == 404).await;
}

#[tokio::test]
async fn a_used_up_rate_is_429_for_this_feed_only() {
    let fixture = Fixture::start().await;
    let connection = json!({"auth": {"type": "none"}, "rate_limit": {"requests_per_second": 1, "burst": 2}});
    let mut feed = fixture.feed(connection).await;
    let other = fixture.feed(open()).await;
    for expected in [202, 202, 429] {
        let (status, _, retry) = feed.send(feed.post().body("{}")).await;
        assert_eq!(status, expected);
        assert_eq!(retry.is_some(), expected == 429);
    }
    assert_eq!(other.send(other.post().body("{}")).await.0, 202);
    // A change of something else does not give the sender a new burst.
    feed.change(|route| route.version = Some(2)).await;
    other.fixture.registry.rtt().await.unwrap();
    assert_eq!(feed.send(feed.post().body("{}")).await.0, 429);
}

#[tokio::test]
async fn a_full_backlog_is_429_for_this_feed_only() {
    let fixture = Fixture::start().await;
    let mut feed = fixture.feed(open()).await;
    let other = fixture.feed(open()).await;
    for (backlog_full, expected) in [(true, 429), (false, 202)] {
        feed.change(|route| route.backlog_full = backlog_full).await;
        let answers = async {
            loop {
                let (status, _, retry) = feed.send(feed.post().body("{}")).await;
                assert_eq!(retry.is_some(), status == 429);
                if status == expected {
                    return;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), answers)
            .await
            .unwrap();
        assert_eq!(other.send(other.post().body("{}")).await.0, 202);
    }
}

#[tokio::test]
async fn without_its_secret_a_feed_waits_and_recovers_by_itself() {
    let route = route(bearer());
    let mut fixture = Fixture::without_registry(Some(&route)).await;
    fixture.set_secret(&[("key", None)]);
    Feed {
        fixture: &fixture,
        route: route.clone(),
    }
    .until(|status| status == 503)
    .await;
    assert!(!fixture.health.report().ready, "{:?}", fixture.health.report());
    fixture.serve().await;
    let feed = Feed {
        fixture: &fixture,
        route,
    };
    wait::eventually(SOON, || async { fixture.health.report().ready })
        .await
        .unwrap();
    assert_eq!(feed.send(feed.post().bearer_auth("key").body("{}")).await.0, 202);
    assert_eq!(
        feed.send(feed.post().bearer_auth("other").body("{}")).await.0,
        401
    );
}

#[tokio::test]
async fn a_rotated_secret_counts_until_its_end_and_ingest_goes_on_without_a_registry() {
    let mut fixture = Fixture::start().await;
    fixture.set_secret(&[("old", None)]);
    let route = fixture.feed(bearer()).await.route;
    let end = SystemClock.now() + chrono::TimeDelta::milliseconds(1_500);
    fixture.set_secret(&[("new", None), ("old", Some(end))]);
    {
        let mut feed = Feed {
            fixture: &fixture,
            route: route.clone(),
        };
        feed.change(|route| route.secrets_revision = 2).await;
        let answer = |token: &'static str| {
            let request = feed.post().bearer_auth(token).body("{}");
            async { feed.send(request).await.0 }
        };
        wait::eventually(SOON, || async { answer("new").await == 202 })
            .await
            .unwrap();
        wait::eventually(SOON, || async { answer("old").await == 401 })
            .await
            .unwrap();
        assert!(SystemClock.now() >= end);
    }
    fixture.serving.take().unwrap().stop().await;
    let mut feed = Feed {
        fixture: &fixture,
        route,
    };
    // A new version that names the same secret needs no registry.
    let connection = json!({"auth": bearer()["auth"], "max_body": 1_000});
    feed.change(|route| {
        route.secrets_revision = 2;
        route.version = Some(2);
        route.connection = connection;
    })
    .await;
    let large = || feed.post().bearer_auth("new").body("x".repeat(1_001));
    wait::eventually(SOON, || async { feed.send(large()).await.0 == 413 })
        .await
        .unwrap();
    assert_eq!(feed.send(feed.post().bearer_auth("new").body("{}")).await.0, 202);
}

#[tokio::test]
async fn a_handshake_is_answered_and_is_no_event() {
    let fixture = Fixture::start().await;
    fixture.set_secret(&[("key", None)]);
    let connection =
        json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}, "handshake": "slack"});
    let feed = fixture.feed(connection).await;
    let body = "{\"type\": \"url_verification\", \"challenge\": \"abc\"}";
    let (status, answer, _) = feed.send(feed.post().bearer_auth("key").body(body)).await;
    assert_eq!((status, answer), (200, json!("abc")));
    assert_eq!(
        feed.send(feed.post().bearer_auth("wrong").body(body)).await.0,
        401
    );
    assert_eq!(fixture.gateway.stats().frame_items, 0);
}

#[tokio::test]
async fn without_nats_the_answer_is_503_and_never_202() {
    let mut fixture = Fixture::start().await;
    let route = fixture.feed(open()).await.route;
    fixture.nats.kill().unwrap();
    {
        let feed = Feed {
            fixture: &fixture,
            route: route.clone(),
        };
        let (status, problem, retry) = feed.send(feed.post().body("{}")).await;
        assert_eq!((status, retry.is_some()), (503, true), "{problem}");
    }
    fixture.nats.restart().await.unwrap();
    let feed = Feed {
        fixture: &fixture,
        route,
    };
    wait::eventually(SOON, || async {
        feed.send(feed.post().body("{}")).await.0 == 202
    })
    .await
    .unwrap();
}
