//! Schedules on made-up time.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::VersionConfig;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(value: Value) -> Schedule {
    serde_json::from_value(value).unwrap()
}

fn table(value: Value) -> Timetable {
    schedule(value)
        .timetable(DatasourceId(uuid::Uuid::nil()))
        .unwrap()
}

fn times(table: &Timetable, after: &str, count: usize) -> Vec<String> {
    let times = table.upcoming(at(after), count).into_iter();
    times
        .map(|time| time.format("%m-%dT%H:%M:%S").to_string())
        .collect()
}

#[test]
fn what_does_not_fit_is_named_by_its_field() {
    for (schedule, pointer, code) in [
        (json!({}), "/schedule", "invalid"),
        (
            json!({"every": "1m", "cron": "* * * * *"}),
            "/schedule",
            "invalid",
        ),
        (json!({"every": "0s"}), "/schedule/every", "out_of_range"),
        (json!({"every": "2years"}), "/schedule/every", "out_of_range"),
        (json!({"every": "often"}), "/schedule/every", "invalid"),
        (
            json!({"every": "1m", "jitter": "2m"}),
            "/schedule/jitter",
            "out_of_range",
        ),
        (
            json!({"every": "1m", "timezone": "UTC"}),
            "/schedule/timezone",
            "invalid",
        ),
        (json!({"cron": "* * * *"}), "/schedule/cron", "invalid"),
        (json!({"cron": "0 0 12 * * *"}), "/schedule/cron", "invalid"),
        (json!({"cron": "@daily"}), "/schedule/cron", "invalid"),
        (json!({"cron": "61 * * * *"}), "/schedule/cron", "invalid"),
        (json!({"cron": "0 0 30 2 *"}), "/schedule/cron", "invalid"),
        (
            json!({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
            "/schedule/timezone",
            "unknown_value",
        ),
        (
            json!({"cron": "0 0 * * *", "jitter": "2h"}),
            "/schedule/jitter",
            "out_of_range",
        ),
        (
            json!({"every": "1m", "catch_up": "maybe"}),
            "/schedule/catch_up",
            "unknown_value",
        ),
        (json!({"each": "1m"}), "/schedule/each", "unknown_field"),
    ] {
        let error = VersionConfig::parse(&json!({"schedule": schedule})).unwrap_err();
        assert_eq!(
            (error.pointer.as_str(), error.code.as_str()),
            (pointer, code),
            "{schedule}: {error}"
        );
    }
}

#[test]
fn intervals_are_counted_from_midnight() {
    let quarter = table(json!({"every": "15m"}));
    assert_eq!(
        times(&quarter, "2026-03-01T10:07:00Z", 3),
        ["03-01T10:15:00", "03-01T10:30:00", "03-01T10:45:00"]
    );
    assert_eq!(
        quarter.next_after(at("2026-03-01T10:15:00Z")),
        Some(at("2026-03-01T10:30:00Z"))
    );
}

#[test]
fn an_hour_that_is_left_out_moves_what_was_meant_in_it_and_an_hour_twice_does_not_double_it() {
    // Berlin: 02:00 to 03:00 is left out on 2026-03-29 and comes twice on 2026-10-25.
    let daily = table(json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}));
    assert_eq!(
        times(&daily, "2026-03-28T00:00:00Z", 3),
        ["03-28T01:30:00", "03-29T01:00:00", "03-30T00:30:00"]
    );
    assert_eq!(
        times(&daily, "2026-10-24T12:00:00Z", 2),
        ["10-25T00:30:00", "10-26T01:30:00"]
    );
    let half_hourly = table(json!({"cron": "*/30 * * * *", "timezone": "Europe/Berlin"}));
    assert_eq!(
        times(&half_hourly, "2026-10-24T23:45:00Z", 6),
        [
            "10-25T00:00:00",
            "10-25T00:30:00",
            "10-25T01:00:00",
            "10-25T01:30:00",
            "10-25T02:00:00",
            "10-25T02:30:00"
        ]
    );
}

#[test]
fn each_datasource_has_a_delay_of_its_own_below_the_jitter() {
    let schedule = schedule(json!({"every": "1m", "jitter": "30s"}));
    let delays: std::collections::BTreeSet<_> = (0..50)
        .map(|_| {
            let id = DatasourceId::generate();
            let table = schedule.timetable(id).unwrap();
            let next = table.next_after(at("2026-03-01T10:00:30Z")).unwrap();
            assert_eq!(
                schedule
                    .timetable(id)
                    .unwrap()
                    .next_after(at("2026-03-01T10:00:30Z")),
                Some(next)
            );
            let delay = next - at("2026-03-01T10:01:00Z");
            assert!(
                delay >= TimeDelta::zero() && delay < TimeDelta::seconds(30),
                "{delay}"
            );
            delay
        })
        .collect();
    assert!(delays.len() > 40, "{}", delays.len());
}

