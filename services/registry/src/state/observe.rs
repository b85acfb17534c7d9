//! From what workers say of a datasource to its state: pure.

use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceEventKind, DatasourceMetrics, DatasourceState},
    lifecycle::{Reason, RuntimeStatus},
};

use super::{Happening, Report};
use crate::reconcile::{DesiredDatasource, SecretFault};

/// A datasource's state after the workers' reports, and what is new in it for the history. `reports` are of
/// workers whose lease stands; none means that nobody holds the datasource.
pub(super) fn observe(
    desired: &DesiredDatasource,
    before: &DatasourceState,
    reports: &[Report],
) -> (DatasourceState, Vec<Happening>) {
    let mut state = facts(before, reports);
    let (status, reason, message) = judge(desired, before, reports);
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
    }
}

type Judgement = (RuntimeStatus, Reason, Option<String>);

fn judge(desired: &DesiredDatasource, before: &DatasourceState, reports: &[Report]) -> Judgement {
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
        return (status, Reason::NoWorker, Some("no worker holds it".to_owned()));
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
fn steps(from: RuntimeStatus, to: RuntimeStatus) -> Vec<RuntimeStatus> {
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
        ..state.clone()
    };
    plain(one) != plain(other)
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{
        assignment::{AssignedVersion, TaskStatus},
        id::{DatasourceId, OrganizationId, WorkerId},
        lifecycle::{DatasourceStatus, DesiredState},
    };
    use serde_json::json;

    use super::*;

    fn desired(generation: i64, version: u32) -> DesiredDatasource {
        DesiredDatasource {
            datasource: DatasourceId::generate(),
            organization: OrganizationId::generate(),
            connector: "http_webhook".to_owned(),
            pull: false,
            status: DatasourceStatus::Active,
            desired: DesiredState::Running,
            generation,
            wanted: Some(AssignedVersion {
                number: version,
                config: json!({}),
            }),
            last_good: None,
            secrets_revision: 0,
            backlog_full: false,
            secret_fault: None,
        }
    }

    fn report(desired: &DesiredDatasource, status: RuntimeStatus, version: Option<u32>) -> Report {
        let task = TaskStatus {
            datasource: desired.datasource,
            generation: desired.generation,
            version,
            status,
            reason: Reason::AsDesired,
            message: None,
            restarts: 0,
            next_attempt_at: None,
            last_event_at: None,
            metrics: DatasourceMetrics {
                events: 2,
                lag_ms: 5,
                ..DatasourceMetrics::default()
            },
        };
        Report {
            worker: WorkerId::generate(),
            at: Timestamp::default(),
            task,
        }
    }

    fn kinds(happenings: &[Happening]) -> Vec<DatasourceEventKind> {
        happenings.iter().map(|happening| happening.kind).collect()
    }

    #[test]
    fn a_first_report_of_running_goes_through_starting() {
        use DatasourceEventKind::{StateChanged, VersionRunning};
        let desired = desired(3, 1);
        let running = report(&desired, RuntimeStatus::Running, Some(1));
        let (state, happenings) = observe(&desired, &DatasourceState::default(), &[running]);
        assert_eq!(
            (state.status, state.observed_generation),
            (RuntimeStatus::Running, 3)
        );
        assert_eq!((state.version, state.last_good_version), (Some(1), Some(1)));
        assert_eq!(kinds(&happenings), [StateChanged, StateChanged, VersionRunning]);
        assert_eq!(happenings[0].message, "INIT to STARTING (as_desired)");
    }

    #[test]
    fn a_secret_that_cannot_be_had_stops_what_starts_and_an_expired_one_stops_all() {
        let mut desired = desired(3, 1);
        let running = [report(&desired, RuntimeStatus::Running, Some(1))];
        let (was_running, _) = observe(&desired, &DatasourceState::default(), &running);
        let unavailable = |is_missed| {
            Some(SecretFault::Unavailable {
                name: "signing".to_owned(),
                is_missed,
            })
        };
        desired.secret_fault = unavailable(false);
        let (starts, _) = observe(&desired, &DatasourceState::default(), &running);
        assert_eq!(
            (starts.status, starts.reason),
            (RuntimeStatus::Error, Reason::SecretsUnavailable)
        );
        let (goes_on, _) = observe(&desired, &was_running, &running);
        assert_eq!(goes_on.status, RuntimeStatus::Running);
        desired.secret_fault = unavailable(true);
        let (missed, _) = observe(&desired, &was_running, &running);
        assert_eq!(missed.reason, Reason::SecretsUnavailable);
        desired.secret_fault = None;
        let (recovered, _) = observe(&desired, &starts, &running);
        assert_eq!(
            (recovered.status, recovered.reason),
            (RuntimeStatus::Running, Reason::AsDesired)
        );
        desired.secret_fault = Some(SecretFault::Expired("signing".to_owned()));
        let (expired, _) = observe(&desired, &was_running, &running);
        assert_eq!(
            (expired.status, expired.reason),
            (RuntimeStatus::Error, Reason::SecretExpired)
        );
        assert!(expired.message.unwrap().contains("`signing`"));
    }

    #[test]
    fn the_same_report_again_is_no_news() {
        let desired = desired(3, 1);
        let running = report(&desired, RuntimeStatus::Running, Some(1));
        let (state, _) = observe(
            &desired,
            &DatasourceState::default(),
            std::slice::from_ref(&running),
        );
        let (again, happenings) = observe(&desired, &state, &[running]);
        assert!(happenings.is_empty() && !differs(&state, &again));
    }

    #[test]
    fn a_refused_version_is_told_once_and_the_old_one_runs_on() {
        let first = desired(1, 1);
        let (state, _) = observe(
            &first,
            &DatasourceState::default(),
            &[report(&first, RuntimeStatus::Running, Some(1))],
        );
        let second = DesiredDatasource {
            generation: 2,
            ..desired(2, 2)
        };
        let mut refused = report(&second, RuntimeStatus::Running, Some(1));
        refused.task.reason = Reason::VersionRejected;
        refused.task.message = Some("no such function".to_owned());
        let (state, happenings) = observe(&second, &state, std::slice::from_ref(&refused));
        assert_eq!(
            (state.status, state.version, state.last_good_version),
            (RuntimeStatus::Running, Some(1), Some(1))
        );
        assert_eq!(kinds(&happenings), [DatasourceEventKind::VersionRejected]);
        assert_eq!(happenings[0].message, "version 2 was refused: no such function");
        assert!(observe(&second, &state, &[refused]).1.is_empty());
    }

    #[test]
    fn a_lost_worker_shows_as_starting_without_a_worker() {
        let desired = desired(1, 1);
        let running = report(&desired, RuntimeStatus::Running, Some(1));
        let (state, _) = observe(&desired, &DatasourceState::default(), &[running]);
        let (state, _) = observe(&desired, &state, &[]);
        assert_eq!(
            (state.status, state.reason, state.version),
            (RuntimeStatus::Starting, Reason::NoWorker, None)
        );
        let (fresh, happenings) = observe(&desired, &DatasourceState::default(), &[]);
        assert_eq!((fresh.status, happenings.len()), (RuntimeStatus::Init, 0));
    }

    #[test]
    fn it_is_stopped_once_every_worker_has_reached_the_stop() {
        let running = desired(1, 1);
        let report = report(&running, RuntimeStatus::Running, Some(1));
        let (state, _) = observe(
            &running,
            &DatasourceState::default(),
            std::slice::from_ref(&report),
        );
        let disabled = DesiredDatasource {
            status: DatasourceStatus::Disabled,
            generation: 2,
            ..running
        };
        let (still, _) = observe(&disabled, &state, std::slice::from_ref(&report));
        assert_eq!(still.status, RuntimeStatus::Running);
        let mut reached = report;
        reached.task.generation = 2;
        let (stopped, _) = observe(&disabled, &still, &[reached]);
        assert_eq!(
            (stopped.status, stopped.reason),
            (RuntimeStatus::Stopped, Reason::StoppedByUser)
        );
        let (nobody, _) = observe(&disabled, &still, &[]);
        assert_eq!(
            (nobody.status, nobody.observed_generation),
            (RuntimeStatus::Stopped, 2)
        );
    }

    #[test]
    fn several_workers_add_up_and_the_worst_counts() {
        let desired = desired(4, 2);
        let good = report(&desired, RuntimeStatus::Running, Some(2));
        let mut bad = report(&desired, RuntimeStatus::Error, None);
        bad.task.generation = 3;
        bad.task.reason = Reason::TaskFailed;
        let reports = [good, bad];
        let (state, _) = observe(&desired, &DatasourceState::default(), &reports);
        assert_eq!(
            (state.status, state.reason, state.observed_generation),
            (RuntimeStatus::Error, Reason::TaskFailed, 3)
        );
        let sum = add_up(&reports);
        assert_eq!((sum.events, sum.lag_ms), (4, 5));
    }

    #[test]
    fn every_way_is_one_the_state_machine_has() {
        for from in RuntimeStatus::ALL {
            for to in RuntimeStatus::ALL.iter().filter(|to| **to != RuntimeStatus::Init) {
                let reached = steps(*from, *to)
                    .into_iter()
                    .try_fold(*from, RuntimeStatus::advance_to);
                assert_eq!(reached, Ok(*to), "{from} to {to}");
            }
        }
    }
}
