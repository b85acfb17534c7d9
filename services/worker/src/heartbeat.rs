//! What the worker says of itself: each second, and at once when a datasource's state has changed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use halcyon_bus::{Bus, Error};
use halcyon_domain::{
    assignment::{Heartbeat, TaskStatus},
    event::Verdict,
    id::{InstanceId, WorkerId},
    lifecycle::RuntimeStatus,
};
use halcyon_infra::{Metric, Metrics};
use halcyon_sandbox::{Counts, Pool};
use tokio::time::MissedTickBehavior;

use crate::{
    board::{Board, Holds},
    feed::{Feed, Snapshot},
};

const INTERVAL: Duration = Duration::from_secs(1);
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes of differences that a heartbeat tells. What there is no room for is told by a later one.
const DRIFT_BYTES: usize = 1_024 * 1_024;
/// What of a message is kept in a heartbeat that was too large.
const SHORT_MESSAGE: usize = 200;

/// Tells until it is dropped.
pub(crate) async fn tell(board: Arc<Board>, worker: WorkerId, instance: InstanceId, metrics: Metrics) {
    let mut scripts = Counts::default();
    let mut next_drift = 0;
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {
                count(&board, &metrics);
                scripts = count_scripts(&board, scripts, &metrics);
            }
            () = board.news.notified() => tokio::time::sleep(GATHER).await,
        }
        let mut heartbeat = heartbeat(&board, worker, instance);
        next_drift = bound_drift(&mut heartbeat.tasks, next_drift, DRIFT_BYTES);
        publish(&board.bus, heartbeat).await;
    }
}

/// Publishes a heartbeat; one that does not fit a message without its details, so that the states get through.
async fn publish(bus: &Bus, mut heartbeat: Heartbeat) {
    let mut result = bus.publish_heartbeat(&heartbeat).await;
    if let Err(error @ Error::TooLarge { .. }) = &result {
        tracing::error!(error = %error, "a heartbeat is too large; it is sent without details");
        for task in &mut heartbeat.tasks {
            task.drift.clear();
            if let Some(message) = &mut task.message {
                message.truncate(message.floor_char_boundary(SHORT_MESSAGE));
            }
        }
        result = bus.publish_heartbeat(&heartbeat).await;
    }
    match result {
        Ok(()) => {}
        Err(error @ Error::TooLarge { .. }) => {
            tracing::error!(error = %error, "a heartbeat is too large and was not published");
        }
        Err(error) => tracing::debug!(error = %error, "a heartbeat was not published"),
    }
}

/// Leaves of the differences what there is `room` for, from the task at `first` on. Gives the first that had none.
fn bound_drift(tasks: &mut [TaskStatus], first: usize, room: usize) -> usize {
    let count = tasks.len().max(1);
    let (mut left, mut next) = (room, None);
    for place in (0..tasks.len()).map(|place| (first + place) % count) {
        let Some(task) = tasks.get_mut(place).filter(|task| !task.drift.is_empty()) else {
            continue;
        };
        let bytes = serde_json::to_vec(&task.drift).map_or(usize::MAX, |bytes| bytes.len());
        match left.checked_sub(bytes).filter(|_| next.is_none()) {
            Some(less) => left = less,
            None => {
                task.drift.clear();
                next.get_or_insert(place);
            }
        }
    }
    next.unwrap_or(first)
}

/// The datasources that this worker answers for: sources it runs, and feeds whose events come in on its partitions.
fn feeds(board: &Board) -> Vec<Arc<Feed>> {
    let mut feeds = board.sources();
    feeds.extend(board.feeds().into_iter().filter(|feed| feed.push));
    feeds
}

pub(crate) fn heartbeat(board: &Board, worker: WorkerId, instance: InstanceId) -> Heartbeat {
    let parked = board.parked();
    let parked = |feed: &Feed| parked.get(&feed.id).copied().unwrap_or(0);
    let tasks = feeds(board)
        .iter()
        .map(|feed| feed.status(parked(feed)))
        .collect();
    let Holds {
        sources,
        reached,
        draining,
    } = board.holds();
    Heartbeat {
        worker,
        instance,
        at: board.clock.now(),
        tasks,
        sources,
        reached,
        draining,
        partitions: board.partition_loads(),
    }
}

