//! Runs by a schedule, settings that change while a source runs, and backfills beside what is live.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{AssignedVersion, Assignment, Instance},
    audit::{Actor, ActorKind},
    backfill::{BackfillStatus, BackfillTask},
    capture::{Capture, CapturePoint, Captured},
    clock::{Clock, SystemClock},
    event::EventId,
    id::{CaptureId, DatasourceId, WorkerId},
    lifecycle::{DesiredState, Reason, RuntimeStatus},
    redact::RedactionSpec,
    schedule::{RunMemory, ScheduleState},
};
use serde_json::{Value, json};

use super::support::{Rig, SOON, Worker, mapping, push, soon};

fn generator(worker: WorkerId, connection: Value, schedule: Value) -> Assignment {
    let mut config = json!({"connection": connection, "mapping": mapping("t"),
        "runtime": {"batch": {"max_records": 10, "max_wait": "20ms"}}});
    if !schedule.is_null() {
        config["schedule"] = schedule;
    }
    let mut assignment = push(AssignedVersion { number: 1, config }, 1);
    assignment.connector = "generator".to_owned();
    assignment.instances = vec![Instance {
        worker: Some(worker),
        session: 1,
        leaving: None,
        epoch: 1,
    }];
    assignment
}

fn in_runs(worker: &Worker, schedule: Value) -> Assignment {
    let connection = json!({"records_per_second": 1000, "records_per_run": 5, "seed": 1});
    generator(worker.id, connection, schedule)
}

fn runs(status: Option<ScheduleState>) -> ScheduleState {
    status.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_follow_the_schedule_and_one_is_made_at_once_when_asked_for() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = in_runs(&worker, json!({"every": "1s"}));
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(15).await;
    // From now on once a year.
    assignment.generation = 2;
    assignment.wanted.number = 2;
    assignment.wanted.config["schedule"] = json!({"cron": "0 0 1 1 *", "timezone": "Europe/Berlin"});
    rig.assign(&assignment).await;
    let waits = rig
        .told(assignment.datasource, |status| {
            let far = SystemClock.now() + TimeDelta::hours(2);
            let next = runs(status.schedule).next_run_at;
            status.version == Some(2) && next.is_some_and(|next| next > far)
        })
        .await;
    let last = runs(waits.schedule).last_run.unwrap();
    assert_eq!((waits.status, last.records), (RuntimeStatus::Running, 5));
    assert!(last.ended_at >= last.started_at);
    let read = outcomes_now(&rig, &assignment).await;
    assignment.generation = 3;
    rig.assign(&assignment).await;
    let again = rig
        .told(assignment.datasource, |status| {
            let run = runs(status.schedule).last_run;
            run.is_some_and(|run| run.started_at > last.started_at)
        })
        .await;
    assert_eq!(runs(again.schedule).last_run.unwrap().records, 5);
    assert_eq!(outcomes_now(&rig, &assignment).await, read + 5);
    worker.stop().await;
}

/// How many alerts were read, by the checkpoint.
async fn outcomes_now(rig: &Rig, assignment: &Assignment) -> u64 {
    let found = rig.bus.checkpoints().load(assignment.datasource).await;
    found.unwrap().unwrap().position["sequence"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_makes_up_for_what_was_missed_and_ends_what_was_begun() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let now = SystemClock.now();
    for (memory, missed) in [
        (
            RunMemory {
                last_due: Some(now - TimeDelta::minutes(61)),
                ..RunMemory::default()
            },
            // In 61 minutes six or seven runs are due, and the last may be the one that is made up for.
            5..=7,
        ),
        (
            RunMemory {
                last_due: Some(now - TimeDelta::seconds(1)),
                current: Some(now),
                ..RunMemory::default()
            },
            0..=0,
        ),
    ] {
        let mut assignment = in_runs(&worker, json!({"every": "10m"}));
        let memory = RunMemory {
            generation: 1,
            version: 1,
            ..memory
        };
        let checkpoints = rig.bus.checkpoints();
        let claimed = checkpoints
            .claim(assignment.datasource, 0, 1, "who was here before", now)
            .await;
        claimed.unwrap().0.remember(memory).await.unwrap();
        assignment.instances[0].epoch = 2;
        rig.assign(&assignment).await;
        let told = rig
            .told(assignment.datasource, |status| {
                let state = runs(status.schedule);
                state.last_run.is_some() && state.next_run_at.is_some()
            })
            .await;
        let state = runs(told.schedule);
        assert!(missed.contains(&state.missed_runs), "{state:?}");
        assert!(state.next_run_at.unwrap() <= SystemClock.now() + TimeDelta::minutes(10));
        assert_eq!(outcomes_now(&rig, &assignment).await, 5);
    }
    worker.stop().await;
}

/// Each of the changes comes in the middle of the feed; nothing is lost, and nothing is read twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pace_and_batches_are_changed_without_losing_the_place() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let connection = json!({"records_per_second": 200, "total": 400, "seed": 1});
    let mut assignment = generator(worker.id, connection, Value::Null);
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    for (number, runtime, until) in [
        (
            2,
            json!({"batch": {"max_records": 10, "max_wait": "20ms"}, "throttle": {"records_per_second": 100}}),
            60,
        ),
        (
            3,
            json!({"batch": {"max_records": 3, "max_wait": "5ms"}, "throttle": {"records_per_second": 150}}),
            120,
        ),
        (
            4,
            json!({"batch": {"max_records": 40, "max_wait": "50ms"}, "retry": {"max_attempts": 3}}),
            400,
        ),
    ] {
        outcomes.until(until / 2).await;
        assignment.generation += 1;
        assignment.wanted.number = number;
        assignment.wanted.config["runtime"] = runtime;
        rig.assign(&assignment).await;
        outcomes.until(until).await;
    }
    let told = rig
        .told(assignment.datasource, |status| status.version == Some(4))
        .await;
    assert_eq!((told.reason, told.restarts), (Reason::AsDesired, 0));
    assert_eq!((outcomes.events().len(), outcomes.seen.len()), (400, 400));
    worker.stop().await;
}

