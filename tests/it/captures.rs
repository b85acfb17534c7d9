//! Live traffic, looked at: captured and redacted, tried on drafts while it flows, and watched for drift.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    up::Studio,
};

fn config(title: &str) -> Value {
    json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": "id", "title": {"value": title}, "time": {"value": 0}}}]},
    })
}

async fn publish(client: &Client, id: &str, config: Value) {
    let versions = format!("/datasources/{id}/versions");
    client
        .post(&versions, json!({"config": config}))
        .await
        .expect(201);
    let publish = format!("/datasources/{id}/publish");
    client.post(&publish, json!({})).await.expect(200);
}

async fn feed(client: &Client, config: Value) -> String {
    let body = json!({"name": "watched", "type": "http_webhook", "config": config});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = format!("/datasources/{id}/secrets/token");
    client.put(&secret, json!({"value": TOKEN})).await.expect(200);
    let publish = format!("/datasources/{id}/publish");
    client.post(&publish, json!({})).await.expect(200);
    client.wait_running(&id, 1).await;
    id
}

#[tokio::test]
async fn live_records_become_samples_without_their_secrets() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let id = feed(client, config("t")).await;
    let captures = format!("/datasources/{id}/captures");
    let mut begun = Vec::new();
    for point in ["raw", "mapped", "dead_letter"] {
        let body = json!({"point": point, "count": 2, "seconds": 120});
        begun.push(client.post(&captures, body).await.expect(202));
    }
    // Workers hear of it by the bus: some events may come by before.
    let sent = AtomicU32::new(0);
    client
        .wait_for("the captures to have what they want", async |client| {
            let sent = sent.fetch_add(1, Ordering::Relaxed);
            let event = json!({"id": sent.to_string(), "password": "hunter2-canary"});
            let accepted = client.ingest(&id, event.to_string().into_bytes()).await;
            assert_eq!(accepted.status, 202);
            let broken = format!("no json {sent}: token=hunter2-canary");
            client.ingest(&id, broken.into_bytes()).await;
            let captures = client.get(&captures).await;
            let captures = captures["items"].as_array().unwrap();
            captures.iter().all(|capture| capture["end"] == "complete")
        })
        .await;
    let samples = client.all(&format!("/datasources/{id}/samples")).await;
    assert_eq!(samples.len(), 6, "{samples:?}");
    for capture in &begun {
        let of: Vec<_> = samples
            .iter()
            .filter(|sample| sample["origin_id"] == capture["id"])
            .collect();
        assert_eq!(of.len(), 2, "{capture}");
    }
    for sample in &samples {
        let path = format!("/datasources/{id}/samples/{}", sample["id"].as_str().unwrap());
        let whole = client.get(&path).await;
        assert!(!whole.to_string().contains("hunter2-canary"), "{whole}");
    }
    let raw = samples
        .iter()
        .find(|sample| sample["origin_id"] == begun[0]["id"])
        .unwrap();
    // A draft is tried on it while the feed runs, and production does not notice.
    let metrics = format!("/datasources/{id}/metrics");
    client
        .wait_for("the feed's numbers", async |client| {
            client.get(&metrics).await["events"].as_u64() > Some(0)
        })
        .await;
    let before = client.get(&metrics).await;
    let body = json!({"config": config("other"), "compare_with": 1, "sample": raw["id"]});
    let report = client
        .post(&format!("/datasources/{id}/test"), body)
        .await
        .expect(200);
    assert_eq!(report["records"].as_array().unwrap().len(), 1, "{report}");
    assert!(report["metrics"]["peak_memory_bytes"].as_u64() > Some(0));
    let state = client.get(&format!("/datasources/{id}")).await;
    assert_eq!(
        (&state["state"]["status"], &state["current_version"]),
        (&json!("RUNNING"), &json!(1))
    );
    let after = client.get(&metrics).await;
    assert!(after["events"].as_u64() >= before["events"].as_u64(), "{after}");
    studio.up.stop();
}

#[tokio::test]
async fn a_feed_that_drifts_stops_tells_why_and_loses_nothing() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let mut strict = config("t");
    strict["schema"] = json!({"drift": "stop", "expected": {
        "type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}});
    let id = feed(client, strict.clone()).await;
    let send = async |event: Value| {
        let accepted = client.ingest(&id, event.to_string().into_bytes()).await;
        assert_eq!(accepted.status, 202, "what is stopped is kept");
    };
    send(json!({"id": "1"})).await;
    send(json!({"id": "2", "more": true})).await;
    send(json!({"id": "3"})).await;
    client
        .wait_for("the feed to stop", async |client| {
            client.get(&format!("/datasources/{id}")).await["state"]["reason"] == "schema_drift"
        })
        .await;
    client
        .wait_for("the difference in the history", async |client| {
            let events = client
                .all(&format!("/datasources/{id}/events?kind=schema_drift"))
                .await;
            let first = events.first().map(|event| event["message"].to_string());
            first.is_some_and(|message| message.contains("field `/more` (boolean) is new"))
        })
        .await;
    let accept = format!("/datasources/{id}/schema/accept");
    client.post(&accept, json!({})).await.expect(202);
    let alerts = format!("/alerts?datasource={id}");
    client
        .wait_for("all three", async |client| client.all(&alerts).await.len() == 3)
        .await;
    send(json!({"id": 4})).await;
    client
        .wait_for("the feed to stop again", async |client| {
            client.get(&format!("/datasources/{id}")).await["state"]["reason"] == "schema_drift"
        })
        .await;
    strict["schema"]["expected"]["properties"]["id"]["type"] = json!(["string", "integer"]);
    strict["mapping"]["outputs"][0]["fields"]["external_id"] = json!("to_string(id)");
    publish(client, &id, strict).await;
    client
        .wait_for("all four", async |client| client.all(&alerts).await.len() == 4)
        .await;
    studio.up.stop();
}