/// Brings the metrics up to date, once a second rather than with each event.
fn count(board: &Board, metrics: &Metrics) {
    let held = u16::try_from(board.partitions.load(Ordering::Relaxed)).unwrap_or(u16::MAX);
    metrics.set(Metric::WorkerPartitions, f64::from(held), &[]);
    board.sample_meters();
    let parked = board.parked();
    let mut states = [0_u32; RuntimeStatus::ALL.len()];
    for feed in feeds(board) {
        if feed.backfill.is_some() {
            count_backfill(&feed, metrics);
            continue;
        }
        if let Some(place) = RuntimeStatus::ALL
            .iter()
            .position(|status| *status == feed.state().status)
            && let Some(count) = states.get_mut(place)
        {
            *count += 1;
        }
        count_feed(&feed, parked.get(&feed.id).copied().unwrap_or(0), metrics);
    }
    for (status, count) in RuntimeStatus::ALL.iter().zip(states) {
        metrics.set(
            Metric::WorkerTasks,
            f64::from(count),
            &[("status", status.as_str())],
        );
    }
}

/// Adds what the processes for scripts have done since `before`; gives what they have done by now.
fn count_scripts(board: &Board, before: Counts, metrics: &Metrics) -> Counts {
    let Some(now) = board.scripts.as_ref().map(Pool::counts) else {
        return before;
    };
    metrics.set(Metric::ScriptProcesses, now.processes as f64, &[]);
    metrics.add(Metric::ScriptProcessesStarted, now.started - before.started, &[]);
    metrics.add(Metric::ScriptRecords, now.records - before.records, &[]);
    metrics.add(Metric::ScriptsSuspended, now.suspended - before.suspended, &[]);
    let failures = [
        ("timeout", now.late - before.late),
        ("memory", now.memory - before.memory),
        ("crash", now.crashed - before.crashed),
    ];
    for (reason, count) in failures {
        metrics.add(Metric::ScriptFailures, count, &[("reason", reason)]);
    }
    now
}

fn count_feed(feed: &Feed, parked: u64, metrics: &Metrics) {
    let (before, now) = feed.stats.sample();
    let id = feed.id.to_string();
    let datasource = ("datasource", id.as_str());
    let since = |count: fn(&Snapshot) -> u64| count(&now) - before.as_ref().map_or(0, count);
    metrics.add(
        Metric::DatasourceEvents,
        since(|sample| sample.events),
        &[datasource],
    );
    count_verdicts(Metric::DatasourceRecords, &id, before.as_ref(), &now, metrics);
    count_runs(feed, &id, before.as_ref(), &now, metrics);
    metrics.add(
        Metric::DatasourceErrors,
        since(|sample| sample.errors),
        &[datasource, ("kind", "worker")],
    );
    metrics.add(
        Metric::DatasourceErrors,
        since(|sample| sample.dead_lettered),
        &[datasource, ("kind", "mapping")],
    );
    let numbers = feed.stats.metrics(parked);
    metrics.set(
        Metric::DatasourceIngestRate,
        numbers.events_per_second,
        &[datasource],
    );
    metrics.set(
        Metric::DatasourceLag,
        numbers.lag_ms as f64 / 1_000.0,
        &[datasource],
    );
    metrics.set(Metric::DatasourceParked, parked as f64, &[datasource]);
    if since(|sample| sample.events) > 0 {
        metrics.observe(Metric::MappingSeconds, numbers.mapping_us / 1e6, &[]);
    }
}

fn count_verdicts(metric: Metric, id: &str, before: Option<&Snapshot>, now: &Snapshot, metrics: &Metrics) {
    let since = |count: fn(&Snapshot) -> u64| count(now) - before.map_or(0, count);
    let verdicts = [
        (Verdict::Delivered, since(|sample| sample.delivered)),
        (Verdict::Filtered, since(|sample| sample.filtered)),
        (Verdict::DeadLettered, since(|sample| sample.dead_lettered)),
    ];
    for (verdict, count) in verdicts {
        metrics.add(
            metric,
            count,
            &[("datasource", id), ("verdict", verdict.as_str())],
        );
    }
}

