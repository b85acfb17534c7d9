//! The lane of replays: its own pace, beside live events, and what becomes of it when the datasource is stopped or the
//! worker dies.

use halcyon_domain::{
    event::{IngestEvent, Replay, ReplayMark},
    id::{DatasourceId, ReplayId},
    lifecycle::DesiredState,
    partition::partition_of,
};

use super::support::{PARTITIONS, Rig, event, push, version};

fn replayed(datasource: DatasourceId, id: &str, payload: &str, records: &[u32]) -> IngestEvent {
    let mut event = event(datasource, id, payload);
    event.attempt = 1;
    event.replay = Some(Replay {
        mark: ReplayMark {
            id: ReplayId::generate(),
            trace_id: None,
        },
        records: records.to_vec(),
        cut: ".".to_owned(),
    });
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_do_not_wait_for_replays_and_only_failed_records_are_mapped() {
    let rig = Rig::new().await.with(|settings| settings.replays_per_second = 1);
    let worker = rig.worker().await;
    let assignment = push(version(3, "t"), 1);
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    let datasource = assignment.datasource;
    let partition = partition_of(datasource, 0, PARTITIONS);
    let two = r#"[{"id": "a"}, {"id": "b"}, {"id": "c"}]"#;
    let replays: Vec<_> = (0..200)
        .map(|n| replayed(datasource, &format!("again-{n}"), two, &[1]))
        .collect();
    rig.bus
        .replay(partition, datasource, &replays, None)
        .await
        .unwrap();
    // At one in a second they take minutes; live ones are through in the meantime.
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    rig.accept_many(datasource, 0..200).await;
    let live = format!("{datasource}-");
    loop {
        let known = outcomes.events().len();
        let seen = outcomes.until(known + 1).await;
        let done = seen
            .iter()
            .filter(|outcome| outcome.event.as_str().starts_with(&live));
        if done.count() == 200 {
            break;
        }
    }
    let again: Vec<_> = outcomes
        .seen
        .iter()
        .filter(|outcome| outcome.replay.is_some())
        .collect();
    assert!(!again.is_empty() && again.len() < 200, "{}", again.len());
    for outcome in again {
        let indexes: Vec<_> = outcome.records.iter().map(|record| record.index).collect();
        assert_eq!((outcome.attempt, indexes), (1, vec![1]));
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_wait_for_a_stopped_datasource_and_outlive_a_worker() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(version(3, "t"), 1);
    assignment.desired = DesiredState::Stopped;
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    let datasource = assignment.datasource;
    let partition = partition_of(datasource, 0, PARTITIONS);
    let one = [replayed(datasource, "again", r#"{"id": "a"}"#, &[])];
    rig.bus.replay(partition, datasource, &one, None).await.unwrap();
    rig.told(datasource, |status| status.generation == 1).await;
    worker.kill();
    let next = rig.worker().await;
    assignment.desired = DesiredState::Running;
    assignment.generation = 2;
    rig.assign(&assignment).await;
    rig.hold(Some(next.id)).await;
    let mut outcomes = rig.outcomes();
    let seen = outcomes.until(1).await;
    assert_eq!(
        seen[0].replay,
        one[0].replay.as_ref().map(|replay| replay.mark.clone())
    );
    halcyon_tests::wait::eventually(super::support::SOON, || async {
        rig.bus.replaying(partition).await.unwrap().is_empty()
    })
    .await
    .unwrap();
    next.stop().await;
}
