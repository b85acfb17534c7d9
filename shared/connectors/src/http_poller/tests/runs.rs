//! Run after run: the cursor, late records, crashes, backfill and samples.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta};
use halcyon_domain::clock::{ManualClock, Timestamp};
use serde_json::{Value, json};

use super::{Reply, Server, context, numbers, open, rows, run};
use crate::{BatchLimits, Checkpoint, Error, SourceContext, TimeRange};

/// P5: 10,000 rows, 500 sharing one cursor value, and a death after each 37th row.
#[tokio::test]
async fn no_row_is_lost_when_a_reader_dies_after_each_37th() {
    let all: Vec<Value> = (0..10_000_u64)
        .map(|n| {
            let at = if (4_000..4_500).contains(&n) { 4_000 } else { n };
            json!({"n": n, "id": n, "at": at})
        })
        .collect();
    let server = Server::start(move |asked| {
        let since: u64 = asked.query("since").map_or(0, |text| text.parse().unwrap());
        let from: usize = asked.query("p").map_or(0, |text| text.parse().unwrap());
        let found: Vec<&Value> = all
            .iter()
            .filter(|row| row["at"].as_u64() >= Some(since))
            .collect();
        let page: Vec<&&Value> = found.iter().skip(from).take(200).collect();
        let next = (from + 200 < found.len()).then(|| (from + 200).to_string());
        Reply::json(&json!({"rows": page, "next": next}))
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "records": "rows", "id": "id",
        "pagination": {"type": "cursor", "param": "p", "next": "next"},
        "cursor": {"path": "at", "param": "since", "kind": "integer"},
    });
    let context = |checkpoint: &Option<Checkpoint>| SourceContext {
        limits: BatchLimits {
            max_records: 10,
            ..BatchLimits::default()
        },
        ..context(connection.clone(), checkpoint.clone())
    };
    let mut durable: BTreeMap<String, u64> = BTreeMap::new();
    let (mut stored, mut deaths, mut written) = (None, 0, 0);
    let mut source = open(context(&stored));
    'runs: loop {
        let Some(batch) = source.next_batch().await.unwrap() else {
            if durable.len() == 10_000 {
                break;
            }
            source = open(context(&stored));
            continue;
        };
        for record in &batch.records {
            let number = numbers(std::slice::from_ref(record))[0];
            let before = durable.insert(record.dedupe_key.clone().unwrap(), number);
            assert!(
                before.is_none_or(|before| before == number),
                "a key stands for one row"
            );
            written += 1;
            if written == 37 {
                (written, deaths) = (0, deaths + 1);
                source = open(context(&stored));
                continue 'runs;
            }
        }
        stored = Some(batch.checkpoint);
    }
    let mut found: Vec<u64> = durable.into_values().collect();
    found.sort_unstable();
    assert_eq!(found, (0..10_000).collect::<Vec<_>>());
    assert!(deaths > 250, "{deaths}");
    let (again, _) = run(context(&stored)).await.unwrap();
    assert_eq!(again.len(), 0, "the rows of the last value are not given again");
}

/// Pages of two rows, newest first, of what is there now.
async fn growing(list: Arc<Mutex<Vec<Value>>>) -> Server {
    Server::start(move |asked| {
        let since = asked.query("since").unwrap_or_default().to_owned();
        let from: usize = asked.query("p").map_or(0, |text| text.parse().unwrap());
        let list = list.lock().unwrap();
        let mut found: Vec<&Value> = list
            .iter()
            .filter(|row| row["at"].as_str() >= Some(&since))
            .collect();
        found.sort_by_key(|row| std::cmp::Reverse(row["at"].as_str().unwrap().to_owned()));
        let page: Vec<&&Value> = found.iter().skip(from).take(2).collect();
        let next = (from + 2 < found.len()).then(|| (from + 2).to_string());
        Reply::json(&json!({"rows": page, "next": next}))
    })
    .await
}

fn row(n: u64, at: &str) -> Value {
    json!({"n": n, "id": n, "at": at})
}

fn growing_connection(server: &Server) -> Value {
    json!({
        "url": server.url("/"), "records": "rows", "id": "id",
        "pagination": {"type": "cursor", "param": "p", "next": "next"},
        "cursor": {"path": "at", "param": "since", "kind": "timestamp", "overlap": 60, "initial": "{{now-2h}}"},
    })
}

