//! What is seen of a datasource, by what its workers say.

use halcyon_domain::{
    assignment::{AssignedVersion, TaskStatus},
    clock::Timestamp,
    datasource::{DatasourceEventKind, DatasourceMetrics, DatasourceState},
    id::{DatasourceId, OrganizationId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState, Reason, RuntimeStatus},
    schedule::ScheduleState,
};
use serde_json::json;

use super::{
    Happening, Report,
    observe::{self, add_up, differs, is_on_its_way, steps},
};
use crate::reconcile::{DesiredDatasource, SecretFault};

/// What is seen of a datasource that is in time.
fn observe(
    desired: &DesiredDatasource,
    before: &DatasourceState,
    reports: &[Report],
) -> (DatasourceState, Vec<Happening>) {
    observe::observe(desired, before, reports, None, false)
}

fn desired(generation: i64, version: u32) -> DesiredDatasource {
    DesiredDatasource {
        datasource: DatasourceId::generate(),
        organization: OrganizationId::generate(),
        connector: "http_webhook".to_owned(),
        pull: false,
        shared: false,
        status: DatasourceStatus::Active,
        desired: DesiredState::Running,
        generation,
        wanted: Some(AssignedVersion {
            number: version,
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
        drift: Vec::new(),
        schedule: None,
        backfill: None,
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

#[test]
fn what_takes_too_long_is_an_error_until_it_is_done() {
    let desired = desired(1, 1);
    let starting = [report(&desired, RuntimeStatus::Starting, None)];
    let (state, _) = observe(&desired, &DatasourceState::default(), &starting);
    assert!(is_on_its_way(&desired, &state));
    let (late, happenings) = observe::observe(&desired, &state, &starting, None, true);
    assert_eq!(
        (late.status, late.reason),
        (RuntimeStatus::Error, Reason::StartTimedOut)
    );
    assert_eq!(happenings.len(), 1);
    // It stays so without further news, and whoever holds it may still get it to run.
    assert!(is_on_its_way(&desired, &late));
    let (again, happenings) = observe::observe(&desired, &late, &starting, None, true);
    assert!(happenings.is_empty() && !differs(&late, &again));
    let running = [report(&desired, RuntimeStatus::Running, Some(1))];
    let (runs, _) = observe::observe(&desired, &late, &running, None, true);
    assert_eq!(
        (runs.status, runs.reason),
        (RuntimeStatus::Running, Reason::AsDesired)
    );
    assert!(!is_on_its_way(&desired, &runs));

    let (nobody, _) = observe::observe(&desired, &late, &[], None, true);
    assert_eq!(
        (nobody.status, nobody.reason),
        (RuntimeStatus::Error, Reason::StartTimedOut)
    );
    assert!(nobody.message.unwrap().contains("no worker holds it"));

    let stopped = DesiredDatasource {
        desired: DesiredState::Stopped,
        generation: 2,
        ..desired
    };
    let (late, _) = observe::observe(&stopped, &runs, &running, None, true);
    assert_eq!(
        (late.status, late.reason),
        (RuntimeStatus::Error, Reason::StopTimedOut)
    );
    let (done, _) = observe::observe(&stopped, &late, &[], None, false);
    assert_eq!(
        (done.status, done.reason),
        (RuntimeStatus::Stopped, Reason::StoppedByUser)
    );
}

#[test]
fn missed_runs_are_told_once_whoever_counts_them() {
    let desired = DesiredDatasource {
        pull: true,
        ..desired(3, 1)
    };
    let reported = |missed_runs| {
        let mut report = report(&desired, RuntimeStatus::Running, Some(1));
        report.task.schedule = Some(ScheduleState {
            missed_runs,
            ..ScheduleState::default()
        });
        [report]
    };
    let missed = |before: &DatasourceState, reports: &[Report]| {
        let (state, happenings) = observe(&desired, before, reports);
        let count = kinds(&happenings)
            .iter()
            .filter(|kind| **kind == DatasourceEventKind::RunMissed)
            .count();
        (state, count)
    };
    let (state, told) = missed(&DatasourceState::default(), &reported(2));
    assert_eq!(told, 1);
    let (state, told) = missed(&state, &reported(2));
    assert_eq!(told, 0);
    // Nobody is heard for a while.
    let (state, told) = missed(&state, &[]);
    assert_eq!((told, state.schedule.map(|runs| runs.missed_runs)), (0, Some(2)));
    let (_, told) = missed(&state, &reported(3));
    assert_eq!(told, 1);
}
