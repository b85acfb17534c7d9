//! The main job as a user does it: create, put the secret, test, publish, ingest, see; edit, publish, roll back;
//! disable and enable; read the trail.

use reqwest::Method;
use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, hmac_sha256_hex},
    up::Studio,
};

const SECRET: &str = "a signing secret of this test";

fn config(with_entity: bool) -> Value {
    let mut outputs = vec![json!({"kind": "alert", "fields": {
        "external_id": "id",
        "title": {"expr": "join(' on ', [name, host])"},
        "severity": {"expr": "sev", "lookup": {"70": "high"}, "default": "unknown"},
        "time": {"expr": "ts", "as": "timestamp"},
        "vendor": {"value": "Example"},
    }})];
    if with_entity {
        outputs.push(json!({"kind": "entity", "fields": {"type": {"value": "host"}, "key": "host"}}));
        outputs.push(json!({"kind": "relationship", "fields": {
            "type": {"value": "targets"},
            "source.type": {"value": "alert"}, "source.key": "id",
            "target.type": {"value": "host"}, "target.key": "host",
        }}));
    }
    json!({
        "connection": {"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}},
        "mapping": {"records": "detections", "filter": "sev > `10`", "outputs": outputs},
    })
}

fn payload(id: &str) -> Value {
    json!({"detections": [
        {"id": id, "name": "malware", "host": "web-1", "sev": 70, "ts": 1_700_000_000},
        {"id": "noise", "name": "noise", "host": "web-1", "sev": 5, "ts": 1_700_000_000},
    ]})
}

async fn send_signed(client: &Client, id: &str, event: &Value, delivery: &str) -> u16 {
    let body = event.to_string().into_bytes();
    let signature = format!("sha256={}", hmac_sha256_hex(SECRET.as_bytes(), &body));
    let headers = [
        ("x-hub-signature-256", signature),
        ("x-github-delivery", delivery.to_owned()),
    ];
    client.ingest_with(id, body, &headers).await.status.as_u16()
}

#[tokio::test]
async fn a_webhook_feed_from_draft_to_alerts() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let body = json!({"name": "EDR", "type": "http_webhook", "config": config(false), "tags": ["edr"]});
    let created = client.post("/datasources", body.clone()).await.expect(201);
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        (created["status"].as_str(), created["draft_version"].as_u64()),
        (Some("draft"), Some(1))
    );
    client.post("/datasources", body).await.expect(409);

    // Never published: nothing is taken.
    client
        .wait_for("ingest to know the draft", async |client| {
            send_signed(client, id, &payload("a"), "0").await == 409
        })
        .await;
    // The secret that the configuration names is missing: a publish says so.
    let refused = client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(422);
    assert_eq!(
        refused["errors"][0]["pointer"], "/config/connection/auth/secret",
        "{refused}"
    );
    client
        .put(
            &format!("/datasources/{id}/secrets/signing"),
            json!({"value": SECRET}),
        )
        .await
        .expect(200);

    let run = json!({"version": 1, "payload": payload("a")});
    let report = client
        .post(&format!("/datasources/{id}/test"), run)
        .await
        .expect(200);
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["outputs"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["outputs"][0]["object"]["title"], "malware on web-1");
    assert_eq!(report["metrics"]["records_in"], 2);

    client
        .post(&format!("/datasources/{id}/publish"), json!({"comment": "go"}))
        .await
        .expect(200);
    client.wait_running(id, 1).await;
    assert_eq!(send_signed(client, id, &payload("a"), "1").await, 202);
    assert_eq!(
        send_signed(client, id, &payload("a"), "1").await,
        202,
        "a redelivery is harmless"
    );
    let forged = [("x-hub-signature-256", format!("sha256={}", "0".repeat(64)))];
    assert_eq!(client.ingest_with(id, b"{}".to_vec(), &forged).await.status, 401);
    client
        .wait_for("the alert", async |client| {
            !client.all(&format!("/alerts?datasource={id}")).await.is_empty()
        })
        .await;
    let alert = &client.all(&format!("/alerts?datasource={id}")).await[0];
    assert_eq!(
        (
            alert["severity"].as_str(),
            alert["time"].as_str().unwrap().get(..19)
        ),
        (Some("high"), Some("2023-11-14T22:13:20"))
    );
    assert_eq!(alert["revision"], 1, "the redelivery had no second effect");

    edit_publish_and_roll_back(client, id).await;
    disable_and_enable(client, id).await;
    read_the_trail(client, id).await;
    studio.up.stop();
}