/// A source in the middle of a batch that its pace makes last: of 1,000 records 100 go at once, the rest one by one.
async fn crawling(rig: &Rig, worker: &Worker) -> Assignment {
    let connection = json!({"records_per_second": 10_000, "total": 1_000, "seed": 1});
    let mut assignment = generator(worker.id, connection, Value::Null);
    assignment.wanted.config["runtime"] = json!({"batch": {"max_records": 1_000, "max_wait": "5s"},
        "throttle": {"records_per_second": 100}});
    rig.assign(&assignment).await;
    rig.told(assignment.datasource, |status| status.metrics.events > 0)
        .await;
    assignment.generation = 2;
    assignment.wanted.number = 2;
    assignment.wanted.config["runtime"]["throttle"] = json!({"records_per_second": 1});
    rig.assign(&assignment).await;
    let slowed = rig
        .told(assignment.datasource, |status| status.version == Some(2))
        .await;
    assert!(slowed.metrics.events < 1_000, "{slowed:?}");
    assignment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_pace_is_kept_in_the_middle_of_a_batch() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = crawling(&rig, &worker).await;
    assignment.generation = 3;
    assignment.wanted.number = 3;
    assignment.wanted.config["runtime"]["throttle"] = json!({"records_per_second": 10_000});
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(1_000).await;
    assert_eq!(outcomes.seen.len(), 1_000, "the source has gone on");
    assert_eq!(outcomes.seen.last().unwrap().version, 3);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heard_in_the_middle_of_a_batch_which_is_read_again() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = crawling(&rig, &worker).await;
    assignment.generation = 3;
    assignment.desired = DesiredState::Stopped;
    rig.assign(&assignment).await;
    let stopped = rig
        .told(assignment.datasource, |status| status.generation == 3)
        .await;
    assert_eq!(stopped.status, RuntimeStatus::Stopped);
    assert!(stopped.metrics.events < 1_000, "{stopped:?}");
    assignment.generation = 4;
    assignment.desired = DesiredState::Running;
    assignment.wanted.number = 3;
    assignment.wanted.config["runtime"]["throttle"] = Value::Null;
    rig.assign(&assignment).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(1_000).await;
    assert_eq!(outcomes.events().len(), 1_000);
    worker.stop().await;
}

const SECONDS: i64 = 20;
const RATE: i64 = 50;

/// A backfill of some seconds of a feed, under an identifier of its own.
fn backfill(live: &Assignment, rate: Option<u32>) -> Assignment {
    let from = "2026-01-01T01:00:00Z".parse().unwrap();
    Assignment {
        datasource: DatasourceId::generate(),
        backfill: Some(BackfillTask {
            datasource: live.datasource,
            from,
            to: from + TimeDelta::seconds(SECONDS),
            records_per_second: rate,
        }),
        ..live.clone()
    }
}

/// The events of the range, as they are known when they are read live.
fn expected(live: &Assignment) -> BTreeSet<EventId> {
    let first = 3_600 * RATE;
    let numbers = first + 1..=first + SECONDS * RATE;
    numbers
        .map(|number| EventId::from_key(live.datasource, &format!("gen-1-{number}")))
        .collect()
}

