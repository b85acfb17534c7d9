//! What cannot be processed now waits aside, and nothing overtakes it.

use halcyon_domain::{
    event::EventOutcome,
    id::DatasourceId,
    lifecycle::{DesiredState, RuntimeStatus},
    partition::partition_of,
};
use serde_json::json;

use super::support::{PARTITIONS, Rig, event, push, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_datasource_parks_and_goes_on_when_it_starts() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    assignment.desired = DesiredState::Stopped;
    rig.assign(&assignment).await;
    let mut other = push(version(1, "t"), 1);
    while partition_of(other.datasource, 0, PARTITIONS) != partition_of(datasource, 0, PARTITIONS) {
        other.datasource = DatasourceId::generate();
    }
    rig.assign(&other).await;
    rig.hold(Some(worker.id)).await;
    let stopped = rig
        .told(datasource, |status| status.status == RuntimeStatus::Stopped)
        .await;
    assert_eq!(stopped.version, None);
    for id in 0..20 {
        rig.accept_many(datasource, id..id + 1).await;
    }
    rig.accept_many(other.datasource, 0..20).await;
    let mut outcomes = rig.outcomes();
    let through = outcomes.until(20).await;
    assert!(
        through
            .iter()
            .all(|outcome| outcome.datasource == other.datasource),
        "the other one is not held up"
    );
    rig.told(datasource, |status| status.metrics.parked == 20).await;

    assignment.desired = DesiredState::Running;
    assignment.generation = 2;
    rig.assign(&assignment).await;
    outcomes.until(40).await;
    rig.told(datasource, |status| status.metrics.parked == 0).await;
    rig.accept_many(datasource, 20..21).await;
    outcomes.until(41).await;
    let mine = |outcome: &&EventOutcome| outcome.datasource == datasource;
    let order = outcomes
        .seen
        .iter()
        .filter(mine)
        .map(|outcome| outcome.event.to_string());
    let accepted: Vec<_> = (0..=20).map(|id| format!("{datasource}-{id}")).collect();
    assert_eq!(order.collect::<Vec<_>>(), accepted, "nothing is overtaken");
    assert_eq!(
        rig.bus
            .parked_datasources(partition_of(datasource, 0, PARTITIONS))
            .await
            .unwrap(),
        []
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_outlives_its_worker() {
    let rig = Rig::new().await;
    let first = rig.worker().await;
    let mut assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    assignment.desired = DesiredState::Stopped;
    rig.assign(&assignment).await;
    rig.hold(Some(first.id)).await;
    rig.accept_many(datasource, 0..5).await;
    rig.told(datasource, |status| status.metrics.parked == 5).await;
    first.stop().await;
    let second = rig.worker().await;
    rig.hold(Some(second.id)).await;
    rig.told(datasource, |status| status.metrics.parked == 5).await;
    assignment.desired = DesiredState::Running;
    assignment.generation = 2;
    rig.assign(&assignment).await;
    rig.outcomes().until(5).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_datasource_keeps_its_pace_and_loses_nothing() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut wanted = version(1, "t");
    wanted.config["runtime"] = json!({"throttle": {"records_per_second": 50}});
    let assignment = push(wanted, 1);
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    rig.told(datasource, |status| status.status == RuntimeStatus::Running)
        .await;
    let began = std::time::Instant::now();
    rig.accept_many(datasource, 0..150).await;
    rig.outcomes().until(150).await;
    // 50 at once, then 50 a second.
    assert!(
        began.elapsed() >= std::time::Duration::from_millis(1_900),
        "{:?}",
        began.elapsed()
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_parked_behind_the_workers_back_is_found() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    rig.accept_many(datasource, 0..1).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    // As the worker before it may do with what it has under way while the partition is handed over.
    let late = event(datasource, "late", "{\"id\": 1}");
    rig.bus
        .park(partition_of(datasource, 0, PARTITIONS), &late)
        .await
        .unwrap();
    outcomes.until(2).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_lowered_parallelism_are_processed_where_they_are() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    // They were accepted when the datasource had more slots, and its only partition now is another worker's.
    let other = 1 - partition_of(datasource, 0, PARTITIONS);
    rig.assign(&assignment).await;
    rig.hold_one(other, Some(worker.id)).await;
    for id in 0..3 {
        let event = event(datasource, &format!("{id}"), "{\"id\": 1}");
        rig.publishers.submit(other, &event, None).await.unwrap();
    }
    let mut outcomes = rig.outcomes();
    let through = outcomes.until(3).await;
    assert!(through.iter().all(|outcome| outcome.version == 1), "{through:?}");
    worker.stop().await;
}
