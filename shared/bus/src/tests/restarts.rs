//! nats dies (SIGKILL) and comes back on the same store.

use std::{sync::Arc, time::Duration};

use halcyon_domain::{assignment::PartitionAssignment, id::DatasourceId};

use super::support::{connect, event, eventually, server, soon};
use crate::Service;

#[tokio::test]
async fn consumers_and_watches_come_back() {
    let (mut nats, bus) = server().await;
    let worker = connect(&nats, Service::Worker).await;
    let publishers = bus.ingest_publishers();
    let datasource = DatasourceId::generate();
    let mut consumer = worker.ingest_consumer(0);
    publishers.submit(0, &event(datasource, "1"), None).await.unwrap();
    soon(consumer.next()).await.ack().await.unwrap();
    let bucket = bus.partition_assignments();
    bucket
        .put(
            "1",
            &PartitionAssignment {
                partition: 1,
                worker: None,
                epoch: 1,
            },
        )
        .await
        .unwrap();
    let mirror = worker.partition_assignments().mirror();
    soon(mirror.ready()).await;

    for round in 2..5_u64 {
        nats.kill().unwrap();
        eventually(|| async { !bus.is_connected() && !worker.is_connected() }).await;
        assert_eq!(
            mirror.get("1").unwrap().value.epoch,
            round - 1,
            "a mirror keeps what it knows"
        );
        nats.restart().await.unwrap();
        eventually(|| async { bus.is_connected() && worker.is_connected() }).await;
        publishers
            .submit(0, &event(datasource, &round.to_string()), None)
            .await
            .unwrap();
        let delivered = async {
            loop {
                let delivery = consumer.next().await;
                let body = delivery.events().unwrap()[0].payload.clone();
                delivery.ack().await.unwrap();
                if body == round.to_string() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), delivered)
            .await
            .unwrap();
        bucket
            .put(
                "1",
                &PartitionAssignment {
                    partition: 1,
                    worker: None,
                    epoch: round,
                },
            )
            .await
            .unwrap();
        eventually(|| async { mirror.get("1").is_some_and(|entry| entry.value.epoch == round) }).await;
        assert!(mirror.replays() >= round);
    }
    assert!(worker.stats().consumers_recreated >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_is_there_after_kills() {
    let (mut nats, bus) = server().await;
    let publishers = Arc::new(bus.ingest_publishers());
    let datasource = DatasourceId::generate();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let (publishers, stop) = (publishers.clone(), stop.clone());
        senders.spawn(async move {
            let mut accepted = Vec::new();
            for n in 0.. {
                if stop.is_cancelled() {
                    break;
                }
                let event = event(datasource, &format!("\"{sender}/{n}\""));
                if publishers.submit(0, &event, None).await.is_ok() {
                    accepted.push(event.id);
                }
            }
            accepted
        });
    }
    for _ in 0..3 {
        let before = bus.stats().frames;
        eventually(|| async { bus.stats().frames > before + 100 }).await;
        nats.kill().unwrap();
        nats.restart().await.unwrap();
    }
    let before = bus.stats().frames;
    eventually(|| async { bus.stats().frames > before }).await;
    stop.cancel();
    let accepted: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    assert!(!accepted.is_empty());

    let mut consumer = bus.ingest_consumer(0);
    let mut missing: std::collections::HashSet<_> = accepted.into_iter().collect();
    while !missing.is_empty() {
        for delivery in soon(consumer.next_batch(64)).await {
            for event in delivery.events().unwrap() {
                missing.remove(&event.id);
            }
            delivery.ack().await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_server_a_submit_fails_in_time() {
    let (mut nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    publishers
        .submit(0, &event(DatasourceId::generate(), "1"), None)
        .await
        .unwrap();
    nats.kill().unwrap();
    let lost = event(DatasourceId::generate(), "2");
    let submit = publishers.submit(0, &lost, None);
    let error = tokio::time::timeout(Duration::from_secs(8), submit)
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}
