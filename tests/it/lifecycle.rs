//! What becomes of accepted events when a feed is stopped, started, disabled or deleted, and when processes end in
//! between; all of it seen through the public API.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    cluster::{Cluster, SERVICES, Sync},
    load::{judge, sequence_mapping},
    postgres::Postgres,
    up::{Studio, Up},
};

fn event(seq: u64) -> Vec<u8> {
    let event = json!({"seq": seq, "host": format!("host-{}", seq % 5), "at": "2026-01-02T03:04:05Z"});
    event.to_string().into_bytes()
}

/// Sends events one after the other; each is accepted.
async fn send(client: &Client, id: &str, events: std::ops::Range<u64>) {
    for seq in events {
        let answer = client.ingest(id, event(seq)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

/// Creates a webhook feed that runs `mapping` with the options of `runtime`.
async fn publish(client: &Client, name: &str, mapping: Value, runtime: Value) -> String {
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": mapping,
        "runtime": runtime,
    });
    let body = json!({"name": name, "type": "http_webhook", "config": config});
    let created = client.post("/datasources", body).await.expect(201);
    let id = created["id"].as_str().unwrap().to_owned();
    client
        .put(
            &format!("/datasources/{id}/secrets/token"),
            json!({"value": TOKEN}),
        )
        .await
        .expect(200);
    client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(200);
    client.wait_running(&id, 1).await;
    id
}

async fn act(client: &Client, id: &str, action: &str) {
    client
        .post(&format!("/datasources/{id}/{action}"), json!({}))
        .await
        .expect(202);
}

async fn wait_status(client: &Client, id: &str, status: &str) {
    client
        .wait_for(&format!("{id} to be {status}"), async |client| {
            client.get(&format!("/datasources/{id}")).await["state"]["status"] == status
        })
        .await;
}

async fn wait_parked(client: &Client, id: &str, count: u64) {
    client
        .wait_for(&format!("{count} parked events of {id}"), async |client| {
            client.get(&format!("/datasources/{id}/metrics")).await["parked"] == count
        })
        .await;
}

/// The sequence numbers that have an alert.
async fn delivered(client: &Client, id: &str) -> BTreeSet<u64> {
    let alerts = client.all(&format!("/alerts?datasource={id}")).await;
    alerts
        .iter()
        .map(|alert| alert["external_id"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Every event made its alert, once.
async fn assert_all(client: &Client, id: &str, events: std::ops::Range<u64>) {
    judge(client, id, &events.collect()).await.assert_clean();
}

/// Waits until all of `0..count` are there. What is there at any time is complete from the first one on: nothing
/// has overtaken what was accepted before it.
async fn assert_in_order(client: &Client, id: &str, count: u64) {
    client
        .wait_for("everything in its order", async |client| {
            let seen = delivered(client, id).await;
            let expected: BTreeSet<u64> = (0..seen.len() as u64).collect();
            assert_eq!(seen, expected, "something was overtaken");
            seen.len() as u64 == count
        })
        .await;
}

async fn again(data: &std::path::Path, password: &str) -> (Up, Client) {
    let up = Up::start(crate::halcyon(), data);
    let client = Client::login(&up.ready.url, &up.ready.admin_email, password).await;
    (up, client)
}

#[tokio::test]
async fn a_stopped_feed_accepts_events_and_goes_on_with_them_in_their_order() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    // So slow that its order can be watched.
    let runtime = json!({"throttle": {"records_per_second": 20}});
    let id = publish(client, "stopped", sequence_mapping("t"), runtime).await;
    send(client, &id, 0..10).await;
    assert_all(client, &id, 0..10).await;
    act(client, &id, "stop").await;
    wait_status(client, &id, "STOPPED").await;
    send(client, &id, 10..40).await;
    wait_parked(client, &id, 30).await;
    assert_eq!(
        delivered(client, &id).await.len(),
        10,
        "a stopped feed delivers nothing"
    );

    // What is stopped stays so, and what waits goes on waiting, whether the system ends well or not.
    let data = studio.folder.path().join("data");
    studio.up.stop();
    let (up, client) = again(&data, &studio.password).await;
    wait_parked(&client, &id, 30).await;
    send(&client, &id, 40..50).await;
    wait_parked(&client, &id, 40).await;
    up.kill();
    let (up, client) = again(&data, &studio.password).await;
    wait_parked(&client, &id, 40).await;
    assert_eq!(delivered(&client, &id).await.len(), 10);

    act(&client, &id, "start").await;
    send(&client, &id, 50..60).await;
    assert_in_order(&client, &id, 60).await;
    assert_all(&client, &id, 0..60).await;
    wait_parked(&client, &id, 0).await;
    wait_status(&client, &id, "RUNNING").await;
    up.stop();
}

#[tokio::test]
async fn a_disabled_feed_finishes_what_it_accepted() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let runtime = json!({"throttle": {"records_per_second": 20}});
    let id = publish(client, "disabled", sequence_mapping("t"), runtime).await;
    send(client, &id, 0..60).await;
    act(client, &id, "disable").await;
    client
        .wait_for("ingest to answer 409", async |client| {
            client.ingest(&id, b"{".to_vec()).await.status == 409
        })
        .await;
    assert_all(client, &id, 0..60).await;
    act(client, &id, "enable").await;
    client
        .wait_for("ingest to answer 202", async |client| {
            client.ingest(&id, event(60)).await.status == 202
        })
        .await;
    send(client, &id, 61..70).await;
    assert_all(client, &id, 0..70).await;
    studio.up.stop();
}

#[tokio::test]
async fn a_deleted_feed_takes_no_more_and_leaves_the_others_alone() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let gone = publish(client, "gone", sequence_mapping("t"), json!({"parallelism": 4})).await;
    let stays = publish(client, "stays", sequence_mapping("t"), json!({"parallelism": 4})).await;
    act(client, &gone, "stop").await;
    wait_status(client, &gone, "STOPPED").await;
    // Some of its events wait when it is deleted.
    send(client, &gone, 0..20).await;
    wait_parked(client, &gone, 20).await;
    client
        .call(Method::DELETE, &format!("/api/v1/datasources/{gone}"), None)
        .await
        .expect(204);
    client
        .wait_for("ingest to answer 404", async |client| {
            client.ingest(&gone, event(20)).await.status == 404
        })
        .await;
    let read = client
        .call(Method::GET, &format!("/api/v1/datasources/{gone}"), None)
        .await;
    assert_eq!(read.status, 404);
    send(client, &stays, 0..50).await;
    assert_all(client, &stays, 0..50).await;
    assert!(delivered(client, &gone).await.is_empty());
    // Its name is free again.
    let next = publish(client, "gone", sequence_mapping("t"), json!({})).await;
    send(client, &next, 0..5).await;
    assert_all(client, &next, 0..5).await;
    studio.up.stop();
}

#[tokio::test]
async fn a_feed_whose_mapping_always_fails_hurts_no_other() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let failing = json!({"outputs": [{"kind": "alert", "fields": {
        "external_id": "nothing_of_this_name", "title": {"value": "t"}, "time": {"value": 0}}}]});
    let bad = publish(client, "bad", failing, json!({"parallelism": 16})).await;
    let good = publish(client, "good", sequence_mapping("t"), json!({"parallelism": 16})).await;
    tokio::join!(send(client, &bad, 0..60), send(client, &good, 0..60));
    assert_all(client, &good, 0..60).await;
    client
        .wait_for("a dead letter for each failure", async |client| {
            client
                .all(&format!("/datasources/{bad}/dead-letters"))
                .await
                .len()
                == 60
        })
        .await;
    for (id, delivered, dead_lettered) in [(&good, 60, 0), (&bad, 0, 60)] {
        client
            .wait_for("the numbers", async |client| {
                let metrics = client.get(&format!("/datasources/{id}/metrics")).await;
                let (events, parked) = (&metrics["events"], &metrics["parked"]);
                *events == 60
                    && *parked == 0
                    && metrics["delivered"] == delivered
                    && metrics["dead_lettered"] == dead_lettered
            })
            .await;
    }
    assert!(
        client
            .all(&format!("/datasources/{good}/dead-letters"))
            .await
            .is_empty()
    );
    studio.up.stop();
}

