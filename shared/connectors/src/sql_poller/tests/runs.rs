//! Runs: crashes at any row, rows that are committed late, backfills, large rows.

use std::{collections::HashSet, sync::Arc};

use chrono::TimeDelta;
use halcyon_domain::clock::{ManualClock, Timestamp};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Duration, timeout},
};

use super::{PATIENCE, SqlPoller, check, context, failure, numbers, postgres::Server, run, source, told};
use crate::{Checkpoint, Connector, Error, TimeRange};

/// 10,000 rows, of which 500 share one cursor, with a crash after each 37th row.
async fn a_crash_after_each_37th_row_loses_nothing(connection: &Value) -> (usize, usize) {
    let (mut effects, mut crashes, mut again) = (HashSet::new(), 0, 0);
    let mut stored: Option<Checkpoint> = None;
    let mut keys: HashSet<String> = HashSet::new();
    for round in 0.. {
        let mut context = context(connection, stored.clone());
        context.limits.max_records = 37;
        let mut source = SqlPoller.source(context).unwrap();
        let batch = timeout(PATIENCE, source.next_batch()).await.unwrap().unwrap();
        let Some(batch) = batch else { break };
        // Dies before the rows are durable, before the checkpoint is, or after it.
        if round % 4 == 0 {
            crashes += 1;
            continue;
        }
        for (number, record) in numbers(&batch.records).into_iter().zip(&batch.records) {
            again += usize::from(!effects.insert(number));
            keys.insert(record.dedupe_key.clone().unwrap());
        }
        crashes += 1;
        if round % 4 == 1 {
            continue;
        }
        stored = Some(batch.checkpoint.clone());
        if round % 4 == 3 {
            source.ack(&batch.checkpoint).await.unwrap();
        }
        if effects.len() == 10_000 {
            break;
        }
        assert!(round < 5_000, "it does not get on: {}", effects.len());
    }
    assert_eq!((effects.len(), keys.len()), (10_000, 10_000));
    (crashes, again)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_at_any_crash() {
    let server = Server::start().await;
    let database = server.database().await;
    // The 500 are in the middle.
    server
        .execute(
            &database,
            "CREATE TABLE events AS SELECT n, c, '2026-01-01Z'::timestamptz + c * interval '1 second' AS at FROM (\
             SELECT n, CASE WHEN n BETWEEN 5000 AND 5499 THEN 5000 ELSE n END AS c FROM generate_series(1, 10000) n) x; \
             CREATE INDEX ON events (c, n); CREATE INDEX ON events (at, n); GRANT SELECT ON events TO reader",
        )
        .await;
    for cursor in [
        json!({"column": "c", "kind": "integer"}),
        json!({"column": "at", "kind": "timestamp", "overlap": "10s"}),
    ] {
        let connection = server.connection(
            &database,
            json!({"table": "events", "batch": 100, "cursor": cursor}),
        );
        let (crashes, again) = a_crash_after_each_37th_row_loses_nothing(&connection).await;
        println!("{cursor}: {crashes} crashes, {again} rows read again, 0 of 10000 lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_find_what_was_committed_late_and_ranges_are_read_alone() {
    let server = Server::start().await;
    let database = server.database().await;
    server
        .execute(
            &database,
            "CREATE TABLE events (n bigint, at timestamptz, big text); GRANT SELECT ON events TO reader; \
             INSERT INTO events SELECT n, '2026-01-01Z'::timestamptz + n * interval '1 minute' FROM generate_series(0, 99) n",
        )
        .await;
    let cursor = json!({"column": "at", "kind": "timestamp", "overlap": "10m"});
    let connection = server.connection(&database, json!({"table": "events", "cursor": cursor}));
    late_rows(&server, &database, &connection).await;
    ranges(&connection).await;
    starts_and_samples(&connection).await;
    large_rows(&server, &database, &connection).await;
    rows_of_the_future(&server, &database, &connection).await;
}

/// Rows that are dated ahead hold up nothing, and come when their time has.
async fn rows_of_the_future(server: &Server, database: &str, connection: &Value) {
    let insert =
        "INSERT INTO events VALUES (300, '2099-01-01Z'), (301, 'infinity'), (302, '2026-01-01 01:41:00Z')";
    server.execute(database, insert).await;
    let clock = ManualClock::at("2026-01-01T01:40:00Z".parse().unwrap());
    let next = |checkpoint: &Option<Checkpoint>| {
        let mut context = context(connection, checkpoint.clone());
        context.clock = Arc::new(clock.clone());
        SqlPoller.source(context).unwrap()
    };
    let (records, stored) = run(next(&None), None).await;
    assert_eq!(
        numbers(&records),
        (0..100).chain([302]).collect::<Vec<_>>(),
        "clocks differ by a little"
    );
    server
        .execute(
            database,
            "INSERT INTO events VALUES (303, '2026-01-01 01:42:00Z')",
        )
        .await;
    let (records, stored) = run(next(&stored), stored).await;
    assert_eq!(numbers(&records).last(), Some(&303));
    let results = check(connection).await;
    assert!(told(&results, "sample").1.contains("dated ahead"), "{results:?}");
    // To the second day of 2099.
    clock.advance(TimeDelta::days(26_664));
    let (records, _) = run(next(&stored), stored).await;
    assert_eq!(numbers(&records).last(), Some(&300));
    for ahead in ["2099-01-01 00:00:00+00", "infinity"] {
        let stored = Some(Checkpoint(json!({"column": "at", "cursor": ahead, "key": "300"})));
        let refused = SqlPoller.source(context(connection, stored));
        assert!(
            matches!(&refused, Err(Error::Checkpoint { detail }) if detail.contains("ahead")),
            "{:?}",
            refused.err()
        );
    }
}

/// Rows that become visible behind the cursor.
async fn late_rows(server: &Server, database: &str, connection: &Value) {
    let (records, stored) = run(source(connection, None), None).await;
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
    // One within the overlap, one before it, and one that holds its place although the last row goes.
    let late = "INSERT INTO events VALUES (200, '2026-01-01 01:35:30Z'), (201, '2026-01-01 01:00:00Z'); DELETE FROM events WHERE n = 99";
    server.execute(database, late).await;
    let (records, stored) = run(source(connection, stored.clone()), stored).await;
    let found = numbers(&records);
    assert!(found.contains(&200) && !found.contains(&201), "{found:?}");
    assert_eq!(found, [89, 90, 91, 92, 93, 94, 95, 200, 96, 97, 98]);
    // A later run begins where the feed once was, less the overlap; again and again.
    for _ in 0..2 {
        let (records, again) = run(source(connection, stored.clone()), stored.clone()).await;
        assert_eq!((numbers(&records), &again), (found.clone(), &stored));
    }
    server
        .execute(
            database,
            "INSERT INTO events VALUES (99, '2026-01-01 01:39:00Z'); DELETE FROM events WHERE n >= 200",
        )
        .await;
    let other = json!({"column": "n", "kind": "integer"});
    let mut changed = connection.clone();
    changed["cursor"] = other;
    let refused = SqlPoller.source(context(&changed, stored));
    assert!(
        matches!(refused, Err(Error::Checkpoint { .. })),
        "the checkpoint is another column's"
    );
}

async fn ranges(connection: &Value) {
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let range = |from, to| {
        Some(TimeRange {
            from: at(from),
            to: at(to),
        })
    };
    let mut asked = context(connection, None);
    asked.limits.max_records = 7;
    asked.range = range("2026-01-01T00:10:00Z", "2026-01-01T00:30:00Z");
    let mut source = SqlPoller.source(asked.clone()).unwrap();
    let first = source.next_batch().await.unwrap().unwrap();
    assert_eq!(numbers(&first.records), (10..17).collect::<Vec<_>>());
    drop(source);
    asked.checkpoint = Some(first.checkpoint);
    let (rest, _) = run(SqlPoller.source(asked.clone()).unwrap(), None).await;
    assert_eq!(numbers(&rest), (17..30).collect::<Vec<_>>());
    asked.connection["cursor"] = json!({"column": "n", "kind": "integer"});
    asked.checkpoint = None;
    assert!(matches!(SqlPoller.source(asked), Err(Error::Unsupported { .. })));
}

async fn starts_and_samples(connection: &Value) {
    let mut later = connection.clone();
    later["cursor"]["start"] = json!("2026-01-01 01:35:00+00");
    let (records, _) = run(source(&later, None), None).await;
    assert_eq!(numbers(&records), (95..100).collect::<Vec<_>>());
    let mut few = context(connection, None);
    (few.sample, few.limits.max_records) = (true, 5);
    let batch = SqlPoller
        .source(few)
        .unwrap()
        .next_batch()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(numbers(&batch.records), (0..5).collect::<Vec<_>>());
}

async fn large_rows(server: &Server, database: &str, connection: &Value) {
    server
        .execute(
            database,
            "UPDATE events SET big = repeat('x', 3000000) WHERE n % 5 = 0",
        )
        .await;
    let (records, _) = run(source(connection, None), None).await;
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
    let longest = "UPDATE events SET big = repeat('x', 34 << 20) WHERE n = 0";
    server.execute(database, longest).await;
    let refused = failure(connection).await;
    assert!(
        matches!(&refused, Error::Refused { message } if message.contains("32 MiB")),
        "{refused}"
    );
    server
        .execute(database, "UPDATE events SET big = NULL WHERE n = 0")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_fails_the_check_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let kept = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            kept.push(stream);
        }
    });
    for engine in ["postgresql", "mysql", "sqlserver"] {
        let connection = json!({
            "engine": engine, "host": "127.0.0.1", "port": port, "database": "d", "username": "u",
            "password": {"$secret": "password"}, "table": "t", "cursor": {"column": "c", "kind": "integer"}, "key": "k",
        });
        let results = check(&connection).await;
        assert!(
            told(&results, "authenticate").1.contains("does not answer"),
            "{results:?}"
        );
        let mut waiting = source(&connection, None);
        assert!(
            timeout(Duration::from_millis(200), waiting.next_batch())
                .await
                .is_err()
        );
        timeout(Duration::from_secs(5), waiting.stop()).await.unwrap();
        assert!(waiting.next_batch().await.unwrap().is_none());
    }
    kept.abort();
}
