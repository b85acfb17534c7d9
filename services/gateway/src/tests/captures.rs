//! Captures: who may, what runs, what is kept and when it ends; and the shape that samples tell.

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Role, Scope},
    capture::{Captured, MAX_CAPTURES},
    event::EventId,
    id::CaptureId,
    sample::MAX_SAMPLES,
};
use serde_json::{Value, json};

use super::support::{Gateway, config};
use crate::app::Error;

/// A published feed.
async fn feed(gateway: &Gateway) -> String {
    let token = gateway.admin();
    let mut config = config("title");
    config["mapping"]["records"] = "items[]".into();
    let body = json!({"name": "feed", "type": "http_webhook", "config": config});
    let made = gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = format!("/datasources/{id}/secrets/token");
    gateway
        .call(&token, "PUT", &secret, Some(json!({"value": "s3cret"})))
        .await
        .expect(200);
    let publish = format!("/datasources/{id}/publish");
    gateway
        .call(&token, "POST", &publish, Some(json!({})))
        .await
        .expect(200);
    id
}

/// A worker has taken a record.
async fn take(gateway: &Gateway, id: &str, capture: &Value, event: &str, payload: &str) {
    let captured = taken(gateway, id, capture, event, payload);
    gateway.app.keep_captured(captured).await.unwrap();
}

fn taken(gateway: &Gateway, id: &str, capture: &Value, event: &str, payload: &str) -> Captured {
    Captured {
        capture: capture["id"].as_str().unwrap().parse().unwrap(),
        organization: gateway.organization,
        datasource: id.parse().unwrap(),
        event: EventId::from(event.to_owned()),
        version: 1,
        content_type: Some("application/json".to_owned()),
        payload: payload.to_owned(),
    }
}

#[tokio::test]
async fn a_capture_becomes_samples_and_ends_by_itself() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway).await;
    let scope = Scope::Organization(gateway.organization);
    let viewer = gateway.user(Role::Viewer, scope).await;
    let operator = gateway.user(Role::Operator, scope).await;
    let path = format!("/datasources/{id}/captures");
    let body = json!({"point": "raw", "count": 2, "seconds": 30, "redact": {"emails": true}});
    gateway
        .call(&viewer, "POST", &path, Some(body.clone()))
        .await
        .expect(403);
    gateway.call(&viewer, "GET", &path, None).await.expect(403);
    for (wrong, pointer) in [
        (json!({"point": "raw", "count": 101}), "/count"),
        (json!({"point": "raw", "seconds": 0}), "/seconds"),
        (
            json!({"point": "raw", "redact": {"paths": ["x"]}}),
            "/redact/paths/0",
        ),
        (
            json!({"point": "raw", "redact": {"fields": ["a", "x".repeat(201)]}}),
            "/redact/fields/1",
        ),
        (json!({"point": "cooked"}), "/point"),
    ] {
        let refused = gateway
            .call(&operator, "POST", &path, Some(wrong))
            .await
            .expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let capture = gateway
        .call(&operator, "POST", &path, Some(body.clone()))
        .await
        .expect(202);
    assert_eq!(
        (&capture["running"], &capture["captured"]),
        (&json!(true), &json!(0))
    );
    let twice = gateway
        .call(&operator, "POST", &path, Some(body))
        .await
        .expect(409);
    assert_eq!(twice["type"], "urn:halcyon:problem:capture_runs");

    for (event, n) in [("a", 1), ("b", 2), ("c", 3)] {
        let payload = format!("{{\"items\":[{{\"id\":{n},\"at\":\"2026-01-02T03:04:05Z\"}}]}}");
        take(&gateway, &id, &capture, event, &payload).await;
    }
    let one = format!("{path}/{}", capture["id"].as_str().unwrap());
    let ended = gateway.call(&operator, "GET", &one, None).await.expect(200);
    assert_eq!(
        (&ended["running"], &ended["captured"], &ended["end"]),
        (&json!(false), &json!(2), &json!("complete")),
        "{ended}"
    );
    let samples = gateway
        .call(&operator, "GET", &format!("/datasources/{id}/samples"), None)
        .await
        .expect(200);
    let samples = samples["items"].as_array().unwrap();
    assert_eq!(samples.len(), 2, "{samples:?}");
    for sample in samples {
        assert_eq!(
            (&sample["origin"], &sample["origin_id"]),
            (&json!("live"), &capture["id"])
        );
    }

    let schema = format!("/datasources/{id}/samples/schema");
    gateway.call(&viewer, "GET", &schema, None).await.expect(403);
    let learned = gateway.call(&operator, "GET", &schema, None).await.expect(200);
    assert_eq!(
        (&learned["samples"], &learned["records"]),
        (&json!(2), &json!(2)),
        "{learned}"
    );
    assert_eq!(learned["schema"]["properties"]["at"]["format"], "date-time");
    assert_eq!(learned["schema"]["required"], json!(["at", "id"]));
    // What was learned can be what is expected.
    let mut expecting = config("title");
    expecting["schema"] = json!({"drift": "stop", "expected": learned["schema"]});
    let versions = format!("/datasources/{id}/versions");
    let body = json!({"config": expecting});
    gateway
        .call(&gateway.admin(), "POST", &versions, Some(body))
        .await
        .expect(201);
    let mut wrong = config("title");
    wrong["schema"] = json!({"drift": "stop"});
    let validate = json!({"name": "x", "type": "http_webhook", "config": wrong});
    let found = gateway
        .call(&gateway.admin(), "POST", "/datasources/validate", Some(validate))
        .await;
    assert!(
        found.body.to_string().contains("/schema/expected"),
        "{}",
        found.body
    );
}

