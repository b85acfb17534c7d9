//! Making streams, and trimming the ingest stream.

use std::time::Duration;

use chrono::TimeDelta;
use halcyon_domain::{duration::HumanDuration, id::DatasourceId};

use super::support::{connect, event, eventually, now, server, soon};
use crate::{Durability, Error, Service, subjects::Stream, trim::TrimPolicy};

#[tokio::test]
async fn streams_can_be_made_twice() {
    let (nats, bus) = server().await;
    bus.ensure_streams(1).await.unwrap();
    let other = connect(&nats, Service::Gateway).await;
    other.wait_for_streams(Duration::from_secs(5)).await.unwrap();
    assert!(matches!(
        other.durability().await.unwrap(),
        Durability::Unknown(_)
    ));
}

#[tokio::test]
async fn missing_streams_are_waited_for() {
    let nats = halcyon_tests::nats::Nats::start().await.unwrap();
    let bus = connect(&nats, Service::Gateway).await;
    assert!(matches!(
        bus.wait_for_streams(Duration::ZERO).await,
        Err(Error::Unavailable(_))
    ));
}

#[tokio::test]
async fn a_full_stream_refuses_and_loses_nothing() {
    let (_nats, bus) = server().await;
    let mut config = bus.stream_info(Stream::Ingest).await.unwrap().config;
    config.max_bytes = 100_000;
    bus.jetstream().update_stream(config).await.unwrap();
    let publishers = bus.ingest_publishers();
    let body = format!("\"{}\"", "x".repeat(10_000));
    let mut accepted = 0;
    let error = loop {
        match publishers
            .submit(0, &event(DatasourceId::generate(), &body), None)
            .await
        {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert!(error.is_unavailable());
    assert_eq!(
        bus.stream_info(Stream::Ingest).await.unwrap().state.messages,
        accepted
    );
}

async fn ack_all_but_last(bus: &crate::Bus, count: u32) -> crate::Delivery {
    let mut consumer = bus.ingest_consumer(0);
    for _ in 1..count {
        soon(consumer.next()).await.ack().await.unwrap();
    }
    let last = soon(consumer.next()).await;
    // The acks count once the floor has moved.
    let floor = u64::from(count) - 1;
    eventually(|| async {
        let info = bus
            .jetstream()
            .get_stream("INGEST")
            .await
            .unwrap()
            .consumer_info("worker-0")
            .await
            .unwrap();
        info.ack_floor.stream_sequence == floor
    })
    .await;
    last
}

#[tokio::test]
async fn only_what_is_acked_and_old_is_deleted() {
    let (_nats, bus) = server().await;
    let publishers = bus.ingest_publishers();
    for n in 0..10 {
        publishers
            .submit(0, &event(DatasourceId::generate(), &n.to_string()), None)
            .await
            .unwrap();
    }
    // Nobody reads partition 1: its event must stay.
    publishers
        .submit(1, &event(DatasourceId::generate(), "other"), None)
        .await
        .unwrap();
    let policy = TrimPolicy {
        max_age: HumanDuration::from_secs(60),
        ..TrimPolicy::default()
    };
    let later = now() + TimeDelta::seconds(3_600);
    assert_eq!(bus.trim_ingest(&policy, later).await.unwrap().deleted, 0);
    let unacked = ack_all_but_last(&bus, 10).await;
    assert_eq!(
        bus.trim_ingest(&policy, now()).await.unwrap().deleted,
        0,
        "not old yet"
    );
    assert_eq!(bus.trim_ingest(&policy, later).await.unwrap().deleted, 9);
    assert_eq!(bus.stream_info(Stream::Ingest).await.unwrap().state.messages, 2);
    drop(unacked);
}

#[tokio::test]
async fn a_stream_that_fills_up_is_trimmed_to_what_it_needs() {
    let (_nats, bus) = server().await;
    let mut config = bus.stream_info(Stream::Ingest).await.unwrap().config;
    config.max_bytes = 120_000;
    bus.jetstream().update_stream(config).await.unwrap();
    let publishers = bus.ingest_publishers();
    let body = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..10 {
        publishers
            .submit(0, &event(DatasourceId::generate(), &body), None)
            .await
            .unwrap();
    }
    let unacked = ack_all_but_last(&bus, 10).await;
    let report = bus.trim_ingest(&TrimPolicy::default(), now()).await.unwrap();
    assert!(report.fill > 0.8, "{report:?}");
    assert!((2..=4).contains(&report.deleted), "{report:?}");
    assert_eq!(
        bus.trim_ingest(&TrimPolicy::default(), now())
            .await
            .unwrap()
            .deleted,
        0
    );
    drop(unacked);
}
