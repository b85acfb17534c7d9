//! Scripts in the whole system: written, refused, tried, published, fed with poison; the rest of the system goes on.

use std::time::Duration;

use halcyon_tests::{client::Client, up::Studio};
use serde_json::{Value, json};

const JAVASCRIPT: &str = include_str!("../samples/scripts/detections.js");
const PYTHON: &str = include_str!("../samples/scripts/detections.py");

/// A script that does what each record asks for.
const POISON: &str = "
const kept = [];
function map(record) {
  if (record.poison === 'loop') for (;;);
  if (record.poison === 'native') { const text = 'a'.repeat(4e6); for (;;) text.indexOf('a'.repeat(2e6) + 'b'); }
  if (record.poison === 'memory') for (;;) kept.push('x'.repeat(1e6) + kept.length);
  if (record.poison === 'throw') throw new Error('cannot take ' + record.secret);
  if (record.poison === 'none') return null;
  return { kind: 'alert', external_id: record.id, title: 'fine', time: 1700000000 };
}";

fn script(language: &str, source: &str) -> Value {
    json!({"script": {"language": language, "source": source}})
}

fn config(mapping: Value) -> Value {
    json!({"connection": {"auth": {"type": "none"}}, "mapping": mapping})
}

fn event(id: &str) -> Value {
    json!({"id": id, "name": "Malware", "severity": 70, "created": "2026-01-02T03:04:05Z",
        "host": {"name": "WEB-1", "ip": "10.1.2.3"}})
}

async fn draft(client: &Client, name: &str, mapping: Value) -> String {
    let body = json!({"name": name, "type": "http_webhook", "config": config(mapping)});
    let made = client.post("/datasources", body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// The objects of a test run, without what depends on the language.
async fn tried(client: &Client, id: &str, body: Value) -> Value {
    let report = client
        .post(&format!("/datasources/{id}/test"), body)
        .await
        .expect(200);
    assert_eq!(report["errors"], json!([]), "{report:#}");
    report
}

#[tokio::test]
async fn a_script_is_checked_tried_compared_and_published() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let id = draft(
        client,
        "scripted",
        script(
            "javascript",
            "const a = 1;\nfunction map(record) {\n  return {;\n}",
        ),
    )
    .await;
    let refused = client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(422);
    assert_eq!(
        refused["errors"][0]["pointer"], "/config/mapping/script/source",
        "{refused:#}"
    );
    assert!(
        refused["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("line 3: SyntaxError"),
        "{refused:#}"
    );

    let payload = json!([event("a"), event("b")]);
    let by_python = config(script("python", PYTHON));
    let report = tried(client, &id, json!({"config": by_python, "payload": payload})).await;
    assert_eq!(report["ok"], true, "{report:#}");
    let lines: Vec<&str> = report["logs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect();
    assert!(
        lines.iter().any(|line| line.ends_with(": severity 70 of a")),
        "{lines:?}"
    );
    assert!(report["metrics"]["peak_memory_bytes"].as_u64().unwrap() < 256 << 20);

    let body = json!({"config": config(script("javascript", JAVASCRIPT)), "comment": "in JavaScript"});
    client
        .post(&format!("/datasources/{id}/versions"), body)
        .await
        .expect(201);
    client
        .post(&format!("/datasources/{id}/publish"), json!({"version": 2}))
        .await
        .expect(200);
    client.wait_running(&id, 2).await;
    client.wait_judged(&id).await;
    let compared = tried(
        client,
        &id,
        json!({"config": by_python, "payload": payload, "compare_with": 2}),
    )
    .await;
    for difference in ["added", "removed", "changed"] {
        let found = &compared["comparison"][difference];
        assert_eq!(found, &json!([]), "both languages say the same: {difference}");
    }

    client
        .ingest_with(&id, payload.to_string().into_bytes(), &[])
        .await
        .expect(202);
    let path = format!("/alerts?datasource={id}");
    let alerts = || client.all(&path);
    client
        .wait_for("the alerts", async |_| alerts().await.len() == 2)
        .await;
    let alert = alerts().await.remove(0);
    assert_eq!(
        (&alert["severity"], &alert["time"]),
        (&json!("high"), &json!("2026-01-02T03:04:05Z")),
        "{alert:#}"
    );
    studio.up.stop();
}

#[tokio::test]
async fn poison_gets_its_verdict_and_the_others_are_mapped() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let hostile = client
        .publish_webhook("hostile", script("javascript", POISON))
        .await;
    let good = client
        .publish_webhook("good", script("javascript", JAVASCRIPT))
        .await;
    let poisons = ["", "loop", "", "native", "throw", "", "memory", "none", ""];
    let records: Vec<Value> = poisons
        .iter()
        .enumerate()
        .map(|(n, poison)| json!({"id": format!("r{n}"), "poison": poison, "secret": "hunter2"}))
        .collect();
    client
        .ingest(&hostile, json!(records).to_string().into_bytes())
        .await
        .expect(202);
    for n in 0..20 {
        client
            .ingest(&good, json!([event(&format!("g{n}"))]).to_string().into_bytes())
            .await
            .expect(202);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = async |id: &str, what: &str| client.all(&format!("/{what}?datasource={id}")).await.len();
    client
        .wait_for("the other feed's alerts", async |_| {
            count(&good, "alerts").await == 20
        })
        .await;
    client
        .wait_for("the alerts between the poison", async |_| {
            count(&hostile, "alerts").await == 4
        })
        .await;
    let letters = format!("/datasources/{hostile}/dead-letters");
    client
        .wait_for("the dead letters", async |client| {
            client.all(&letters).await.len() == 4
        })
        .await;
    let letters = client.all(&letters).await;
    let mut codes: Vec<&str> = letters
        .iter()
        .filter_map(|letter| letter["reason"]["code"].as_str())
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "script_failed",
            "script_memory",
            "script_timeout",
            "script_timeout"
        ],
        "{letters:#?}"
    );
    let thrown = letters
        .iter()
        .find(|letter| letter["reason"]["code"] == "script_failed")
        .unwrap();
    let detail = thrown["reason"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("line 7: Error: cannot take") && !detail.contains("hunter2"),
        "{detail}"
    );
    studio.up.stop();
}
