//! Sources that the worker runs.

use halcyon_domain::{
    assignment::{AssignedVersion, Assignment, Instance},
    clock::{Clock, SystemClock},
    lifecycle::{DesiredState, Reason, RuntimeStatus},
};
use serde_json::json;

use super::support::{Rig, Worker, mapping, push, soon};

fn generator(worker: &Worker, total: u64, rate: f64) -> Assignment {
    let connection = json!({"records_per_second": rate, "total": total, "seed": 1});
    let config = json!({"connection": connection, "mapping": mapping("t"),
        "runtime": {"batch": {"max_records": 10, "max_wait": "20ms"}}});
    let mut assignment = push(AssignedVersion { number: 1, config }, 1);
    assignment.connector = "generator".to_owned();
    assignment.instances = vec![Instance {
        worker: Some(worker.id),
        session: 1,
        leaving: None,
        epoch: 1,
    }];
    assignment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_runs_stops_and_goes_on_where_it_was() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = generator(&worker, 60, 40.0);
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(20).await;
    assignment.desired = DesiredState::Stopped;
    assignment.generation = 2;
    rig.assign(&assignment).await;
    let stopped = rig
        .told(assignment.datasource, |status| status.generation == 2)
        .await;
    assert_eq!(
        (stopped.status, stopped.reason),
        (RuntimeStatus::Stopped, Reason::StoppedByUser)
    );
    assignment.desired = DesiredState::Running;
    assignment.generation = 3;
    assignment.wanted.number = 2;
    rig.assign(&assignment).await;
    outcomes.until(60).await;
    assert_eq!(outcomes.events().len(), 60);
    assert_eq!(outcomes.seen.last().unwrap().version, 2);
    let checkpoint = rig.bus.checkpoints();
    halcyon_tests::wait::eventually(super::support::SOON, || async {
        let saved = checkpoint.load(assignment.datasource).await.unwrap().unwrap();
        saved.position == json!({"sequence": 60})
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_is_swapped_without_a_new_source_and_a_broken_one_is_refused() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = generator(&worker, 100_000, 100.0);
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.metrics.events > 5)
        .await;
    assignment.generation = 2;
    assignment.wanted.number = 2;
    assignment.wanted.config["mapping"] = mapping("two");
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.version == Some(2))
        .await;
    assignment.generation = 3;
    assignment.wanted.number = 3;
    assignment.wanted.config["mapping"]["outputs"][0]["fields"]["title"] = json!("nope(");
    rig.assign(&assignment).await;
    let refused = rig
        .told(assignment.datasource, |status| status.generation == 3)
        .await;
    assert_eq!(
        (refused.status, refused.reason, refused.version),
        (RuntimeStatus::Running, Reason::VersionRejected, Some(2))
    );
    let before = refused.metrics.events;
    let still = rig
        .told(assignment.datasource, |status| {
            status.metrics.events > before + 20
        })
        .await;
    assert_eq!(still.restarts, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_epoch_fences_the_source() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = generator(&worker, 100_000, 100.0);
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.metrics.events > 5)
        .await;
    let (_writer, position) = rig
        .bus
        .checkpoints()
        .claim(assignment.datasource, 0, 2, "another", SystemClock.now())
        .await
        .unwrap();
    assert!(position["sequence"].as_u64().unwrap() > 0);
    // The old holder finds out at its next checkpoint and no longer speaks of the datasource.
    let mut heartbeats = rig.bus.heartbeats().await.unwrap();
    soon(async {
        while heartbeats
            .next()
            .await
            .unwrap()
            .tasks
            .iter()
            .any(|task| task.datasource == assignment.datasource)
        {}
    })
    .await;
    let saved = rig
        .bus
        .checkpoints()
        .load(assignment.datasource)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((saved.epoch, saved.position), (2, position));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_goes_on_after_nats_was_killed() {
    let mut rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = generator(&worker, 300, 150.0);
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(30).await;
    rig.restart_nats().await;
    outcomes.until(300).await;
    assert_eq!(outcomes.events().len(), 300);
    worker.stop().await;
}

/// What is wrong with the checkpoints here is wrong with any upstream: the source is tried less and less, says when it
/// is tried next, and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_again_and_again_is_probed_and_recovers() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = generator(&worker, 100_000, 50.0);
    assignment.wanted.config["runtime"]["retry"] =
        json!({"initial": "100ms", "max": "400ms", "max_attempts": 2});
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.metrics.events > 5)
        .await;
    rig.lose_checkpoints().await;
    let failed = rig
        .told(assignment.datasource, |status| {
            let message = status.message.as_deref().unwrap_or_default();
            message.contains("the circuit is open")
        })
        .await;
    assert_eq!(
        (failed.status, failed.reason),
        (RuntimeStatus::Error, Reason::SourceFailed)
    );
    assert!(failed.next_attempt_at.is_some() && failed.restarts >= 2);
    rig.bus.ensure_streams(1).await.unwrap();
    let before = failed.metrics.events;
    let again = rig
        .told(assignment.datasource, |status| status.metrics.events > before)
        .await;
    assert_eq!(
        (again.status, again.next_attempt_at),
        (RuntimeStatus::Running, None)
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_let_go_of_before_the_worker_says_so() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = generator(&worker, 100_000, 200.0);
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.metrics.events > 5)
        .await;
    assignment.instances = vec![Instance {
        worker: None,
        session: 0,
        leaving: Some(worker.id),
        epoch: 2,
    }];
    let mut heartbeats = rig.bus.heartbeats().await.unwrap();
    rig.assign(&assignment).await;
    let key = assignment.datasource.to_string();
    let written = rig.bus.assignments().get(&key).await.unwrap().unwrap().revision;
    soon(async {
        loop {
            let heartbeat = heartbeats.next().await.unwrap();
            if heartbeat.reached >= written && heartbeat.sources.is_empty() {
                return;
            }
        }
    })
    .await;
    let checkpoints = rig.bus.checkpoints();
    let place = checkpoints.load(assignment.datasource).await.unwrap();
    // Longer than several of its batches take.
    for _ in 0..2 {
        soon(heartbeats.next()).await.unwrap();
    }
    assert_eq!(
        checkpoints.load(assignment.datasource).await.unwrap(),
        place,
        "it writes after it has let go"
    );
    worker.stop().await;
}
