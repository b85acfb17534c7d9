//! Samples: payloads that are kept, and tried again.

use bytes::Bytes;
use halcyon_domain::{
    access::{Role, Scope},
    clock::Timestamp,
    error::InputError,
    event::{DeadLetter, EventId, IngestEvent},
    id::OrganizationId,
    test_run::{TestInput, TestReport},
};
use serde_json::{Value, json};

use super::feed::{Feed, code};
use crate::app::StoredDeadLetter;

#[tokio::test]
async fn a_sample_is_kept_byte_for_byte() {
    let feed = Feed::draft().await;
    let exact = feed
        .raw(
            "/samples",
            r#"{"name": "big", "payload": {"n": 123456789012345678901234567890, "x": 1.10}}"#,
        )
        .await
        .expect(201);
    assert_eq!(
        (&exact["origin"], &exact["content_type"]),
        (&json!("manual"), &json!("application/json"))
    );
    let at = |made: &Value| format!("/samples/{}", made["id"].as_str().unwrap());
    assert_eq!(
        feed.get(&at(&exact)).await["payload"],
        r#"{"n": 123456789012345678901234567890, "x": 1.10}"#
    );
    let text = json!({"name": "text", "payload": "a=1&b=\u{0}", "content_type": "application/x-www-form-urlencoded"});
    let text = feed.call("POST", "/samples", text).await.expect(201);
    assert_eq!(feed.get(&at(&text)).await["payload"], "a=1&b=\u{0}");
    let bytes = json!({"name": "bytes", "payload_base64": "AJ//"});
    let bytes = feed.call("POST", "/samples", bytes).await.expect(201);
    assert_eq!(feed.get(&at(&bytes)).await["payload_base64"], "AJ//");
    let preset = json!({"name": "catalog", "preset": "github_audit"});
    let preset = feed.call("POST", "/samples", preset).await.expect(201);
    assert_eq!(
        (&preset["origin"], &preset["origin_id"]),
        (&json!("catalog"), &json!("github_audit"))
    );

    let taken = feed
        .call("POST", "/samples", json!({"name": "big", "payload": 1}))
        .await;
    assert_eq!(code(&taken.expect(409)), "name_taken");
    for unfit in [
        json!({"name": "x"}),
        json!({"name": "x", "payload": 1, "preset": "github_audit"}),
        json!({"name": "x", "payload_base64": "?"}),
        json!({"name": "x", "preset": "nobody"}),
        json!({"name": "x", "dead_letter": "7"}),
        json!({"name": "", "payload": 1}),
        json!({"name": "x", "payload": "x".repeat(1024 * 1024 + 1)}),
        json!({"name": "x", "payload": 1, "colour": "red"}),
    ] {
        feed.call("POST", "/samples", unfit).await.expect(422);
    }
    let list = feed.get("/samples?sort=name").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
    assert!(list["items"][0].get("payload").is_none());
    let entry = feed.gateway.trail().await;
    assert_eq!(
        entry
            .iter()
            .filter(|entry| entry.action == "sample.create")
            .count(),
        4
    );

    feed.call("DELETE", &at(&text), json!({})).await.expect(204);
    feed.call("DELETE", &at(&text), json!({})).await.expect(404);
    let viewer = Scope::Organization(feed.gateway.organization);
    let viewer = feed.gateway.user(Role::Viewer, viewer).await;
    let hidden = feed
        .gateway
        .call(&viewer, "GET", &format!("{}/samples", feed.path), None)
        .await;
    hidden.expect(403);
}

#[tokio::test]
async fn a_dead_letter_becomes_a_sample_and_a_test_names_it() {
    let feed = Feed::published().await;
    let event = IngestEvent {
        id: EventId::generate(),
        organization: feed.gateway.organization,
        datasource: feed.id(),
        received_at: Timestamp::default(),
        content_type: Some("text/plain".into()),
        headers: Default::default(),
        attempt: 0,
        replay: None,
        payload: Bytes::from_static(b"\xff{"),
    };
    let letter = DeadLetter {
        event,
        index: 0,
        version: 1,
        failure: InputError::new("", "invalid", "no JSON"),
        failed_at: Timestamp::default(),
        complete: true,
    };
    let stored = StoredDeadLetter { sequence: 7, letter };
    feed.gateway.stand.dead_letters.lock().unwrap().push(stored);
    let body = json!({"name": "broken", "dead_letter": "7", "note": "look"});
    let sample = feed.call("POST", "/samples", body).await.expect(201);
    assert_eq!(
        (
            &sample["origin"],
            &sample["origin_id"],
            &sample["content_type"],
            &sample["size"]
        ),
        (
            &json!("dead_letter"),
            &json!("7"),
            &json!("text/plain"),
            &json!(2)
        )
    );
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        ..TestReport::default()
    });
    feed.call("POST", "/test", json!({"sample": sample["id"]}))
        .await
        .expect(200);
    let job = feed.gateway.stand.jobs.lock().unwrap().pop().unwrap();
    let expected = TestInput::Bytes {
        base64: "/3s=".into(),
        content_type: Some("text/plain".into()),
    };
    assert_eq!(job.input, expected);
    for unfit in [
        json!({"sample": uuid::Uuid::now_v7()}),
        json!({"sample": sample["id"], "payload": 1}),
    ] {
        feed.call("POST", "/test", unfit).await.expect(422);
    }
    feed.call("DELETE", "", json!({})).await.expect(204);
    let tenant = OrganizationId(feed.gateway.organization.0).into();
    let left = feed
        .gateway
        .store
        .read()
        .samples()
        .usage(tenant, feed.id())
        .await
        .unwrap();
    assert_eq!(left, (0, 0));
}
