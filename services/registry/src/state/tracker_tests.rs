//! What the tracker makes of heartbeats, and what it writes down.

use halcyon_domain::{
    assignment::{AssignedVersion, TaskStatus},
    id::{InstanceId, OrganizationId},
    lifecycle::{DatasourceStatus, DesiredState, Reason, RuntimeStatus},
};
use serde_json::json;

use super::*;

fn desired() -> DesiredDatasource {
    DesiredDatasource {
        datasource: DatasourceId::generate(),
        organization: OrganizationId::generate(),
        connector: "http_webhook".to_owned(),
        pull: false,
        shared: false,
        status: DatasourceStatus::Active,
        desired: DesiredState::Running,
        generation: 1,
        wanted: Some(AssignedVersion {
            number: 1,
            config: json!({}),
        }),
        last_good: None,
        accepted: 0,
        secrets_revision: 0,
        backlog_full: false,
        secret_fault: None,
        backfill: None,
    }
}

fn heartbeat(worker: WorkerId, datasource: &DesiredDatasource, events: u64) -> Heartbeat {
    let task = TaskStatus {
        datasource: datasource.datasource,
        generation: 1,
        version: Some(1),
        status: RuntimeStatus::Running,
        reason: Reason::AsDesired,
        message: None,
        restarts: 0,
        next_attempt_at: None,
        last_event_at: None,
        drift: Vec::new(),
        schedule: None,
        backfill: None,
        metrics: DatasourceMetrics {
            events,
            ..DatasourceMetrics::default()
        },
    };
    Heartbeat {
        worker,
        instance: InstanceId::generate(),
        at: start(),
        tasks: vec![task],
        sources: Vec::new(),
        reached: 0,
        draining: false,
        partitions: Vec::new(),
    }
}

fn start() -> Timestamp {
    Timestamp::default()
}

fn patience() -> TimeDelta {
    TimeDelta::seconds(10)
}

fn deadline() -> TimeDelta {
    TimeDelta::seconds(60)
}

fn status(tracker: &Tracker) -> Vec<RuntimeStatus> {
    tracker.states().map(|state| state.status).collect()
}

#[test]
fn numbers_wait_for_their_turn_and_states_do_not() {
    let (datasource, worker) = (desired(), WorkerId::generate());
    let mut tracker = Tracker::new([], start(), patience(), deadline());
    tracker.hear(heartbeat(worker, &datasource, 1));
    tracker.refresh([&datasource].into_iter(), start());
    assert!(tracker.has_news());
    let rows = tracker.unwritten(false);
    assert_eq!((rows.len(), rows[0].happenings.len()), (1, 3));
    tracker.written(rows);

    tracker.hear(heartbeat(worker, &datasource, 2));
    tracker.refresh([&datasource].into_iter(), start());
    assert!(!tracker.has_news() && tracker.unwritten(false).is_empty());
    let rows = tracker.unwritten(true);
    assert_eq!((rows.len(), rows[0].metrics.events), (1, 2));
    tracker.written(rows);
    assert!(tracker.unwritten(true).is_empty());
}

#[test]
fn a_backlog_is_full_until_it_has_room_again() {
    let (datasource, worker) = (desired(), WorkerId::generate());
    let mut tracker = Tracker::new([], start(), patience(), deadline());
    let mut full = |parked| {
        let mut heard = heartbeat(worker, &datasource, 1);
        heard.tasks[0].metrics.parked = parked;
        tracker.hear(heard);
        tracker.refresh([&datasource].into_iter(), start());
        tracker.backlog_full(datasource.datasource)
    };
    assert!(!full(BACKLOG_FULL - 1) && full(BACKLOG_FULL) && full(BACKLOG_ROOM));
    assert!(!full(BACKLOG_ROOM - 1) && !full(BACKLOG_ROOM));
    let metrics = DatasourceMetrics {
        parked: BACKLOG_ROOM,
        ..DatasourceMetrics::default()
    };
    let stored = [(datasource.datasource, DatasourceState::default(), metrics)];
    let next = Tracker::new(stored, start(), patience(), deadline());
    assert!(
        next.backlog_full(datasource.datasource),
        "a new leader opens nothing by mistake"
    );
}

#[test]
fn a_short_silence_is_no_news_and_a_lost_worker_is() {
    let (datasource, worker) = (desired(), WorkerId::generate());
    let mut tracker = Tracker::new([], start(), patience(), deadline());
    tracker.hear(heartbeat(worker, &datasource, 1));
    tracker.refresh([&datasource].into_iter(), start());
    tracker.retain_workers(|_| false);
    tracker.refresh([&datasource].into_iter(), start() + TimeDelta::seconds(1));
    assert_eq!(status(&tracker), [RuntimeStatus::Running]);
    tracker.refresh([&datasource].into_iter(), start() + SILENCE);
    assert_eq!(status(&tracker), [RuntimeStatus::Starting]);
}

#[test]
fn a_new_leader_waits_for_workers_it_has_not_heard_yet() {
    let (datasource, worker) = (desired(), WorkerId::generate());
    let state = DatasourceState {
        status: RuntimeStatus::Running,
        worker: Some(worker),
        observed_generation: 1,
        ..DatasourceState::default()
    };
    let stored = [(datasource.datasource, state, DatasourceMetrics::default())];
    let mut tracker = Tracker::new(stored, start(), patience(), deadline());
    tracker.refresh([&datasource].into_iter(), start() + TimeDelta::seconds(9));
    assert!(!tracker.has_news());
    tracker.refresh([&datasource].into_iter(), start() + patience());
    assert_eq!(status(&tracker), [RuntimeStatus::Starting]);
}

#[test]
fn what_happened_during_a_write_is_written_next() {
    let (datasource, worker) = (desired(), WorkerId::generate());
    let mut tracker = Tracker::new([], start(), patience(), deadline());
    tracker.hear(heartbeat(worker, &datasource, 1));
    tracker.refresh([&datasource].into_iter(), start());
    let rows = tracker.unwritten(false);
    tracker.retain_workers(|_| false);
    tracker.refresh([&datasource].into_iter(), start() + SILENCE);
    tracker.written(rows);
    assert!(tracker.has_news());
    assert_eq!(tracker.unwritten(false)[0].happenings.len(), 1);
}

#[test]
fn a_start_that_takes_too_long_is_an_error_and_a_new_command_is_a_new_start() {
    let mut datasource = desired();
    let mut tracker = Tracker::new([], start(), patience(), deadline());
    let at = |seconds| start() + TimeDelta::seconds(seconds);
    tracker.refresh([&datasource].into_iter(), at(10));
    tracker.refresh([&datasource].into_iter(), at(69));
    assert_eq!(status(&tracker), [RuntimeStatus::Init]);
    tracker.refresh([&datasource].into_iter(), at(70));
    assert_eq!(status(&tracker), [RuntimeStatus::Error]);
    tracker.refresh([&datasource].into_iter(), at(100));
    assert_eq!(status(&tracker), [RuntimeStatus::Error]);
    datasource.generation += 1;
    tracker.refresh([&datasource].into_iter(), at(101));
    assert_eq!(status(&tracker), [RuntimeStatus::Starting]);
    let worker = WorkerId::generate();
    tracker.hear(heartbeat(worker, &datasource, 1));
    tracker.refresh([&datasource].into_iter(), at(102));
    assert_eq!(status(&tracker), [RuntimeStatus::Running]);
}
