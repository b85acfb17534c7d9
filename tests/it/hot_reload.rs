//! Publish, roll back and replay while events flow: nothing is lost, nothing counts twice, every record has
//! one verdict.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    load::{Load, judge, sequence_mapping},
    up::{Studio, Up},
};

#[tokio::test]
async fn publishes_and_rollbacks_under_load_lose_nothing() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let id = client.publish_webhook("reloaded", sequence_mapping("v1")).await;
    let load = Load::start(client, &id, 4, 200);
    let mut version = 1_u64;
    for round in 0..20_u64 {
        if round % 10 == 9 {
            version += 1;
            let broken = json!({"config": {"connection": {"auth": {"type": "none"}}, "mapping": {"outputs": [
                {"kind": "alert", "fields": {"title": "join("}}]}}});
            client
                .post(&format!("/datasources/{id}/versions"), broken)
                .await
                .expect(201);
            client
                .post(&format!("/datasources/{id}/publish"), json!({}))
                .await
                .expect(422);
            continue;
        } else if round % 3 == 2 {
            let body = json!({"version": 1, "comment": "back"});
            client
                .post(&format!("/datasources/{id}/rollback"), body)
                .await
                .expect(200);
            version += 1;
        } else {
            publish(client, &id, &format!("v{}", version + 1)).await;
            version += 1;
        }
        client.wait_running(&id, version).await;
    }
    let sent = load.stop().await;
    assert_eq!(
        sent.answers.keys().copied().collect::<Vec<_>>(),
        [202],
        "{:?}",
        sent.answers
    );
    judge(client, &id, &sent.accepted).await.assert_clean();
    for alert in client.all(&format!("/alerts?datasource={id}")).await {
        let by: BTreeSet<_> = versions_of(&alert);
        assert_eq!(by.len(), 1, "mapped by exactly one version: {alert}");
        assert!(by.iter().all(|number| (1..=version).contains(number)), "{alert}");
    }
    studio.up.stop();
}

fn versions_of(alert: &Value) -> BTreeSet<u64> {
    let provenance = alert["provenance"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![alert["provenance"].clone()]);
    provenance
        .iter()
        .filter_map(|origin| origin["version"].as_u64())
        .collect()
}

async fn publish(client: &Client, id: &str, title: &str) {
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": sequence_mapping(title),
    });
    client
        .post(&format!("/datasources/{id}/versions"), json!({"config": config}))
        .await
        .expect(201);
    client
        .post(&format!("/datasources/{id}/publish"), json!({"comment": title}))
        .await
        .expect(200);
}

#[tokio::test]
async fn replays_over_a_restart_and_a_publish_have_no_second_effect() {
    let studio = Studio::start(crate::halcyon()).await;
    let id = studio
        .client
        .publish_webhook("replayed", sequence_mapping("v1"))
        .await;
    replay(&studio.client, &id, 0).await;
    let data = studio.folder.path().join("data");
    studio.up.stop();
    let up = Up::start(crate::halcyon(), &data);
    let client = Client::login(&up.ready.url, &up.ready.admin_email, &studio.password).await;
    client.wait_running(&id, 1).await;
    replay(&client, &id, 1).await;
    publish(&client, &id, "v2").await;
    client.wait_running(&id, 2).await;
    replay(&client, &id, 2).await;
    let accepted = (0..EVENTS).collect();
    client
        .wait_for("all events to be processed", async |client| {
            client.get(&format!("/datasources/{id}")).await["metrics"]["parked"] == 0
        })
        .await;
    judge(&client, &id, &accepted).await.assert_clean();
    up.stop();
}

const EVENTS: u64 = 120;

/// Sends every event with its own key, in an order that depends on the round.
async fn replay(client: &Client, id: &str, round: u64) {
    for place in 0..EVENTS {
        let seq = (place * 77 + round * 31) % EVENTS;
        let body = json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
        let headers = [
            ("authorization", format!("Bearer {TOKEN}")),
            ("idempotency-key", format!("event-{seq}")),
        ];
        client
            .ingest_with(id, body.into_bytes(), &headers)
            .await
            .expect(202);
    }
}

/// One poison of each kind, with the verdict that the accounting must show for it.
fn poisons() -> Vec<Vec<u8>> {
    let text = |value: Value| value.to_string().into_bytes();
    let base = |seq: Value| json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"});
    vec![
        b"{\"seq\": \"a\\u0000b\", \"host\": \"h\", \"at\": \"2026-01-02T03:04:05Z\"}".to_vec(),
        [vec![b'['; 129], vec![b']'; 129]].concat(),
        text(base(json!("x".repeat(700_000)))),
        b"{\"seq\": 123456789012345678901234567890, \"host\": \"h\", \"at\": \"2026-01-02T03:04:05Z\"}"
            .to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        text(base(json!({"not": "a number"}))),
        text(json!({"host": "h", "at": "2026-01-02T03:04:05Z"})),
        text(json!({"seq": 1_000_001, "host": "h", "at": "yesterday"})),
        b"not json".to_vec(),
        b"".to_vec(),
        b"null".to_vec(),
        b"{\"seq\": 1".to_vec(),
    ]
}

#[tokio::test]
async fn every_record_has_exactly_one_verdict() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let mut mapping = sequence_mapping("t");
    mapping["filter"] = json!("host != 'skip'");
    let id = client.publish_webhook("accounted", mapping).await;
    let mut accepted = 0_u64;
    let mut skipped = 0_u64;
    for seq in 0..300_u64 {
        let host = if seq % 7 == 0 { "skip" } else { "h" };
        let body = json!({"seq": seq, "host": host, "at": "2026-01-02T03:04:05Z"}).to_string();
        client.ingest(&id, body.into_bytes()).await.expect(202);
        accepted += 1;
        skipped += u64::from(host == "skip");
    }
    for poison in poisons() {
        let answer = client.ingest(&id, poison.clone()).await;
        match answer.status.as_u16() {
            202 => accepted += 1,
            // What is refused at the door is not accepted, and counts for nothing.
            400 | 413 | 415 | 422 => {}
            other => panic!(
                "{other} for {:?}: {}",
                String::from_utf8_lossy(&poison[..poison.len().min(60)]),
                answer.body
            ),
        }
    }
    client
        .wait_for("all verdicts", async |client| {
            verdicts(client, &id).await.iter().sum::<u64>() == accepted
        })
        .await;
    let [delivered, filtered, dead] = verdicts(client, &id).await;
    assert_eq!(filtered, skipped);
    assert_eq!(delivered + filtered + dead, accepted);
    let letters = client.all(&format!("/datasources/{id}/dead-letters")).await;
    assert_eq!(letters.len() as u64, dead, "each dead letter is kept");
    assert!(dead >= 6, "the poison was noticed: {dead}");
    studio.up.stop();
}

async fn verdicts(client: &Client, id: &str) -> [u64; 3] {
    let metrics = client.get(&format!("/datasources/{id}/metrics")).await;
    ["delivered", "filtered", "dead_lettered"].map(|name| metrics[name].as_u64().unwrap_or(0))
}
