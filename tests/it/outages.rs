//! Servers that fall silent, links that swallow what is sent, services that are stopped: nothing is lost, nothing counts
//! twice, and senders and callers are told. `halcyon-load chaos` has the long forms.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, SERVICES, Sync},
    load::{Load, Sent, judge, sequence_mapping},
    postgres::Postgres,
    proxy::{Fault, FaultProxy},
};
use reqwest::Method;
use serde_json::{Value, json};

/// Within this a process that is asked to end has ended (P13).
const DRAIN: Duration = Duration::from_secs(20);

async fn accepted(client: &Client, load: &Load, more: usize) {
    let wanted = load.accepted() + more;
    client
        .wait_for("the load to go on", async |_| load.accepted() >= wanted)
        .await;
}

/// The whole system over a database of its own, and its administrator.
async fn every_service() -> (Postgres, Cluster, Client) {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let cluster = Cluster::start(crate::halcyon(), &database, Sync::Always, &SERVICES)
        .await
        .unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    (postgres, cluster, client)
}

async fn assert_nothing_refused_or_lost(client: &Client, id: &str, sent: &Sent) {
    let answers: Vec<_> = sent.answers.keys().copied().collect();
    assert_eq!(answers, [202], "{:?}", sent.answers);
    judge(client, id, &sent.accepted).await.assert_clean();
}

#[tokio::test]
async fn a_silent_database_stops_no_ingest() {
    let (postgres, _cluster, client) = every_service().await;
    let id = client.publish_webhook("goes on", sequence_mapping("t")).await;
    let load = Load::start(&client, &id, 4, 100);
    accepted(&client, &load, 50).await;
    postgres.signal("STOP").unwrap();
    let refused = client.call(Method::GET, "/api/v1/alerts", None).await;
    accepted(&client, &load, 200).await;
    let later = client.call(Method::GET, "/api/v1/datasources", None).await;
    postgres.signal("CONT").unwrap();
    for answer in [refused, later] {
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
    accepted(&client, &load, 50).await;
    let sent = load.stop().await;
    assert_nothing_refused_or_lost(&client, &id, &sent).await;
}

#[tokio::test]
async fn a_link_to_nats_that_swallows_everything_loses_nothing() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let mut cluster = Cluster::prepare(crate::halcyon(), &database, Sync::Always, &[])
        .await
        .unwrap();
    let link = FaultProxy::start("127.0.0.1:0", &cluster.nats_address)
        .await
        .unwrap();
    let url = format!("bus.url=nats://{}", link.address);
    for service in SERVICES {
        cluster.spawn_as(service, service, &[&url]).unwrap();
    }
    cluster.wait_ready().await.unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let id = client.publish_webhook("cut off", sequence_mapping("t")).await;
    let load = Load::start(&client, &id, 4, 100);
    for fault in [Fault::Reset, Fault::HalfOpen] {
        accepted(&client, &load, 50).await;
        link.set(fault);
        client
            .wait_for("ingest to refuse", async |client| {
                client.ingest(&id, b"{".to_vec()).await.status == 503
            })
            .await;
        link.set(Fault::None);
    }
    accepted(&client, &load, 100).await;
    let sent = load.stop().await;
    assert!(
        sent.answers.keys().all(|status| [202, 503].contains(status)),
        "{:?}",
        sent.answers
    );
    judge(&client, &id, &sent.accepted).await.assert_clean();
}

/// Each service that is asked to end does so in good order, and its successor goes on: no request fails meanwhile.
#[tokio::test]
async fn services_that_are_asked_to_end_drain_and_lose_nothing() {
    let (_postgres, mut cluster, client) = every_service().await;
    let id = client.publish_webhook("rolled", sequence_mapping("t")).await;
    let load = Load::start(&client, &id, 4, 100);
    for service in ["worker", "ontology", "registry", "audit"] {
        accepted(&client, &load, 50).await;
        // The deadline is P13's twice over: here other systems run as well.
        let status = cluster.terminate(service, DRAIN * 2).unwrap();
        assert!(status.success(), "{service} ended with {status}");
        cluster.spawn(service).unwrap();
    }
    accepted(&client, &load, 100).await;
    let sent = load.stop().await;
    assert_nothing_refused_or_lost(&client, &id, &sent).await;
}

/// A worker that is stopped for longer than its lease is replaced. When it goes on it does nothing that counts.
#[tokio::test]
async fn a_worker_that_was_stopped_does_no_harm_afterwards() {
    let (_postgres, mut cluster, client) = every_service().await;
    let config = json!({
        "connection": {"records_per_second": 50, "seed": 3},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "id", "as": "string"}, "title": "title",
            "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
        }}]},
    });
    let body = json!({"name": "exclusive", "type": "generator", "config": config});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let publish = format!("/datasources/{id}/publish");
    client.post(&publish, json!({})).await.expect(200);
    client.wait_running(&id, 1).await;
    let pushed = client.publish_webhook("pushed", sequence_mapping("t")).await;
    let load = Load::start(&client, &pushed, 4, 100);
    let checkpoint = format!("/datasources/{id}/checkpoint");
    let position = async |client: &Client| {
        let answer = client
            .call(Method::GET, &format!("/api/v1{checkpoint}"), None)
            .await;
        answer.body["position"]["sequence"].as_u64().unwrap_or(0)
    };
    let highest = Mutex::new(0);
    let goes_on = async || {
        let from = position(&client).await;
        client
            .wait_for("the source to go on", async |client| {
                let now = position(client).await;
                let mut highest = highest.lock().unwrap();
                assert!(
                    now >= *highest,
                    "the checkpoint went back from {highest} to {now}"
                );
                *highest = now;
                now >= from + 100
            })
            .await;
    };
    goes_on().await;
    cluster.signal("worker", "STOP").unwrap();
    cluster.spawn_as("worker-2", "worker", &[]).unwrap();
    goes_on().await;
    cluster.signal("worker", "CONT").unwrap();
    goes_on().await;
    let sent = load.stop().await;
    judge(&client, &pushed, &sent.accepted).await.assert_clean();
    let read = *highest.lock().unwrap();
    let wanted: BTreeSet<_> = (1..=read).map(|number| format!("gen-3-{number}")).collect();
    let alerts = format!("/alerts?datasource={id}");
    client
        .wait_for("everything that the source has read", async |client| {
            let found = client.all(&alerts).await;
            let twice = found.iter().find(|alert| alert["revision"] != 1);
            assert!(twice.is_none(), "an effect counted twice: {twice:?}");
            let name = |alert: &Value| alert["external_id"].as_str().unwrap().to_owned();
            let made: BTreeSet<_> = found.iter().map(name).collect();
            made.is_superset(&wanted)
        })
        .await;
}
