//! Leases: one holder at a time, and an end for those who do not renew.

use std::time::Duration;

use serde_json::json;

use super::support::{connect, eventually, server, soon};
use crate::{Bucket, Error, LeaseRecord, Service, subjects::BucketName};

fn record(holder: &str) -> LeaseRecord {
    LeaseRecord {
        holder: holder.to_owned(),
        session: 1,
        info: json!({"pool": "default"}),
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_and_runs_out_again_and_again() {
    let (_nats, bus) = server().await;
    let leases = bus.leases(Duration::from_secs(2));
    // The second round begins on the mark that the first lease left behind.
    for round in ["a", "b"] {
        let mut lease = leases.acquire("worker.1", record(round)).await.unwrap().unwrap();
        assert!(
            leases
                .acquire("worker.1", record("other"))
                .await
                .unwrap()
                .is_none()
        );
        leases.renew(&mut lease).await.unwrap();
        let watch = leases.watch();
        soon(watch.ready()).await;
        assert_eq!(watch.get("worker.1").unwrap().value, record(round));
        eventually(|| async { watch.is_empty() }).await;
        assert!(matches!(leases.renew(&mut lease).await, Err(Error::Conflict)));
    }
}

#[tokio::test]
async fn a_released_lease_is_free_at_once() {
    let (_nats, bus) = server().await;
    let leases = bus.leases(Duration::from_secs(30));
    let lease = leases.acquire("k", record("a")).await.unwrap().unwrap();
    leases.release(lease).await.unwrap();
    assert!(leases.acquire("k", record("b")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_holder_renews_and_the_next_in_line_takes_over() {
    let (nats, bus) = server().await;
    let other = connect(&nats, Service::Registry).await;
    let first = bus.leases(Duration::from_secs(2)).hold("leader", record("first"));
    soon(first.held()).await;
    let second = other
        .leases(Duration::from_secs(2))
        .hold("leader", record("second"));
    let watch = bus.leases(Duration::from_secs(2)).watch();
    soon(watch.ready()).await;
    let revision = watch.get("leader").unwrap().revision;
    // Renewed beyond its time to live.
    eventually(|| async {
        watch
            .get("leader")
            .is_some_and(|entry| entry.revision > revision + 4)
    })
    .await;
    assert!(first.is_held() && !second.is_held());
    first.set_info(json!({"draining": true}));
    eventually(|| async {
        watch
            .get("leader")
            .is_some_and(|entry| entry.value.info["draining"] == true)
    })
    .await;
    first.release().await;
    soon(second.held()).await;
    eventually(|| async {
        watch
            .get("leader")
            .is_some_and(|entry| entry.value.holder == "second")
    })
    .await;
}

#[tokio::test]
async fn a_holder_that_cannot_renew_knows_it_before_the_lease_runs_out() {
    let (mut nats, bus) = server().await;
    let holder = bus.leases(Duration::from_secs(3)).hold("leader", record("a"));
    soon(holder.held()).await;
    nats.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(3), holder.lost())
        .await
        .unwrap();
    assert!(!holder.is_held());
    nats.restart().await.unwrap();
    soon(holder.held()).await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_costs_no_lease() {
    let (_nats, bus) = server().await;
    let ttl = Duration::from_secs(2);
    let leases = bus.leases(ttl);
    let bucket = Bucket::<LeaseRecord>::new(&bus, BucketName::Leases, "");
    let holder = leases.hold("renewed", record("a"));
    soon(holder.held()).await;
    bucket.put_with_ttl("renewed", &record("a"), ttl).await.unwrap();
    assert!(
        tokio::time::timeout(2 * ttl, holder.lost()).await.is_err(),
        "the lease is still this holder's"
    );
    // The first one, as well; and what is another's stays so.
    let long = Duration::from_secs(60);
    bucket.put_with_ttl("first", &record("a"), long).await.unwrap();
    soon(bus.leases(long).hold("first", record("a")).held()).await;
    bucket.put_with_ttl("others", &record("b"), long).await.unwrap();
    let waiting = bus.leases(long).hold("others", record("a"));
    assert!(
        tokio::time::timeout(Duration::from_millis(500), waiting.held())
            .await
            .is_err()
    );
}