#[tokio::test]
async fn late_records_come_once_and_an_update_is_a_record_of_its_own() {
    let list = Arc::new(Mutex::new(vec![
        row(1, "2026-01-01T00:00:00Z"),
        row(2, "2026-01-01T00:01:00Z"),
        row(3, "2026-01-01T00:02:00Z"),
    ]));
    let server = growing(list.clone()).await;
    let clock = ManualClock::at("2026-01-01T01:00:00Z".parse::<Timestamp>().unwrap());
    let next = |checkpoint| SourceContext {
        clock: Arc::new(clock.clone()),
        ..context(growing_connection(&server), checkpoint)
    };
    let (first, checkpoint) = run(next(None)).await.unwrap();
    assert_eq!(numbers(&first), [3, 2, 1], "in the other side's order");
    assert_eq!(server.heard()[0].query("since"), Some("2025-12-31T23:00:00Z"));
    assert_eq!(first[0].dedupe_key.as_deref(), Some("3@2026-01-01T00:02:00Z"));
    let (nothing, unchanged) = run(next(checkpoint.clone())).await.unwrap();
    assert_eq!((nothing.len(), &unchanged), (0, &checkpoint));
    // One as old as the newest, one that is late, one that is too late, one that changed.
    list.lock().unwrap().extend([
        row(4, "2026-01-01T00:02:00Z"),
        row(5, "2026-01-01T00:01:30Z"),
        row(6, "2026-01-01T00:00:30Z"),
        row(1, "2026-01-01T00:03:00Z"),
    ]);
    let (second, checkpoint) = run(next(checkpoint)).await.unwrap();
    assert_eq!(numbers(&second), [1, 4, 5]);
    assert_eq!(checkpoint.as_ref().unwrap().0["cursor"], "2026-01-01T00:03:00Z");
    let (third, _) = run(next(checkpoint)).await.unwrap();
    assert_eq!(third.len(), 0);
    // A person may put the cursor back.
    let put_back = Checkpoint(json!({"cursor": "2026-01-01T00:01:00Z"}));
    let (again, _) = run(next(Some(put_back))).await.unwrap();
    assert_eq!(numbers(&again).len(), 7);
}

#[tokio::test]
async fn a_record_from_the_future_does_not_hide_the_present() {
    let list = Arc::new(Mutex::new(vec![
        row(1, "2026-01-01T00:00:00Z"),
        row(2, "2099-01-01T00:00:00Z"),
    ]));
    let server = growing(list.clone()).await;
    let clock = ManualClock::at("2026-01-01T01:00:00Z".parse::<Timestamp>().unwrap());
    let next = |checkpoint| SourceContext {
        clock: Arc::new(clock.clone()),
        ..context(growing_connection(&server), checkpoint)
    };
    let (first, checkpoint) = run(next(None)).await.unwrap();
    assert_eq!(numbers(&first), [2, 1]);
    list.lock().unwrap().push(row(3, "2026-01-01T01:00:30Z"));
    clock.advance(TimeDelta::seconds(60));
    let (second, _) = run(next(checkpoint)).await.unwrap();
    assert_eq!(numbers(&second), [3]);
}

#[tokio::test]
async fn a_reader_that_dies_among_pages_newest_first_leaves_no_gap() {
    let list = Arc::new(Mutex::new(
        (0..20)
            .map(|n| row(n, &format!("2026-01-01T00:00:{n:02}Z")))
            .collect::<Vec<_>>(),
    ));
    let server = growing(list.clone()).await;
    let mut source = open(context(
        growing_connection(&server),
        Some(Checkpoint(json!({"cursor": "2026-01-01T00:00:00Z"}))),
    ));
    let batch = source.next_batch().await.unwrap().unwrap();
    drop(source);
    let mut found = numbers(&batch.records);
    // It had the newest; what came since then is read by the run after the one that goes on.
    list.lock().unwrap().push(row(20, "2026-01-01T00:00:20Z"));
    let (rest, checkpoint) = run(context(growing_connection(&server), Some(batch.checkpoint)))
        .await
        .unwrap();
    found.extend(numbers(&rest));
    found.sort_unstable();
    assert_eq!(found, (0..21).collect::<Vec<_>>());
    assert_eq!(checkpoint.unwrap().0["cursor"], "2026-01-01T00:00:20Z");
}

