//! From what workers say of a datasource to its state: pure.

use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceEventKind, DatasourceMetrics, DatasourceState},
    lifecycle::{Reason, RuntimeStatus},
    schedule::ScheduleState,
};

use super::{Happening, Report};
use crate::reconcile::{DesiredDatasource, SecretFault};

/// A datasource's state after the workers' reports, and what is new in it for the history. `reports` are of
/// workers whose lease stands; none means that nobody holds the datasource. `missing` is what lacks for anybody to
/// hold it. `overdue` says that it has been on its way for longer than it may.
pub(super) fn observe(
    desired: &DesiredDatasource,
    before: &DatasourceState,
    reports: &[Report],
    missing: Option<&str>,
    overdue: bool,
) -> (DatasourceState, Vec<Happening>) {
    let mut state = facts(before, reports);
    state.schedule = runs(desired, before, reports);
    let judged = judge(desired, before, reports, missing);
    let (status, reason, message) = late(desired, judged, overdue);
    state.reason = reason;
    state.message = message;
    if reports.is_empty() && !desired.is_to_run() {
        // There is nobody who could reach it, and nothing to reach.
        state.observed_generation = desired.generation;
    }
    let mut happenings = Vec::new();
    let mut reached = before.status;
    for next in steps(before.status, status) {
        let Ok(advanced) = reached.advance_to(next) else {
            break;
        };
        happenings.push(change(reached, advanced, &state));
        reached = advanced;
    }
    state.status = reached;
    if state.status == RuntimeStatus::Running {
        state.last_good_version = state.version.or(before.last_good_version);
    }
    happenings.extend(version_happenings(desired, before, &state));
    let missed = |state: &DatasourceState| state.schedule.map_or(0, |runs| runs.missed_runs);
    if missed(&state) > missed(before) {
        let count = missed(&state) - missed(before);
        happenings.push(Happening {
            kind: DatasourceEventKind::RunMissed,
            version: state.version,
            message: format!("runs that did not begin at their time: {count}"),
        });
    }
    (state, happenings)
}

/// What the reports say beyond the status: several workers may hold partitions of one datasource.
fn facts(before: &DatasourceState, reports: &[Report]) -> DatasourceState {
    let tasks = || reports.iter().map(|report| &report.task);
    DatasourceState {
        status: before.status,
        observed_generation: tasks()
            .map(|task| task.generation)
            .min()
            .unwrap_or(before.observed_generation),
        version: tasks().filter_map(|task| task.version).min(),
        last_good_version: before.last_good_version,
        worker: reports.first().map(|report| report.worker),
        reason: before.reason,
        message: None,
        last_heartbeat: reports
            .iter()
            .map(|report| report.at)
            .max()
            .or(before.last_heartbeat),
        last_event_at: tasks()
            .filter_map(|task| task.last_event_at)
            .max()
            .max(before.last_event_at),
        restarts: if reports.is_empty() {
            before.restarts
        } else {
            tasks().map(|task| task.restarts).sum()
        },
        next_attempt_at: tasks().filter_map(|task| task.next_attempt_at).min(),
        schedule: before.schedule,
    }
}

/// The runs of all instances; what was known before until all of them are heard.
fn runs(desired: &DesiredDatasource, before: &DatasourceState, reports: &[Report]) -> Option<ScheduleState> {
    if reports.is_empty() || reports.len() < usize::from(desired.shares()) {
        return before.schedule;
    }
    let told = reports.iter().filter_map(|report| report.task.schedule);
    told.reduce(ScheduleState::together)
}

type Judgement = (RuntimeStatus, Reason, Option<String>);

fn judge(
    desired: &DesiredDatasource,
    before: &DatasourceState,
    reports: &[Report],
    missing: Option<&str>,
) -> Judgement {
    let unchanged = || (before.status, before.reason, before.message.clone());
    if desired.wanted.is_none() {
        return unchanged();
    }
    if !desired.is_to_run() {
        let reached = reports
            .iter()
            .all(|report| report.task.generation >= desired.generation);
        return if reached {
            (RuntimeStatus::Stopped, Reason::StoppedByUser, None)
        } else {
            unchanged()
        };
    }
    let Some(worst) = reports.iter().min_by_key(|report| rank(report.task.status)) else {
        let status = if before.status == RuntimeStatus::Init {
            RuntimeStatus::Init
        } else {
            RuntimeStatus::Starting
        };
        return (
            status,
            Reason::NoWorker,
            Some(missing.unwrap_or("no worker holds it").to_owned()),
        );
    };
    let task = &worst.task;
    let message = task.message.clone();
    // A worker that processes what was pushed needs no secret itself; what comes in cannot be checked without.
    match &desired.secret_fault {
        Some(SecretFault::Expired(name)) => {
            let message = format!("secret `{name}` has expired: write or rotate it");
            return (RuntimeStatus::Error, Reason::SecretExpired, Some(message));
        }
        // What runs goes on with the secrets that it has.
        Some(SecretFault::Unavailable { name, is_missed })
            if *is_missed || before.status != RuntimeStatus::Running =>
        {
            let message = format!("secret `{name}` cannot be had: the store of secrets does not answer");
            return (RuntimeStatus::Error, Reason::SecretsUnavailable, Some(message));
        }
        _ => {}
    }
    match task.status {
        // It has not heard of the start yet.
        RuntimeStatus::Stopped => unchanged(),
        // To the worker it is new; nothing goes back to `INIT`.
        RuntimeStatus::Init if before.status != RuntimeStatus::Init => {
            (RuntimeStatus::Starting, task.reason, message)
        }
        status => (status, task.reason, message),
    }
}