/// Separate processes: a command that is given while the registry is down is not lost, and a worker that is killed
/// while events wait leaves them where they are.
#[tokio::test]
async fn stop_and_start_survive_the_registry_and_the_worker() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let mut cluster = Cluster::start(crate::halcyon(), &database, Sync::Always, &SERVICES)
        .await
        .unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let id = publish(&client, "restarted", sequence_mapping("t"), json!({})).await;
    send(&client, &id, 0..10).await;
    assert_all(&client, &id, 0..10).await;
    cluster.kill("registry").unwrap();
    act(&client, &id, "stop").await;
    cluster.spawn("registry").unwrap();
    wait_status(&client, &id, "STOPPED").await;
    send(&client, &id, 10..30).await;
    wait_parked(&client, &id, 20).await;
    cluster.kill_and_restart("worker").unwrap();
    send(&client, &id, 30..40).await;
    wait_parked(&client, &id, 30).await;
    cluster.kill_and_restart("nats").unwrap();
    client
        .wait_for("ingest to go on", async |client| {
            // Not an event that counts: one that is answered with 503 may be stored all the same.
            client.ingest(&id, b"{".to_vec()).await.status == 202
        })
        .await;
    assert_eq!(delivered(&client, &id).await.len(), 10);
    cluster.kill("registry").unwrap();
    act(&client, &id, "start").await;
    cluster.spawn("registry").unwrap();
    send(&client, &id, 40..50).await;
    assert_all(&client, &id, 0..50).await;
    wait_parked(&client, &id, 0).await;
}