#[tokio::test]
async fn records_without_an_id_are_known_by_their_content() {
    let server = Server::start(|_| Reply::text(200, "[{\"n\": 1}, {\"n\": 2}, {\"n\": 1}, {\"n\":1}]")).await;
    let (records, checkpoint) = run(context(json!({"url": server.url("/")}), None)).await.unwrap();
    assert_eq!(
        numbers(&records),
        [1, 2, 1],
        "a repeat is left out; other bytes are another record"
    );
    let (again, _) = run(context(json!({"url": server.url("/")}), checkpoint))
        .await
        .unwrap();
    assert_eq!(again.len(), 0);
}

fn range(from: i64, to: i64) -> TimeRange {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    TimeRange {
        from: at(from),
        to: at(to),
    }
}

#[tokio::test]
async fn a_stretch_of_the_past_is_asked_for_as_the_connection_says() {
    let server = Server::start(|_| Reply::json(&json!(rows(0..100)))).await;
    let cursor = json!({"path": "at", "param": "since", "kind": "timestamp", "format": "unix_s"});
    let asked = async |connection: Value| {
        let context = SourceContext {
            range: Some(range(10, 20)),
            ..context(connection, None)
        };
        let outcome = run(context).await.map(|(records, _)| numbers(&records));
        (
            outcome,
            server.heard().pop().map(|asked| asked.query).unwrap_or_default(),
        )
    };
    let all: Vec<u64> = (0..100).collect();
    // The cursor's parameter, and no word of the end: what is later is left out here.
    let (found, query) = asked(json!({"url": server.url("/"), "cursor": cursor})).await;
    assert_eq!(
        (found.unwrap(), &*query["since"]),
        ((0..20).collect::<Vec<_>>(), "10")
    );
    let given = json!({"from_param": "a", "to_param": "b", "format": "unix_ms"});
    let (found, query) = asked(json!({"url": server.url("/"), "cursor": cursor, "range": given})).await;
    assert_eq!(
        (found.unwrap(), &*query["a"], &*query["b"]),
        (all.clone(), "10000", "20000")
    );
    assert!(!query.contains_key("since"));
    let filled = json!({"filter": "at ge {{from}} and at lt {{to}}"});
    let (found, query) = asked(json!({"url": server.url("/"), "query": filled})).await;
    assert_eq!(found.unwrap(), all);
    assert_eq!(
        query["filter"],
        "at ge 1970-01-01T00:00:10Z and at lt 1970-01-01T00:00:20Z"
    );
    let (refused, _) = asked(json!({"url": server.url("/")})).await;
    assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
}

#[tokio::test]
async fn a_sample_is_the_first_page() {
    let server = Server::start(|asked| {
        let page: u64 = asked.query("p").unwrap().parse().unwrap();
        Reply::json(&json!(rows(page * 10..page * 10 + 10)))
    })
    .await;
    let connection = json!({"url": server.url("/"), "pagination": {"type": "page", "param": "p"}});
    let stored = json!({"run": {"began": "2026-01-01T00:00:00Z", "page": {"number": 5}}});
    let (records, _) = run(SourceContext {
        sample: true,
        ..context(connection, Some(Checkpoint(stored)))
    })
    .await
    .unwrap();
    assert_eq!(numbers(&records), (10..20).collect::<Vec<_>>());
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn times_are_asked_for_in_the_form_that_is_wanted() {
    let server = Server::start(|_| Reply::json(&json!([row(1, "2026-01-01T00:00:00.5Z")]))).await;
    let connection = json!({
        "url": server.url("/"), "id": "id", "query": {"until": "{{now}}"},
        "cursor": {"path": "at", "param": "since", "kind": "timestamp", "param_format": "unix_ms"},
    });
    let clock = ManualClock::at("2026-01-02T00:00:00Z".parse::<Timestamp>().unwrap());
    let next = |checkpoint| SourceContext {
        clock: Arc::new(clock.clone()),
        ..context(connection.clone(), checkpoint)
    };
    let (_, checkpoint) = run(next(None)).await.unwrap();
    assert_eq!(server.heard()[0].query("since"), None);
    clock.advance(TimeDelta::seconds(1));
    run(next(checkpoint)).await.unwrap();
    let asked = &server.heard()[1];
    assert_eq!(
        (asked.query("since"), asked.query("until")),
        (Some("1767225600500"), Some("1767312001000"))
    );
}
