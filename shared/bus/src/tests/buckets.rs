//! Buckets, mirrors, checkpoints, instances.

use std::time::Duration;

use halcyon_domain::{
    assignment::PartitionAssignment,
    id::{DatasourceId, InstanceId, WorkerId},
};
use serde_json::json;

use super::support::{eventually, now, server, soon};
use crate::{Error, InstanceKey, Service};

fn partition(partition: u16, epoch: u64) -> PartitionAssignment {
    PartitionAssignment {
        partition,
        worker: Some(WorkerId::generate()),
        epoch,
    }
}

#[tokio::test]
async fn a_key_is_written_by_compare_and_set() {
    let (_nats, bus) = server().await;
    let bucket = bus.partition_assignments();
    assert_eq!(bucket.get("1").await.unwrap(), None);
    let first = partition(1, 1);
    let revision = bucket.create("1", &first, None).await.unwrap();
    assert!(matches!(
        bucket.create("1", &first, None).await,
        Err(Error::Conflict)
    ));
    let second = partition(1, 2);
    let newer = bucket.update("1", &second, revision).await.unwrap();
    assert!(matches!(
        bucket.update("1", &first, revision).await,
        Err(Error::Conflict)
    ));
    assert!(matches!(
        bucket.delete("1", Some(revision)).await,
        Err(Error::Conflict)
    ));
    let entry = bucket.get("1").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (second, newer));
    bucket.delete("1", Some(newer)).await.unwrap();
    assert_eq!(bucket.get("1").await.unwrap(), None);
    // A deleted key can be made again.
    bucket.create("1", &first, None).await.unwrap();
    assert!(matches!(bucket.get("a b").await, Err(Error::Setup(_))));
}

#[tokio::test]
async fn entries_are_those_of_the_prefix_that_are_there() {
    let (_nats, bus) = server().await;
    let bucket = bus.partition_assignments();
    assert!(bucket.entries().await.unwrap().is_empty());
    for n in 0..300_u16 {
        bucket.put(&n.to_string(), &partition(n, 1)).await.unwrap();
    }
    bucket.delete("7", None).await.unwrap();
    let entries = bucket.entries().await.unwrap();
    assert_eq!(entries.len(), 299);
    assert!(
        entries
            .iter()
            .all(|(key, entry)| *key == entry.value.partition.to_string())
    );
    assert!(bus.assignments().entries().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_mirror_follows_the_bucket() {
    let (_nats, bus) = server().await;
    let bucket = bus.partition_assignments();
    bucket.put("1", &partition(1, 1)).await.unwrap();
    let mut mirror = bucket.mirror();
    soon(mirror.ready()).await;
    assert_eq!(mirror.get("1").unwrap().value.epoch, 1);
    mirror.changed().await;
    bucket.put("2", &partition(2, 5)).await.unwrap();
    soon(mirror.changed()).await;
    assert_eq!(mirror.get("2").unwrap().value.epoch, 5);
    bucket.delete("1", None).await.unwrap();
    soon(mirror.changed()).await;
    assert_eq!(mirror.snapshot().len(), 1);
    let other = bus.assignments().mirror();
    soon(other.ready()).await;
    assert!(other.is_empty());
}

#[tokio::test]
async fn a_ticket_works_once_and_runs_out() {
    let (_nats, bus) = server().await;
    let tickets = bus.tickets::<serde_json::Value>();
    tickets
        .put_with_ttl("t", &json!({"a": 1}), Duration::from_secs(60))
        .await
        .unwrap();
    let read = tickets.get("t").await.unwrap().unwrap();
    assert!(tickets.delete("t", Some(read.revision)).await.is_ok());
    assert!(matches!(
        tickets.delete("t", Some(read.revision)).await,
        Err(Error::Conflict)
    ));
    tickets
        .put_with_ttl("u", &json!(1), Duration::from_secs(1))
        .await
        .unwrap();
    eventually(|| async { tickets.get("u").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn an_older_epoch_cannot_write_a_checkpoint() {
    let (_nats, bus) = server().await;
    let (checkpoints, datasource) = (bus.checkpoints(), DatasourceId::generate());
    let (mut old, position) = checkpoints.claim(datasource, 0, 1, "w", now()).await.unwrap();
    assert!(position.is_null());
    old.save(json!({"page": 1}), now()).await.unwrap();
    let (mut new, position) = checkpoints.claim(datasource, 0, 2, "w", now()).await.unwrap();
    assert_eq!(position, json!({"page": 1}));
    assert!(matches!(
        old.save(json!({"page": 2}), now()).await,
        Err(Error::Conflict)
    ));
    assert!(matches!(
        checkpoints.claim(datasource, 0, 1, "w", now()).await,
        Err(Error::Conflict)
    ));
    new.save(json!({"page": 3}), now()).await.unwrap();
    let stored = checkpoints.load(datasource).await.unwrap().unwrap();
    assert_eq!((stored.epoch, stored.position), (2, json!({"page": 3})));
}

#[tokio::test]
async fn an_instance_is_known_while_it_lives() {
    let (_nats, bus) = server().await;
    let (instance, key) = (InstanceId::generate(), InstanceKey::generate());
    let registration = bus.register_instance(instance, &key).await.unwrap();
    let found = bus.instance_key(Service::Registry, instance).await.unwrap();
    assert_eq!(found.as_deref(), Some(key.public_key()));
    assert_eq!(bus.instance_key(Service::Worker, instance).await.unwrap(), None);
    drop(registration);
    eventually(|| async {
        bus.instance_key(Service::Registry, instance)
            .await
            .unwrap()
            .is_none()
    })
    .await;
}

#[tokio::test]
async fn a_claim_is_not_refused_because_the_holder_before_still_writes() {
    let (_nats, bus) = server().await;
    let (checkpoints, datasource) = (bus.checkpoints(), DatasourceId::generate());
    let (mut old, _) = checkpoints.claim(datasource, 0, 1, "w", now()).await.unwrap();
    let writing = tokio::spawn(async move {
        let mut count = 0_u64;
        while old.save(json!(count), now()).await.is_ok() {
            count += 1;
            // The time that the next batch takes.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        count
    });
    checkpoints.claim(datasource, 0, 2, "w", now()).await.unwrap();
    // What it has written last is what the next one goes on from.
    let written = writing.await.unwrap();
    let stored = checkpoints.load(datasource).await.unwrap().unwrap();
    let expected = written.checked_sub(1).map_or(json!(null), |last| json!(last));
    assert_eq!((stored.epoch, stored.position), (2, expected));
}
