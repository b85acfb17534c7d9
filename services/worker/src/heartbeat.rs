//! What the worker says of itself: each second, and at once when a datasource's state has changed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use halcyon_domain::{
    assignment::Heartbeat,
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

/// Tells until it is dropped.
pub(crate) async fn tell(board: Arc<Board>, worker: WorkerId, instance: InstanceId, metrics: Metrics) {
    let mut scripts = Counts::default();
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
        let heartbeat = heartbeat(&board, worker, instance);
        if let Err(error) = board.bus.publish_heartbeat(&heartbeat).await {
            tracing::debug!(error = %error, "a heartbeat was not published");
        }
    }
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
