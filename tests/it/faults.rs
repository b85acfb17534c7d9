//! Separate processes, killed one after the other while events flow: what was accepted arrives, once.

use std::time::Duration;

use halcyon_tests::{
    cluster::{Cluster, SERVICES, Sync},
    postgres::Postgres,
};

use halcyon_tests::{
    client::Client,
    load::{Load, judge, sequence_mapping},
};

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
        tokio::time::sleep(Duration::from_millis(500)).await;
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
