//! Which files are read, how often, and from where on.

use std::sync::{Arc, atomic::Ordering};

use chrono::TimeDelta;
use serde_json::json;

use super::support::{Memory, NOW, Reader, at, number};
use crate::{Lag, Source, TimeRange};

fn ndjson(memory: &Arc<Memory>) -> Reader {
    let mut reader = Reader::new(memory.clone(), json!({"type": "ndjson"}));
    reader.chosen = json!({"look_back_seconds": 600});
    reader
}

#[tokio::test]
async fn each_run_reads_what_is_new() {
    let memory = Arc::new(Memory::default());
    let mut reader = ndjson(&memory);
    assert_eq!(reader.numbers().await, [0; 0]);
    memory.put_numbers("b/2", 10..30, NOW - 50_000);
    memory.put_numbers("b/1", 0..10, NOW - 10);
    assert_eq!(reader.numbers().await, (0..30).collect::<Vec<_>>());
    assert_eq!(reader.numbers().await, [0; 0]);
    // Names come in no order of time.
    memory.put_numbers("a", 30..33, NOW);
    memory.put_numbers("c", 33..36, NOW);
    memory.put("empty", "", NOW);
    assert_eq!(reader.numbers().await, (30..36).collect::<Vec<_>>());
    assert_eq!(reader.numbers().await, [0; 0]);
}

#[tokio::test]
async fn a_late_file_within_the_look_back_is_read_once_and_one_from_before_it_is_not() {
    let memory = Arc::new(Memory::default());
    let mut reader = ndjson(&memory);
    memory.put_numbers("now", 0..1, NOW);
    assert_eq!(reader.numbers().await, [0]);
    memory.put_numbers("late", 1..2, NOW - 599);
    memory.put_numbers("too late", 2..3, NOW - 601);
    assert_eq!(reader.numbers().await, [1]);
    for minute in 1..30 {
        reader.clock.advance(TimeDelta::minutes(1));
        let n = 2 + minute as u64;
        memory.put_numbers(&format!("at {minute}"), n..n + 1, NOW + minute * 60);
        assert_eq!(reader.numbers().await, [n], "{minute}");
    }
}

#[tokio::test]
async fn a_changed_file_is_read_again_if_that_is_wanted() {
    for (on_change, expected) in [("ignore", vec![]), ("read_again", vec![0, 1, 2])] {
        let memory = Arc::new(Memory::default());
        let mut reader = ndjson(&memory);
        reader.chosen["on_change"] = json!(on_change);
        memory.put_numbers("a", 0..2, NOW - 5);
        let first = reader.run().await;
        memory.put_numbers("a", 0..3, NOW);
        let second = reader.run().await;
        assert_eq!(
            second.iter().map(number).collect::<Vec<_>>(),
            expected,
            "{on_change}"
        );
        // Another content is another record.
        assert!(
            second
                .iter()
                .all(|new| first.iter().all(|old| old.dedupe_key != new.dedupe_key))
        );
        assert_eq!(reader.numbers().await, [0; 0]);
    }
}

#[tokio::test]
async fn a_reader_goes_on_within_a_file_from_any_batch() {
    let memory = Arc::new(Memory::default());
    for file in 0..5 {
        memory.put_numbers(&format!("{file}"), file * 20..(file + 1) * 20, NOW);
    }
    let mut reader = ndjson(&memory);
    let mut found = Vec::new();
    loop {
        let Some(batch) = reader.source().next_batch().await.unwrap() else {
            break;
        };
        reader.save(&batch.checkpoint);
        found.extend(batch.records);
    }
    assert_eq!(
        found.iter().map(number).collect::<Vec<_>>(),
        (0..100).collect::<Vec<_>>()
    );
    let record = &found[25];
    assert_eq!(
        record.dedupe_key.as_deref(),
        Some(&*format!("memory/1@{NOW}-{}#5", 20 * 9))
    );
    assert_eq!(
        (
            record.headers["file-key"].as_str(),
            record.headers["file-row"].as_str()
        ),
        ("1", "5")
    );
    assert_eq!(reader.numbers().await, [0; 0]);
}

