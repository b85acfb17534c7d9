//! Records that are not what a version expects: each policy, for feeds that are pushed and for sources.

use halcyon_domain::{
    assignment::{AssignedVersion, Instance},
    lifecycle::{Reason, RuntimeStatus},
};
use serde_json::{Value, json};

use super::support::{Rig, Worker, mapping, push, version};

fn expecting(number: u32, policy: &str, expected: Value) -> AssignedVersion {
    let mut version = version(number, "t");
    version.config["schema"] = json!({"drift": policy, "expected": expected});
    version
}

fn id_only() -> Value {
    json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_counts_and_all_goes_on() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = push(expecting(1, "warn", id_only()), 1);
    let ignoring = push(expecting(1, "ignore", id_only()), 1);
    rig.assign(&assignment).await;
    rig.assign(&ignoring).await;
    rig.hold(Some(worker.id)).await;
    for datasource in [assignment.datasource, ignoring.datasource] {
        rig.accept(datasource, "one", r#"{"id": 1}"#).await;
        rig.accept(datasource, "two", r#"{"id": "2", "more": true}"#)
            .await;
        rig.accept(datasource, "three", r#"{"id": 3, "more": false}"#)
            .await;
    }
    rig.outcomes().until(3).await;
    let status = rig
        .told(assignment.datasource, |status| {
            status.drift.len() == 2 && status.metrics.events == 3
        })
        .await;
    assert_eq!(
        (status.status, status.reason),
        (RuntimeStatus::Running, Reason::AsDesired)
    );
    let told: Vec<_> = status
        .drift
        .iter()
        .map(|count| (count.drift.to_string(), count.count))
        .collect();
    assert_eq!(
        told,
        [
            ("field `/more` (boolean) is new".to_owned(), 2),
            ("field `/id` is string, which is not expected".to_owned(), 1)
        ]
    );
    let quiet = rig
        .told(ignoring.datasource, |status| status.metrics.events == 3)
        .await;
    assert!(quiet.drift.is_empty(), "{quiet:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_stops_before_the_record_and_goes_on_when_it_is_accepted() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(expecting(1, "stop", id_only()), 1);
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    let datasource = assignment.datasource;
    rig.accept(datasource, "one", r#"{"id": 1}"#).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    rig.accept(datasource, "two", r#"{"id": 2, "more": true}"#).await;
    let status = rig
        .told(datasource, |status| status.reason == Reason::SchemaDrift)
        .await;
    assert_eq!(status.status, RuntimeStatus::Error);
    assert!(status.message.unwrap().contains("field `/more` (boolean) is new"));
    rig.accept(datasource, "three", r#"{"id": 3}"#).await;
    rig.told(datasource, |status| status.metrics.parked == 2).await;
    // A restart accepts nothing: it stops at the same record.
    assignment.generation = 2;
    rig.assign(&assignment).await;
    rig.told(datasource, |status| {
        status.generation == 2 && status.reason == Reason::SchemaDrift && status.metrics.parked == 2
    })
    .await;
    assignment.generation = 3;
    assignment.accepted = 3;
    rig.assign(&assignment).await;
    outcomes.until(3).await;
    let ids: Vec<_> = outcomes
        .seen
        .iter()
        .map(|outcome| outcome.event.as_str())
        .collect();
    assert_eq!(ids, ["one", "two", "three"], "nothing was lost, and in its order");
    rig.accept(datasource, "four", r#"{"id": 4, "more": false}"#)
        .await;
    outcomes.until(4).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_goes_on_when_what_comes_is_published_as_expected() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(expecting(1, "stop", id_only()), 1);
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    let datasource = assignment.datasource;
    rig.accept(datasource, "one", r#"{"id": "1"}"#).await;
    rig.told(datasource, |status| status.reason == Reason::SchemaDrift)
        .await;
    assignment.generation = 2;
    assignment.wanted = expecting(2, "stop", json!({"properties": {"id": {"type": "string"}}}));
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    assert_eq!(outcomes.seen[0].version, 2);
    rig.told(datasource, |status| status.status == RuntimeStatus::Running)
        .await;
    worker.stop().await;
}

fn source(worker: &Worker, config: Value) -> halcyon_domain::assignment::Assignment {
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
async fn a_source_stops_without_an_ack_and_reads_the_batch_again() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let config = json!({
        "connection": {"records_per_second": 100.0, "total": 20, "seed": 1},
        "mapping": mapping("t"),
        "schema": {"drift": "stop", "expected": {"type": "object", "required": ["absent"]}},
    });
    let mut assignment = source(&worker, config);
    rig.assign(&assignment).await;
    let datasource = assignment.datasource;
    let status = rig
        .told(datasource, |status| status.reason == Reason::SchemaDrift)
        .await;
    assert_eq!((status.status, status.metrics.events), (RuntimeStatus::Error, 0));
    assert_eq!(status.restarts, 0, "it waits for somebody");
    assignment.generation = 2;
    assignment.accepted = 2;
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(20).await;
    assert_eq!(outcomes.seen.len(), 20, "each once");
    worker.stop().await;
}