async fn edit_publish_and_roll_back(client: &Client, id: &str) {
    let draft = json!({"config": config(true), "comment": "hosts, too"});
    client
        .post(&format!("/datasources/{id}/versions"), draft)
        .await
        .expect(201);
    let run = json!({"version": 2, "payload": payload("b"), "compare_with": 1});
    let report = client
        .post(&format!("/datasources/{id}/test"), run)
        .await
        .expect(200);
    assert_eq!(
        report["comparison"]["added"].as_array().unwrap().len(),
        2,
        "{report}"
    );

    client
        .post(&format!("/datasources/{id}/publish"), json!({"comment": "hosts"}))
        .await
        .expect(200);
    client.wait_running(id, 2).await;
    assert_eq!(send_signed(client, id, &payload("b"), "2").await, 202);
    client
        .wait_for("the entity", async |client| {
            !client.all("/entities?type=host").await.is_empty()
        })
        .await;
    client
        .wait_for("the relationship", async |client| {
            !client.all("/relationships").await.is_empty()
        })
        .await;

    let mut broken = config(true);
    broken["mapping"]["outputs"][0]["fields"]["title"] = json!("join(");
    let draft = json!({"config": broken});
    client
        .post(&format!("/datasources/{id}/versions"), draft)
        .await
        .expect(201);
    let refused = client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(422);
    assert_eq!(
        refused["errors"][0]["pointer"], "/config/mapping/outputs/0/fields/title",
        "{refused}"
    );
    client.wait_running(id, 2).await;
    let back = json!({"version": 1, "comment": "back"});
    client
        .post(&format!("/datasources/{id}/rollback"), back)
        .await
        .expect(200);
    client.wait_running(id, 4).await;
}

async fn disable_and_enable(client: &Client, id: &str) {
    client
        .post(&format!("/datasources/{id}/disable"), json!({}))
        .await
        .expect(202);
    client
        .wait_for("ingest to answer 409", async |client| {
            send_signed(client, id, &payload("c"), "3").await == 409
        })
        .await;
    client
        .post(&format!("/datasources/{id}/enable"), json!({}))
        .await
        .expect(202);
    client
        .wait_for("ingest to answer 202", async |client| {
            send_signed(client, id, &payload("d"), "4").await == 202
        })
        .await;
    client
        .wait_for("the alert after enable", async |client| {
            let alerts = client.all(&format!("/alerts?datasource={id}")).await;
            alerts.iter().any(|alert| alert["external_id"] == "d")
        })
        .await;
}

async fn read_the_trail(client: &Client, id: &str) {
    client
        .wait_for("the audit trail", async |client| {
            let entries = client.all(&format!("/audit?resource={id}")).await;
            let actions: Vec<_> = entries
                .iter()
                .filter_map(|entry| entry["action"].as_str())
                .collect();
            [
                "datasource.create",
                "datasource.publish",
                "datasource.rollback",
                "secret.write",
            ]
            .iter()
            .all(|action| actions.contains(action))
        })
        .await;
    client
        .wait_for("the metrics", async |client| {
            client.get(&format!("/datasources/{id}/metrics")).await["filtered"].as_u64() >= Some(1)
        })
        .await;
    let events = client.all(&format!("/datasources/{id}/events")).await;
    assert!(
        events.iter().any(|event| event["kind"] == "published"),
        "{events:?}"
    );
    assert!(
        !client.get(&format!("/datasources/{id}/logs")).await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        client.get(&format!("/datasources/{id}/dead-letters")).await["items"],
        json!([])
    );
}

#[tokio::test]
async fn what_cannot_be_mapped_is_kept_with_its_bytes() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let id = client
        .publish_webhook("letters", halcyon_tests::load::sequence_mapping("t"))
        .await;
    let bodies: [&[u8]; 3] = [b"{\"seq\": 1}", b"{\"seq\": 2, \"host\": 7", b"\xff\xfe"];
    for body in bodies {
        assert_eq!(client.ingest(&id, body.to_vec()).await.status, 202);
    }
    client
        .wait_for("three dead letters", async |client| {
            let letters = client.get(&format!("/datasources/{id}/dead-letters")).await;
            letters["items"].as_array().unwrap().len() == 3
        })
        .await;
    let letters = client.get(&format!("/datasources/{id}/dead-letters")).await;
    for letter in letters["items"].as_array().unwrap() {
        assert!(letter["reason"]["code"].is_string(), "{letter}");
    }
    assert!(letters.to_string().contains("seq"), "the raw bytes are there");
    let gone = client
        .call(Method::GET, "/api/v1/datasources/nonsense", None)
        .await;
    assert_eq!(gone.status, 404);
    studio.up.stop();
}