#[tokio::test]
async fn a_capture_can_be_ended_and_is_in_the_trail() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway).await;
    let token = gateway.admin();
    let path = format!("/datasources/{id}/captures");
    let body = json!({"point": "mapped"});
    let capture = gateway
        .call(&token, "POST", &path, Some(body.clone()))
        .await
        .expect(202);
    let one = format!("{path}/{}", capture["id"].as_str().unwrap());
    gateway.call(&token, "DELETE", &one, None).await.expect(204);
    gateway.call(&token, "DELETE", &one, None).await.expect(204);
    take(&gateway, &id, &capture, "late", "[]").await;
    let ended = gateway.call(&token, "GET", &one, None).await.expect(200);
    assert_eq!(
        (&ended["end"], &ended["captured"]),
        (&json!("stopped"), &json!(0))
    );
    gateway
        .call(
            &token,
            "DELETE",
            &format!("{path}/{}", uuid::Uuid::new_v4()),
            None,
        )
        .await
        .expect(404);

    // One whose time is over has ended, whoever looks.
    let capture = gateway.call(&token, "POST", &path, Some(body)).await.expect(202);
    gateway.stand.captures.lock().unwrap()[0].until -= TimeDelta::seconds(3_600);
    let listed = gateway.call(&token, "GET", &path, None).await.expect(200);
    assert_eq!(listed["items"][0]["id"], capture["id"]);
    assert_eq!(listed["items"][0]["end"], "timed_out", "{listed}");
    let trail = gateway.trail().await;
    let count = |action: &str| trail.iter().filter(|entry| entry.action == action).count();
    assert_eq!((count("capture.start"), count("capture.stop")), (2, 2));
}

#[tokio::test]
async fn a_sample_that_was_deleted_leaves_no_name_that_clashes() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway).await;
    let token = gateway.admin();
    let path = format!("/datasources/{id}/captures");
    let body = json!({"point": "dead_letter", "count": 3});
    let capture = gateway.call(&token, "POST", &path, Some(body)).await.expect(202);
    take(&gateway, &id, &capture, "a", "1").await;
    take(&gateway, &id, &capture, "b", "2").await;
    let samples = format!("/datasources/{id}/samples");
    let by_name = format!("{samples}?sort=name");
    let listed = gateway.call(&token, "GET", &by_name, None).await.expect(200);
    let first = format!("{samples}/{}", listed["items"][0]["id"].as_str().unwrap());
    gateway.call(&token, "DELETE", &first, None).await.expect(204);
    take(&gateway, &id, &capture, "c", "3").await;
    let listed = gateway.call(&token, "GET", &by_name, None).await.expect(200);
    let names = listed["items"].as_array().unwrap().iter();
    let numbers: Vec<_> = names
        .map(|sample| sample["name"].as_str().unwrap().rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(numbers, ["2", "3"]);
}

#[tokio::test]
async fn a_capture_that_could_not_be_ended_is_complete_when_its_last_record_comes_again() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway).await;
    let token = gateway.admin();
    let path = format!("/datasources/{id}/captures");
    let samples = format!("/datasources/{id}/samples");
    // The last record takes the last place.
    for number in 1..MAX_SAMPLES {
        let body = json!({"name": format!("sample {number}"), "payload": {}});
        gateway
            .call(&token, "POST", &samples, Some(body))
            .await
            .expect(201);
    }
    let body = json!({"point": "raw", "count": 1});
    let capture = gateway.call(&token, "POST", &path, Some(body)).await.expect(202);
    *gateway.stand.captures_stuck.lock().unwrap() = true;
    let last = taken(&gateway, &id, &capture, "a", "1");
    let failed = gateway.app.keep_captured(last.clone()).await.unwrap_err();
    assert!(matches!(failed, Error::Unavailable { .. }), "{failed}");
    *gateway.stand.captures_stuck.lock().unwrap() = false;
    gateway.app.keep_captured(last).await.unwrap();
    let one = format!("{path}/{}", capture["id"].as_str().unwrap());
    let ended = gateway.call(&token, "GET", &one, None).await.expect(200);
    assert_eq!(
        (&ended["captured"], &ended["end"]),
        (&json!(1), &json!("complete")),
        "{ended}"
    );
}

#[tokio::test]
async fn captures_are_counted_and_a_datasource_has_so_many_a_day() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway).await;
    let token = gateway.admin();
    let path = format!("/datasources/{id}/captures");
    let mut captures = Vec::new();
    for point in ["raw", "dead_letter", "mapped"] {
        let body = json!({"point": point});
        captures.push(gateway.call(&token, "POST", &path, Some(body)).await.expect(202));
    }
    for (capture, event) in [(0, "a"), (0, "b"), (2, "c")] {
        take(&gateway, &id, &captures[capture], event, "[]").await;
    }
    let listed = gateway.call(&token, "GET", &path, None).await.expect(200);
    let items = listed["items"].as_array().unwrap().iter();
    let counts: Vec<_> = items.map(|item| (&item["point"], &item["captured"])).collect();
    let (raw, letters, mapped) = (json!("raw"), json!("dead_letter"), json!("mapped"));
    assert_eq!(
        counts,
        [(&mapped, &json!(1)), (&letters, &json!(0)), (&raw, &json!(2))]
    );
    {
        let mut known = gateway.stand.captures.lock().unwrap();
        let mut past = known[0].clone();
        past.until -= TimeDelta::seconds(3_600);
        while known.len() < MAX_CAPTURES {
            past.id = CaptureId::generate();
            known.push(past.clone());
        }
        known[0].until = past.until;
    }
    let body = json!({"point": "mapped"});
    let refused = gateway.call(&token, "POST", &path, Some(body)).await.expect(409);
    assert_eq!(refused["type"], "urn:halcyon:problem:too_many_captures");
}