/// Whether a datasource is on its way to what is wanted of it, with nothing that would say why it takes so long.
pub(super) fn is_on_its_way(desired: &DesiredDatasource, state: &DatasourceState) -> bool {
    on_its_way(desired, state.status, state.reason)
}

fn on_its_way(desired: &DesiredDatasource, status: RuntimeStatus, reason: Reason) -> bool {
    if matches!(reason, Reason::StartTimedOut | Reason::StopTimedOut) {
        return true;
    }
    if desired.is_to_run() {
        matches!(status, RuntimeStatus::Init | RuntimeStatus::Starting)
    } else {
        !matches!(status, RuntimeStatus::Init | RuntimeStatus::Stopped)
    }
}

/// What takes longer than it may is an error, until it is done.
fn late(desired: &DesiredDatasource, judged: Judgement, overdue: bool) -> Judgement {
    let (status, reason, message) = judged;
    if !overdue || desired.wanted.is_none() || !on_its_way(desired, status, reason) {
        return (status, reason, message);
    }
    if !desired.is_to_run() {
        let message = "it has not stopped in time: a worker still has it".to_owned();
        return (RuntimeStatus::Error, Reason::StopTimedOut, Some(message));
    }
    // What was said first stays.
    let message = match (reason, message) {
        (Reason::StartTimedOut, Some(message)) => message,
        (_, Some(why)) => format!("it has not started in time: {why}"),
        (_, None) => "it has not started in time".to_owned(),
    };
    (RuntimeStatus::Error, Reason::StartTimedOut, Some(message))
}

/// The worst comes first.
const fn rank(status: RuntimeStatus) -> u8 {
    match status {
        RuntimeStatus::Error => 0,
        RuntimeStatus::Init => 1,
        RuntimeStatus::Starting => 2,
        RuntimeStatus::Stopped => 3,
        RuntimeStatus::Running => 4,
    }
}

/// The way from one status to another: where the state machine has no edge, it goes through `STARTING`.
pub(super) fn steps(from: RuntimeStatus, to: RuntimeStatus) -> Vec<RuntimeStatus> {
    if from == to {
        Vec::new()
    } else if from.may_become(to) {
        vec![to]
    } else {
        vec![RuntimeStatus::Starting, to]
    }
}

fn change(from: RuntimeStatus, to: RuntimeStatus, state: &DatasourceState) -> Happening {
    let mut message = format!("{from} to {to} ({})", state.reason);
    if let Some(detail) = &state.message {
        message.push_str(": ");
        message.push_str(detail);
    }
    Happening {
        kind: DatasourceEventKind::StateChanged,
        version: state.version,
        message,
    }
}

fn version_happenings(
    desired: &DesiredDatasource,
    before: &DatasourceState,
    after: &DatasourceState,
) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let runs = after.version.filter(|_| after.status == RuntimeStatus::Running);
    if let Some(version) = runs.filter(|version| before.last_good_version != Some(*version)) {
        happenings.push(Happening {
            kind: DatasourceEventKind::VersionRunning,
            version: Some(version),
            message: format!("version {version} took effect"),
        });
    }
    let rejected = matches!(after.reason, Reason::VersionRejected | Reason::InvalidConfig);
    let known = before.reason == after.reason && before.observed_generation == after.observed_generation;
    if rejected && !known {
        let version = desired.wanted.as_ref().map(|version| version.number);
        let number = version.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let why = after.message.as_deref().unwrap_or("no reason was given");
        happenings.push(Happening {
            kind: DatasourceEventKind::VersionRejected,
            version,
            message: format!("version {number} was refused: {why}"),
        });
    }
    happenings
}

/// The numbers of a datasource: counters and rates of its workers add up, delays are the worst.
pub(super) fn add_up(reports: &[Report]) -> DatasourceMetrics {
    let mut sum = DatasourceMetrics::default();
    for Report { task, .. } in reports {
        let metrics = &task.metrics;
        sum.events += metrics.events;
        sum.bytes += metrics.bytes;
        sum.records += metrics.records;
        sum.delivered += metrics.delivered;
        sum.filtered += metrics.filtered;
        sum.dead_lettered += metrics.dead_lettered;
        sum.objects += metrics.objects;
        sum.errors += metrics.errors;
        sum.parked += metrics.parked;
        sum.events_per_second += metrics.events_per_second;
        sum.errors_per_minute += metrics.errors_per_minute;
        sum.lag_ms = sum.lag_ms.max(metrics.lag_ms);
        sum.mapping_us = sum.mapping_us.max(metrics.mapping_us);
    }
    sum
}

/// Whether two states differ in more than the times of signs of life.
pub(super) fn differs(one: &DatasourceState, other: &DatasourceState) -> bool {
    let plain = |state: &DatasourceState| DatasourceState {
        last_heartbeat: None::<Timestamp>,
        last_event_at: None,
        schedule: None,
        ..state.clone()
    };
    plain(one) != plain(other)
}
