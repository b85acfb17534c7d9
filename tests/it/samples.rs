//! The six vendors' sample files, each through its preset: from the catalog to alerts, every event.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, hmac_sha256_hex},
    up::Studio,
};

const PRESETS: [&str; 6] = [
    "aws_guardduty",
    "aws_security_hub",
    "crowdstrike_fdr",
    "github_audit",
    "okta_system_log",
    "wiz_alerts",
];

const SECRET: &str = "a secret of the samples test";

fn events_of(preset: &str) -> Vec<String> {
    let path = format!(
        "{}/../../tests/samples/{preset}.ndjson",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

/// The headers that a vendor sends with `body`, by the preset's kind of authentication.
fn headers(connection: &Value, body: &str) -> Vec<(&'static str, String)> {
    let auth = &connection["auth"];
    match auth["type"].as_str() {
        Some("bearer") => vec![("authorization", format!("Bearer {SECRET}"))],
        Some("hmac") if auth["preset"] == "github" => {
            let signature = hmac_sha256_hex(SECRET.as_bytes(), body.as_bytes());
            vec![("x-hub-signature-256", format!("sha256={signature}"))]
        }
        Some("api_key") => {
            let header = auth["header"].as_str().unwrap_or("x-api-key").to_owned();
            vec![(Box::leak(header.into_boxed_str()), SECRET.to_owned())]
        }
        other => panic!("a preset with authentication {other:?}"),
    }
}

async fn run_preset(client: &Client, preset: &Value) {
    let name = preset["id"].as_str().unwrap();
    let config = json!({
        "connection": preset["connection"], "mapping": preset["mapping"], "tests": preset["tests"],
    });
    let body = json!({"name": name, "type": "http_webhook", "config": config});
    let created = client.post("/datasources", body).await.expect(201);
    let id = created["id"].as_str().unwrap();
    for secret in secret_names(&preset["connection"]) {
        let path = format!("/datasources/{id}/secrets/{secret}");
        client.put(&path, json!({"value": SECRET})).await.expect(200);
    }
    // The preset's stored tests run here: a red one would be a 422.
    client
        .post(
            &format!("/datasources/{id}/publish"),
            json!({"comment": "preset"}),
        )
        .await
        .expect(200);
    client.wait_running(id, 1).await;
    let events = events_of(name);
    let mut accepted = BTreeSet::new();
    for event in &events {
        let answer = client
            .ingest_with(
                id,
                event.clone().into_bytes(),
                &headers(&preset["connection"], event),
            )
            .await
            .expect(202);
        accepted.insert(answer["id"].as_str().unwrap().to_owned());
    }
    client
        .wait_for(&format!("all records of {name}"), async |client| {
            let metrics = client.get(&format!("/datasources/{id}/metrics")).await;
            metrics["delivered"].as_u64() >= Some(accepted.len() as u64)
        })
        .await;
    let letters = client.get(&format!("/datasources/{id}/dead-letters")).await;
    assert_eq!(letters["items"], json!([]), "{name}");
    client
        .wait_for(&format!("alerts of {name}"), async |client| {
            !client.all(&format!("/alerts?datasource={id}")).await.is_empty()
        })
        .await;
    let alerts = client.all(&format!("/alerts?datasource={id}")).await;
    assert!(
        alerts
            .iter()
            .all(|alert| alert["title"].as_str().is_some_and(|title| !title.is_empty()))
    );
    assert!(alerts.iter().all(|alert| alert["time"].is_string()));
}

fn secret_names(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => match object.get("$secret").and_then(Value::as_str) {
            Some(name) => vec![name.to_owned()],
            None => object.values().flat_map(secret_names).collect(),
        },
        Value::Array(items) => items.iter().flat_map(secret_names).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_sample_event_becomes_an_alert() {
    let studio = Studio::start(crate::halcyon()).await;
    let connector = studio.client.get("/connectors/http_webhook").await;
    let presets = connector["presets"].as_array().unwrap();
    for name in PRESETS {
        let preset = presets.iter().find(|preset| preset["id"] == name);
        run_preset(
            &studio.client,
            preset.unwrap_or_else(|| panic!("no preset {name}")),
        )
        .await;
    }
    assert!(studio.client.all("/entities").await.len() > 50);
    assert!(studio.client.all("/relationships").await.len() > 50);
    studio.up.stop();
}