#[tokio::test]
async fn what_comes_behind_a_run_that_was_broken_off_is_read_by_the_next() {
    let memory = Arc::new(Memory::default());
    let mut reader = ndjson(&memory);
    memory.put_numbers("m", 0..20, NOW - 20);
    let batch = reader.source().next_batch().await.unwrap().unwrap();
    reader.save(&batch.checkpoint);
    // The worker was away for a day: far longer than the look-back.
    memory.put_numbers("a", 20..22, NOW + 10);
    memory.put_numbers("z", 22..24, NOW + 86_400);
    reader.clock.advance(TimeDelta::days(1));
    let mut found = reader.numbers().await;
    found.sort_unstable();
    assert_eq!(found, (7..24).collect::<Vec<_>>());
    assert_eq!(reader.numbers().await, [0; 0]);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_whole_by_the_next_run() {
    let memory = Arc::new(Memory::default());
    let mut reader = ndjson(&memory);
    memory.put_numbers("a", 0..20, NOW - 20);
    memory.put_numbers("b", 100..101, NOW - 20);
    let batch = reader.source().next_batch().await.unwrap().unwrap();
    reader.save(&batch.checkpoint);
    memory.put_numbers("a", 0..21, NOW);
    let found = reader.numbers().await;
    assert_eq!(found, (0..21).chain([100]).collect::<Vec<_>>());
    assert_eq!(reader.numbers().await, [0; 0]);
}

#[tokio::test]
async fn failures_in_a_file_lose_and_repeat_nothing() {
    let memory = Arc::new(Memory::default());
    let line = |n: u64| json!({"n": n, "more": "x".repeat(100)});
    let lines: String = (0..50_000).map(|n| format!("{}\n", line(n))).collect();
    assert!(lines.len() as u64 > 2 * 2 * 1024 * 1024);
    memory.put("a", lines, NOW);
    let mut reader = ndjson(&memory);
    reader.context.limits.max_records = 1000;
    let mut source = reader.source();
    let mut next = 0;
    loop {
        match source.next_batch().await {
            Ok(Some(batch)) => {
                for record in &batch.records {
                    assert_eq!(number(record), next);
                    next += 1;
                }
                if next % 5_000 == 0 {
                    memory.failures.store(1, Ordering::Relaxed);
                }
            }
            Ok(None) => break,
            Err(error) => assert!(error.is_transient()),
        }
    }
    assert_eq!(next, 50_000);
}

#[tokio::test]
async fn young_files_wait_and_old_ones_may_be_left_out() {
    let memory = Arc::new(Memory::default());
    let mut reader = ndjson(&memory);
    reader.chosen = json!({"min_age_seconds": 60, "not_before": "2027-01-15T00:00:00Z", "glob": "**/*.json"});
    memory.put_numbers("x/old.json", 0..1, NOW - 10 * 86_400);
    memory.put_numbers("x/young.json", 1..2, NOW - 30);
    memory.put_numbers("x/good.json", 2..3, NOW - 100);
    memory.put_numbers("x/good.txt", 3..4, NOW - 100);
    assert_eq!(reader.numbers().await, [2]);
    reader.clock.advance(TimeDelta::seconds(40));
    assert_eq!(reader.numbers().await, [1]);
}

#[tokio::test]
async fn a_backfill_reads_its_range_and_ends_for_good() {
    let memory = Arc::new(Memory::default());
    for day in 1..=9 {
        memory.put_numbers(
            &format!("logs/2027/01/{day:02}/x"),
            day * 10..day * 10 + 8,
            NOW + day as i64,
        );
    }
    for (chosen, range, expected) in [
        (json!({}), (NOW + 3, NOW + 5), vec![3, 4]),
        (
            json!({"date_pattern": "{year}/{month}/{day}/"}),
            (NOW - 86_400 * 8, NOW - 86_400 * 6),
            vec![7, 8, 9],
        ),
    ] {
        let mut reader = ndjson(&memory);
        reader.chosen = chosen;
        reader.context.range = Some(TimeRange {
            from: at(range.0),
            to: at(range.1),
        });
        let mut found = Vec::new();
        // A worker dies after each batch.
        loop {
            let Some(batch) = reader.source().next_batch().await.unwrap() else {
                break;
            };
            reader.save(&batch.checkpoint);
            found.extend(batch.records.iter().map(number));
        }
        let expected: Vec<u64> = expected.iter().flat_map(|day| day * 10..day * 10 + 8).collect();
        assert_eq!(found, expected);
        assert_eq!(reader.numbers().await, [0; 0]);
    }
}

#[tokio::test]
async fn a_sample_is_of_the_newest_file_and_leaves_nothing_behind() {
    let memory = Arc::new(Memory::default());
    memory.put_numbers("a", 0..5, NOW - 1000);
    memory.put_numbers("b", 5..25, NOW - 10);
    memory.put_numbers("c", 25..30, NOW - 500);
    memory.put("d", "", NOW);
    let mut reader = ndjson(&memory);
    reader.context.sample = true;
    assert_eq!(reader.numbers().await, (5..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_lag_is_the_age_of_the_file_that_is_read() {
    let memory = Arc::new(Memory::default());
    memory.put_numbers("a", 0..20, NOW - 100);
    let reader = ndjson(&memory);
    let mut source = reader.source();
    assert_eq!(source.lag(), Lag::default());
    source.next_batch().await.unwrap();
    assert_eq!(source.lag().age, TimeDelta::seconds(100).to_std().ok());
    while source.next_batch().await.unwrap().is_some() {}
    assert_eq!((source.lag().records, source.lag().age), (Some(0), None));
}