fn live(worker: &Worker) -> Assignment {
    let connection = json!({"records_per_second": RATE, "seed": 1});
    generator(worker.id, connection, Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_reads_its_range_beside_what_is_live() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let live = live(&worker);
    rig.assign(&live).await;
    rig.told(live.datasource, |status| status.metrics.events > 5)
        .await;
    let job = backfill(&live, None);
    rig.assign(&job).await;
    let done = rig
        .told(job.datasource, |status| {
            let report = status.backfill.as_ref();
            report.is_some_and(|report| report.status == BackfillStatus::Done)
        })
        .await
        .backfill
        .unwrap();
    let range = job.backfill.unwrap();
    assert_eq!((done.progress.records, done.progress.errors), (1_000, 0));
    assert_eq!(done.progress.position, Some(range.to));
    let mut outcomes = rig.outcomes();
    let wanted = expected(&live);
    outcomes.until(1_000).await;
    while !wanted.is_subset(&outcomes.events()) {
        let more = outcomes.events().len() + 1;
        outcomes.until(more).await;
    }
    // What is live has its own numbers and its own place.
    let told = rig
        .told(live.datasource, |status| status.metrics.events > 0)
        .await;
    assert!(told.backfill.is_none());
    let place = outcomes_now(&rig, &live).await;
    assert!(place < 3_600 * u64::try_from(RATE).unwrap(), "{place}");
    worker.stop().await;
}

/// A capture of what comes in, for as long as a test lasts.
fn capture(live: &Assignment) -> Capture {
    let now = SystemClock.now();
    Capture {
        id: CaptureId::generate(),
        organization: live.organization,
        datasource: live.datasource,
        point: CapturePoint::Raw,
        count: 100_000,
        until: now + TimeDelta::minutes(5),
        contains: None,
        redaction: RedactionSpec::default(),
        started_by: Actor {
            kind: ActorKind::System,
            id: None,
            name: "a test".to_owned(),
        },
        started_at: now,
        ended: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_sees_what_is_live_and_no_backfill() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let live = live(&worker);
    rig.bus.put_capture(&capture(&live)).await.unwrap();
    rig.assign(&live).await;
    let mut captured = rig.bus.captured_consumer();
    let mut next = async || {
        let delivery = soon(captured.next()).await;
        let record: Captured = delivery.json().unwrap();
        delivery.ack().await.unwrap();
        record
    };
    next().await;
    let job = backfill(&live, None);
    rig.assign(&job).await;
    rig.told(job.datasource, |status| {
        let report = status.backfill.as_ref();
        report.is_some_and(|report| report.status == BackfillStatus::Done)
    })
    .await;
    let past = expected(&live);
    let read = outcomes_now(&rig, &live).await;
    let later: BTreeSet<EventId> = (read + 1..read + 10_000)
        .map(|number| EventId::from_key(live.datasource, &format!("gen-1-{number}")))
        .collect();
    let mut record = next().await;
    while !later.contains(&record.event) {
        assert!(!past.contains(&record.event), "{record:?}");
        record = next().await;
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_goes_on_where_it_was_when_its_worker_is_killed() {
    let rig = Rig::new().await;
    let first = rig.worker().await;
    let live = live(&first);
    let mut job = backfill(&live, Some(300));
    rig.assign(&job).await;
    let before = rig
        .told(job.datasource, |status| {
            let report = status.backfill.as_ref();
            report.is_some_and(|report| report.progress.records >= 300)
        })
        .await;
    assert_eq!(before.backfill.unwrap().status, BackfillStatus::Running);
    first.kill();
    let second = rig.worker().await;
    job.instances[0] = Instance {
        worker: Some(second.id),
        session: 1,
        leaving: None,
        epoch: 2,
    };
    rig.assign(&job).await;
    let done = rig
        .told(job.datasource, |status| {
            let report = status.backfill.as_ref();
            report.is_some_and(|report| report.status == BackfillStatus::Done)
        })
        .await;
    let wanted = expected(&live);
    let mut outcomes = rig.outcomes();
    outcomes.until(1_000).await;
    assert_eq!(outcomes.events(), wanted);
    assert_eq!(done.backfill.unwrap().progress.records, 1_000);
    // Taken away, it is let go of.
    let key = job.datasource.to_string();
    rig.bus.assignments().delete(&key, None).await.unwrap();
    let mut heartbeats = rig.bus.heartbeats().await.unwrap();
    soon(async {
        while heartbeats
            .next()
            .await
            .unwrap()
            .sources
            .iter()
            .any(|held| held.datasource == job.datasource)
        {}
    })
    .await;
    second.stop().await;
}

/// A backfill that cannot be is given up, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_fails_again_and_again_is_given_up() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut job = backfill(&live(&worker), Some(20));
    job.wanted.config["runtime"]["retry"] = json!({"initial": "100ms", "max": "100ms", "max_attempts": 2});
    rig.assign(&job).await;
    rig.told(job.datasource, |status| {
        let report = status.backfill.as_ref();
        report.is_some_and(|report| report.progress.records > 0)
    })
    .await;
    rig.lose_checkpoints().await;
    let failed = rig
        .told(job.datasource, |status| {
            let report = status.backfill.as_ref();
            report.is_some_and(|report| report.status == BackfillStatus::Failed)
        })
        .await
        .backfill
        .unwrap();
    assert!(failed.message.unwrap().contains("given up after 3 failures"));
    assert!(failed.progress.errors >= 3);
    tokio::time::timeout(SOON, worker.stop()).await.unwrap();
}