#[test]
fn what_was_missed_is_skipped_made_up_once_or_made_up_one_by_one() {
    let (last, now) = (at("2026-03-01T10:00:00Z"), at("2026-03-01T10:05:30Z"));
    let next =
        |catch_up: &str, noted| table(json!({"every": "1m", "catch_up": catch_up})).next(last, noted, now);
    let noted = Some(at("2026-03-01T10:05:00Z"));
    let of = |due: &str, missed| Next {
        due: Some(at(due)),
        missed,
        noted,
    };
    assert_eq!(next("skip", None), of("2026-03-01T10:06:00Z", 5));
    assert_eq!(next("once", None), of("2026-03-01T10:05:00Z", 5));
    assert_eq!(next("all", None), of("2026-03-01T10:01:00Z", 5));
    // What was noted is not told again.
    assert_eq!(next("all", noted), of("2026-03-01T10:01:00Z", 0));
}

#[test]
fn the_time_that_has_just_come_is_not_missed() {
    for catch_up in ["skip", "once"] {
        let table = table(json!({"every": "1m", "catch_up": catch_up}));
        let next = table.next(at("2026-03-01T10:00:00Z"), None, at("2026-03-01T10:02:03Z"));
        assert_eq!((next.due, next.missed), (Some(at("2026-03-01T10:02:00Z")), 1));
        let next = table.next(at("2026-03-01T10:00:00Z"), None, at("2026-03-01T10:00:40Z"));
        assert_eq!((next.due, next.missed), (Some(at("2026-03-01T10:01:00Z")), 0));
    }
}

#[test]
fn a_clock_that_was_ahead_does_not_stop_a_source() {
    let table = table(json!({"cron": "0 * * * *"}));
    let next = table.next(at("2030-01-01T00:00:00Z"), None, at("2026-03-01T10:20:00Z"));
    assert_eq!(next.due, Some(at("2026-03-01T11:00:00Z")));
}

#[test]
fn a_year_away_is_counted_up_to_a_bound() {
    let now = at("2027-03-01T10:00:30Z");
    let every = table(json!({"every": "1s", "catch_up": "all"})).next(at("2026-03-01T10:00:00Z"), None, now);
    assert_eq!(every.due, Some(now - TimeDelta::seconds(99)));
    assert_eq!(every.missed, 365 * 86_400 + 29);
    let cron =
        table(json!({"cron": "* * * * *", "catch_up": "all"})).next(at("2026-03-01T10:00:00Z"), None, now);
    assert_eq!(cron.due, Some(at("2027-03-01T08:21:00Z")));
    assert_eq!(cron.missed, MAX_COUNTED as u64);
}

proptest! {
    #[test]
    fn times_only_go_forward_and_are_whole_minutes_everywhere(
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
        cron in prop::sample::select(vec!["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15,45 1-3 * * 0", "0 12 * 3,10 1-5"]),
        // Within 2026, to the microsecond.
        start in 1_767_225_600_000_000_i64..1_798_761_600_000_000,
    ) {
        let table = table(json!({"cron": cron, "timezone": zone}));
        let start = Timestamp::from_timestamp_micros(start).unwrap();
        let mut before = start;
        for time in table.upcoming(start, 50) {
            prop_assert!(time > before);
            prop_assert_eq!(time.timestamp() % 60, 0);
            before = time;
        }
    }

    #[test]
    fn no_time_is_left_out_or_taken_twice_however_long_runs_take(
        every in 1_i64..120,
        lasts in prop::collection::vec(0_i64..600, 1..40),
    ) {
        let table = table(json!({"every": format!("{every}s"), "catch_up": "all"}));
        let start = at("2026-03-01T10:00:00Z");
        let (mut now, mut last, mut noted, mut missed) = (start, start, None, 0);
        for lasting in lasts {
            let next = table.next(last, noted, now);
            missed += next.missed;
            noted = next.noted;
            let due = next.due.unwrap();
            prop_assert!(due > last);
            // Within the bound each time has its run.
            if (now - last).num_seconds() / every <= MAX_CATCH_UP as i64 {
                prop_assert_eq!(due, table.next_after(last).unwrap());
            }
            last = due;
            now = now.max(due) + TimeDelta::seconds(lasting);
        }
        let passed = (now - start).num_seconds() / every;
        prop_assert!(missed <= u64::try_from(passed).unwrap());
    }
}