/// A backfill's records are not mixed with the live ones.
fn count_backfill(feed: &Feed, metrics: &Metrics) {
    let (before, now) = feed.stats.sample();
    let id = feed.id.to_string();
    count_verdicts(Metric::BackfillRecords, &id, before.as_ref(), &now, metrics);
}

fn count_runs(feed: &Feed, id: &str, before: Option<&Snapshot>, now: &Snapshot, metrics: &Metrics) {
    if feed.state().schedule.is_none() {
        return;
    }
    let since = |count: fn(&Snapshot) -> u64| count(now) - before.map_or(0, count);
    for (result, count) in [
        ("done", since(|sample| sample.runs)),
        ("failed", since(|sample| sample.failed_runs)),
        ("missed", since(|sample| sample.missed_runs)),
    ] {
        metrics.add(
            Metric::DatasourceRuns,
            count,
            &[("datasource", id), ("result", result)],
        );
    }
    let last = feed.stats.last_run_seconds();
    metrics.set(Metric::DatasourceRunSeconds, last, &[("datasource", id)]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use halcyon_domain::{
        assignment::DriftCount,
        clock::Timestamp,
        id::DatasourceId,
        lifecycle::Reason,
        shape::{Drift, DriftKind},
    };

    use super::*;
    use crate::tests::{Rig, soon};

    fn task(drifts: usize) -> TaskStatus {
        let drift = |number: usize| DriftCount {
            drift: Drift {
                kind: DriftKind::Missing,
                path: format!("/{number:0255}"),
                found: None,
            },
            count: 1,
            of: 1,
        };
        TaskStatus {
            datasource: DatasourceId::generate(),
            generation: 1,
            version: Some(1),
            status: RuntimeStatus::Running,
            reason: Reason::AsDesired,
            message: None,
            restarts: 0,
            next_attempt_at: None,
            last_event_at: None,
            metrics: halcyon_domain::datasource::DatasourceMetrics::default(),
            drift: (0..drifts).map(drift).collect(),
            schedule: None,
            backfill: None,
        }
    }

    #[test]
    fn the_differences_of_all_are_told_in_turn() {
        let all: Vec<TaskStatus> = (0..7).map(|number| task(number % 3 * 10)).collect();
        let mut told = BTreeSet::new();
        let mut next = 0;
        for _ in 0..4 {
            let mut tasks = all.clone();
            next = bound_drift(&mut tasks, next, 8 * 1_024);
            assert!(serde_json::to_vec(&tasks).unwrap().len() < 12 * 1_024);
            told.extend(
                tasks
                    .iter()
                    .filter(|task| !task.drift.is_empty())
                    .map(|task| task.datasource),
            );
        }
        let with = all.iter().filter(|task| !task.drift.is_empty());
        assert_eq!(told, with.map(|task| task.datasource).collect());
        let mut tasks = all.clone();
        assert_eq!(bound_drift(&mut tasks, 9, DRIFT_BYTES), 9);
        assert_eq!(tasks, all);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_heartbeat_that_does_not_fit_a_message_goes_without_details() {
        let rig = Rig::new().await;
        let mut heard = rig.bus.heartbeats().await.unwrap();
        let mut talkative = task(1);
        talkative.message = Some("ä".repeat(rig.bus.max_payload()));
        let heartbeat = Heartbeat {
            worker: WorkerId::generate(),
            instance: InstanceId::generate(),
            at: Timestamp::default(),
            tasks: vec![talkative],
            sources: Vec::new(),
            reached: 3,
            draining: false,
            partitions: Vec::new(),
        };
        publish(&rig.bus, heartbeat).await;
        let came = soon(heard.next()).await.unwrap();
        assert_eq!(came.reached, 3);
        assert!(came.tasks[0].drift.is_empty());
        assert_eq!(came.tasks[0].message.as_ref().unwrap().len(), SHORT_MESSAGE);
    }
}
