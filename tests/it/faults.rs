//! Separate processes, killed one after the other while events flow: what was accepted arrives, once.

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, SERVICES, Sync},
    load::{Load, judge, sequence_mapping},
    postgres::Postgres,
};
use serde_json::json;

#[tokio::test]
async fn kills_of_every_service_and_of_nats_lose_nothing() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let mut cluster = Cluster::start(crate::halcyon(), &database, Sync::Always, &SERVICES)
        .await
        .unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let id = client.publish_webhook("killed", sequence_mapping("t")).await;
    let load = Load::start(&client, &id, 8, 400);
    let victims = [
        "worker",
        "ontology",
        "nats",
        "gateway",
        "registry",
        "audit",
        "test-runner",
        "worker",
        "nats",
    ];
    for victim in victims {
        let before = load.accepted();
        client
            .wait_for("the load to go on", async |_| load.accepted() >= before + 200)
            .await;
        cluster.kill_and_restart(victim).unwrap();
    }
    let before = load.accepted();
    client
        .wait_for("the load after the last kill", async |_| {
            load.accepted() >= before + 200
        })
        .await;
    let sent = load.stop().await;
    cluster.wait_ready().await.unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let verdict = judge(&client, &id, &sent.accepted).await;
    assert!(sent.accepted.len() >= 200 * victims.len(), "{:?}", sent.answers);
    verdict.assert_clean();
    assert!(
        sent.answers.keys().all(|status| [202, 502, 503].contains(status)),
        "{:?}",
        sent.answers
    );
}

/// A pull source: what it has handed on is known by its checkpoint, which is never ahead of the output.
#[tokio::test]
async fn kills_of_the_worker_lose_nothing_of_a_pull_source() {
    const TOTAL: usize = 1_500;
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let mut cluster = Cluster::start(crate::halcyon(), &database, Sync::Always, &SERVICES)
        .await
        .unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let config = json!({
        "connection": {"records_per_second": 100, "total": TOTAL, "seed": 7},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "id", "as": "string"}, "title": "title",
            "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
        }}]},
    });
    let body = json!({"name": "generated", "type": "generator", "config": config});
    let id = client.post("/datasources", body).await.expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    client
        .post(&format!("/datasources/{id}/publish"), json!({"comment": "go"}))
        .await
        .expect(200);
    let alerts = format!("/alerts?datasource={id}");
    for share in [4, 2] {
        client
            .wait_for("some records", async |client| {
                client.all(&alerts).await.len() >= TOTAL / 2 / share
            })
            .await;
        cluster.kill_and_restart("worker").unwrap();
    }
    client
        .wait_for("all records", async |client| {
            client.all(&alerts).await.len() >= TOTAL
        })
        .await;
    let found = client.all(&alerts).await;
    assert_eq!(found.len(), TOTAL);
    assert!(
        found.iter().all(|alert| alert["revision"] == 1),
        "an effect counted twice"
    );
}
