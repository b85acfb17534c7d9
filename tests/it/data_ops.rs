//! What an operator does about data by hand: dead letters processed anew, and a source's place moved.

use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    up::Studio,
};

/// A mapping that needs `title`, or falls back to something.
fn config(fallback: Option<&str>) -> Value {
    let mut title = json!({"expr": "title"});
    if let Some(fallback) = fallback {
        title["default"] = fallback.into();
    }
    json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": {"language": "jmespath", "records": "items[]", "outputs": [{"kind": "alert", "fields": {
            "external_id": "id", "title": title, "time": {"expr": "at", "as": "timestamp"}}}]},
    })
}

async fn letters(client: &Client, id: &str) -> Vec<Value> {
    client.all(&format!("/datasources/{id}/dead-letters")).await
}

async fn replay(client: &Client, id: &str, body: Value) -> Value {
    client
        .post(&format!("/datasources/{id}/dead-letters/replay"), body)
        .await
        .expect(200)
}

#[tokio::test]
async fn dead_letters_are_processed_anew_with_a_mended_mapping() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let body = json!({"name": "mended", "type": "http_webhook", "config": config(None)});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = format!("/datasources/{id}/secrets/token");
    client.put(&secret, json!({"value": TOKEN})).await.expect(200);
    let publish = format!("/datasources/{id}/publish");
    client.post(&publish, json!({})).await.expect(200);
    client.wait_running(&id, 1).await;
    let at = "2026-01-02T03:04:05Z";
    let event = json!({"items": [{"id": "a", "title": "fine", "at": at}, {"id": "b", "at": at}, {"id": "c", "at": at}]});
    assert_eq!(
        client.ingest(&id, event.to_string().into_bytes()).await.status,
        202
    );
    client
        .wait_for("two dead letters", async |client| {
            letters(client, &id).await.len() == 2
        })
        .await;

    // Still the mapping that cannot do it: counted, then tried in vain, which leaves letters of the next attempt.
    let named: Vec<Value> = letters(client, &id)
        .await
        .iter()
        .map(|letter| letter["id"].clone())
        .collect();
    let counted = replay(client, &id, json!({"ids": named, "dry_run": true})).await;
    assert_eq!(
        (&counted["dead_letters"], &counted["events"]),
        (&json!(2), &json!(1))
    );
    assert!(
        letters(client, &id)
            .await
            .iter()
            .all(|letter| letter["replay"].is_null())
    );
    let vain = replay(client, &id, json!({"ids": named})).await;
    client
        .wait_for("letters of the next attempt", async |client| {
            letters(client, &id).await.len() == 4
        })
        .await;
    let first = format!("/datasources/{id}/dead-letters/{}", named[0].as_str().unwrap());
    client
        .wait_for("what the first letter became", async |client| {
            client.get(&first).await["replay"]["verdict"] == "dead_lettered"
        })
        .await;
    let seen = client.get(&first).await;
    assert_eq!(seen["replay"]["id"], vain["id"], "{seen}");
    assert_eq!(seen["replay"]["trace_id"], vain["trace_id"]);
    assert!(seen["replay"]["replayed_by"].is_string(), "{seen}");
    let next = letters(client, &id).await;
    let next = next
        .iter()
        .find(|letter| letter["attempt"] == 1 && letter["record"] == seen["record"])
        .unwrap();
    assert_eq!(seen["replay"]["dead_letter"], next["id"]);
    assert_eq!(next["replay_id"], vain["id"]);
    let summary = client
        .get(&format!("/datasources/{id}/dead-letters/summary"))
        .await;
    assert_eq!((&summary["total"], &summary["exact"]), (&json!(4), &json!(true)));
    assert_eq!(summary["counts"][0]["count"], 4, "{summary}");

    let body = json!({"config": config(Some("untitled"))});
    client
        .post(&format!("/datasources/{id}/versions"), body)
        .await
        .expect(201);
    // The draft is tried on them first, beside the version that made them.
    let test = format!("/datasources/{id}/dead-letters/test");
    let tried = client.post(&test, json!({"ids": named})).await.expect(200);
    assert_eq!(
        (&tried["fixed"], &tried["failing"]),
        (&json!(2), &json!(0)),
        "{tried}"
    );
    let tried = client
        .post(&test, json!({"with_version": 1, "limit": 3}))
        .await
        .expect(200);
    assert_eq!(
        (&tried["fixed"], &tried["failing"]),
        (&json!(0), &json!(3)),
        "{tried}"
    );
    assert_eq!(tried["items"][0]["failure"]["code"], next["reason"]["code"]);
    client.post(&publish, json!({})).await.expect(200);
    client.wait_running(&id, 2).await;
    // The first letter again: its event's attempt is raised above the one that failed meanwhile, and its record alone
    // is mapped.
    let report = replay(client, &id, json!({"ids": [named[0], "999999"]})).await;
    assert_eq!(report["unknown"], json!(["999999"]), "{report}");
    client
        .wait_for("the first letter to be delivered", async |client| {
            client.get(&first).await["replay"]["verdict"] == "delivered"
        })
        .await;
    let alerts = client.all(&format!("/alerts?datasource={id}")).await;
    assert_eq!(alerts.len(), 2, "the other record was left alone: {alerts:?}");
    let mended = alerts.iter().find(|alert| alert["title"] == "untitled").unwrap();
    assert_eq!(mended["provenance"][0]["replay"]["id"], report["id"], "{mended}");
    assert_eq!(mended["provenance"][0]["replay"]["trace_id"], report["trace_id"]);
    replay(client, &id, json!({"code": next["reason"]["code"], "version": 1})).await;
    client
        .wait_for("all letters to be delivered", async |client| {
            let letters = letters(client, &id).await;
            letters
                .iter()
                .all(|letter| letter["replay"]["verdict"] == "delivered")
        })
        .await;
    let alerts = client.all(&format!("/alerts?datasource={id}")).await;
    assert_eq!(alerts.len(), 3, "{alerts:?}");
    let fine = alerts.iter().find(|alert| alert["title"] == "fine").unwrap();
    assert_eq!(
        fine["provenance"].as_array().unwrap().len(),
        1,
        "what had its effect is the same object: {fine}"
    );
    let range = replay(
        client,
        &id,
        json!({"from": "2020-01-01T00:00:00Z", "dry_run": true}),
    )
    .await;
    assert_eq!((&range["dead_letters"], &range["events"]), (&json!(4), &json!(1)));
    client
        .wait_for("the replays in the trail", async |client| {
            client.all("/audit?action=dead_letter.replay").await.len() == 3
        })
        .await;
    let newest = client
        .get(&format!("/datasources/{id}/dead-letters?sort=-failed_at&limit=3"))
        .await;
    let ids = |items: &Value| -> Vec<u64> {
        let items = items["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    let first = ids(&newest);
    assert!(first.is_sorted_by(|one, next| one > next), "{newest}");
    let cursor = newest["next_cursor"].as_str().unwrap();
    let path = format!("/datasources/{id}/dead-letters?sort=-failed_at&limit=3&cursor={cursor}");
    assert_eq!((first.len(), ids(&client.get(&path).await).len()), (3, 1));
    studio.up.stop();
}

#[tokio::test]
async fn a_stopped_source_goes_on_where_it_is_put() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let config = json!({
        "connection": {"records_per_second": 200},
        "mapping": {"language": "jmespath", "outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "to_string(id)"}, "title": {"value": "made"}, "time": {"from": "context", "expr": "received_at", "as": "timestamp"}}}]},
    });
    let body = json!({"name": "moved", "type": "generator", "config": config});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/datasources/{id}/checkpoint");
    client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(200);
    client
        .wait_for("a checkpoint", async |client| {
            let answer = client
                .call(reqwest::Method::GET, &format!("/api/v1{path}"), None)
                .await;
            answer.status == 200
                && answer.body["position"]["sequence"]
                    .as_u64()
                    .is_some_and(|at| at > 50)
        })
        .await;
    let running = client
        .put(&path, json!({"position": {"sequence": 5_000_000}}))
        .await;
    assert_eq!(
        running.expect(409)["type"],
        "urn:halcyon:problem:invalid_transition"
    );

    client
        .post(&format!("/datasources/{id}/stop"), json!({}))
        .await
        .expect(202);
    client
        .wait_for("the source to stop", async |client| {
            client.get(&format!("/datasources/{id}")).await["state"]["status"] == "STOPPED"
        })
        .await;
    let stopped = client.get(&path).await;
    let put = client
        .put(&path, json!({"position": {"sequence": 5_000_000}}))
        .await
        .expect(200);
    assert!(put["revision"].as_u64() > stopped["revision"].as_u64(), "{put}");
    client
        .post(&format!("/datasources/{id}/start"), json!({}))
        .await
        .expect(202);
    client
        .wait_for("it to go on from there", async |client| {
            client.get(&path).await["position"]["sequence"]
                .as_u64()
                .is_some_and(|at| at > 5_000_000)
        })
        .await;
    studio.up.stop();
}
