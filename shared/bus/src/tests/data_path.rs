//! Frames, group commit, deliveries.

use std::{sync::Arc, time::Duration};

use halcyon_domain::id::DatasourceId;

use super::support::{event, outcome, server, soon};
use crate::{Error, subjects::Stream};

#[tokio::test]
async fn a_submitted_event_is_delivered_with_its_trace() {
    let (_nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    let sent = event(DatasourceId::generate(), "{\"n\":1}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    publishers.submit(2, &sent, Some(trace)).await.unwrap();
    assert!(matches!(
        publishers.submit(9, &sent, None).await,
        Err(Error::Setup(_))
    ));

    let mut consumer = bus.ingest_consumer(2);
    let delivery = soon(consumer.next()).await;
    assert_eq!(delivery.events().unwrap(), [sent]);
    assert_eq!(delivery.traceparent().as_deref(), Some(trace));
    assert_eq!((delivery.delivered(), delivery.sequence()), (1, 1));
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_share_frames() {
    let (_nats, bus) = server().await;
    let publishers = Arc::new(bus.ingest_publishers());
    let datasource = DatasourceId::generate();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let publishers = publishers.clone();
        senders.spawn(async move {
            for n in 0..20 {
                publishers
                    .submit(0, &event(datasource, &n.to_string()), None)
                    .await
                    .unwrap();
            }
        });
    }
    senders.join_all().await;
    let stats = bus.stats();
    assert_eq!(stats.frame_items, 1_280);
    assert!(stats.frames <= 320, "{} frames for 1,280 events", stats.frames);
    let stored = bus.stream_info(Stream::Ingest).await.unwrap().state.messages;
    assert_eq!(stored, stats.frames);

    let mut consumer = bus.ingest_consumer(0);
    let mut read = 0;
    while read < 1_280 {
        for delivery in soon(consumer.next_batch(32)).await {
            read += delivery.events().unwrap().len();
            delivery.ack().await.unwrap();
        }
    }
    assert_eq!(read, 1_280);
}

#[tokio::test]
async fn what_fits_no_message_is_refused_and_large_items_travel_alone() {
    let (_nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    let datasource = DatasourceId::generate();
    let huge = event(datasource, &format!("\"{}\"", "x".repeat(9_000_000)));
    assert!(matches!(
        publishers.submit(0, &huge, None).await,
        Err(Error::TooLarge { .. })
    ));
    let body = format!("\"{}\"", "x".repeat(400_000));
    let large = event(datasource, &body);
    let sends = (0..6).map(|_| publishers.submit(0, &large, None));
    futures::future::try_join_all(sends).await.unwrap();
    let mut consumer = bus.ingest_consumer(0);
    let mut read = 0;
    while read < 6 {
        let delivery = soon(consumer.next()).await;
        assert_eq!(delivery.events().unwrap().len(), 1);
        delivery.ack().await.unwrap();
        read += 1;
    }
}

#[tokio::test]
async fn a_dropped_delivery_comes_again_and_an_acked_one_does_not() {
    let (_nats, bus) = server().await;
    let publishers = bus.outcome_publishers();
    let datasource = DatasourceId::generate();
    let (first, second) = (outcome(&event(datasource, "1")), outcome(&event(datasource, "2")));
    publishers.submit(0, &first, None).await.unwrap();
    let mut consumer = bus.ontology_consumer();
    let delivery = soon(consumer.next()).await;
    delivery.in_progress().await.unwrap();
    drop(delivery);
    let again = soon(consumer.next()).await;
    assert_eq!(again.delivered(), 2);
    assert_eq!(again.outcomes().unwrap(), [first]);
    again.ack().await.unwrap();
    assert_eq!(bus.stats().naks, 1);

    publishers.submit(1, &second, None).await.unwrap();
    let next = soon(consumer.next()).await;
    assert_eq!(next.outcomes().unwrap(), [second]);
    next.ack().await.unwrap();
    super::support::eventually(|| async {
        bus.stream_info(Stream::Ontology).await.unwrap().state.messages == 0
    })
    .await;
}

#[tokio::test]
async fn what_a_dropped_consumer_had_fetched_goes_to_the_next_one() {
    let (_nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    // Large, and not to be compressed, so that some are still on their way when the first is there.
    let body: String = (0..20_000)
        .map(|_| DatasourceId::generate().to_string())
        .collect();
    for _ in 0..10 {
        let event = event(DatasourceId::generate(), &body);
        publishers.submit(3, &event, None).await.unwrap();
    }
    let mut first = bus.ingest_consumer(3);
    let held = soon(first.next()).await;
    drop(first);
    let mut second = bus.ingest_consumer(3);
    // Well below the wait for an ack: they were given back, not waited for.
    let read_all = async {
        for _ in 0..9 {
            second.next().await.ack().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read_all)
        .await
        .unwrap();
    held.give_back(Duration::ZERO);
    assert_eq!(soon(second.next()).await.delivered(), 2);
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_again() {
    let (_nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    let mut consumer = bus.ingest_consumer(0);
    let datasource = DatasourceId::generate();
    publishers.submit(0, &event(datasource, "1"), None).await.unwrap();
    soon(consumer.next()).await.ack().await.unwrap();
    let deleted = bus
        .jetstream()
        .delete_consumer_from_stream("worker-0", "INGEST")
        .await
        .unwrap();
    assert!(deleted.success);
    publishers.submit(0, &event(datasource, "2"), None).await.unwrap();
    // A new consumer begins at the beginning: at least once, never less.
    let mut bodies = Vec::new();
    while !bodies.contains(&"2".to_owned()) {
        let delivery = soon(consumer.next()).await;
        bodies.push(String::from_utf8(delivery.events().unwrap()[0].payload.to_vec()).unwrap());
        delivery.ack().await.unwrap();
    }
    assert!(bus.stats().consumers_recreated > 0);
}
