//! What the other side may do wrong, and whose it is to put right.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{Reply, Server, context, numbers, open, rows, run};
use crate::{Checkpoint, Error, SourceContext};

async fn outcome(reply: Reply, more: Value) -> Result<usize, Error> {
    let server = Server::start(move |_| reply.clone()).await;
    let mut connection = json!({"url": server.url("/"), "records": "list", "timeout": 1});
    for (name, value) in more.as_object().unwrap() {
        connection[name] = value.clone();
    }
    connection
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    run(context(connection, None))
        .await
        .map(|(records, _)| records.len())
}

fn class(outcome: &Result<usize, Error>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Error::Transient {
            retry_after: None, ..
        }) => "transient",
        Err(Error::Transient { .. }) => "later",
        Err(Error::Refused { .. }) => "refused",
        Err(_) => "other",
    }
}

#[tokio::test]
async fn failures_have_their_class() {
    let good = json!({"list": rows(0..3)}).to_string();
    let text = |status: u16| Reply::text(status, "canary-body");
    let slow = Reply {
        delay: Duration::from_secs(5),
        ..Reply::text(200, &good)
    };
    let cut = Reply {
        cut: Some(9),
        ..Reply::text(200, &good)
    };
    for (reply, expected) in [
        (Reply::text(200, &good), "ok"),
        (Reply::text(200, &good).gzip(), "ok"),
        (Reply::text(204, ""), "ok"),
        (Reply::text(200, "{\"list\": []}"), "ok"),
        (
            Reply::text(200, "<html><body>back soon</body></html>"),
            "transient",
        ),
        (Reply::text(200, "{\"list\": [1, 2"), "transient"),
        (
            Reply::text(200, "{\"ok\": false, \"error\": \"ratelimited\"}"),
            "transient",
        ),
        (Reply::text(200, "{\"list\": \"three\"}"), "transient"),
        (
            Reply::text(200, &good).with("content-encoding", "gzip"),
            "transient",
        ),
        (cut, "transient"),
        (slow, "transient"),
        (text(500), "transient"),
        (text(503).with("retry-after", "7"), "later"),
        (text(429), "transient"),
        (text(429).with("retry-after", "7"), "later"),
        (
            text(429).with("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT"),
            "later",
        ),
        (
            text(403)
                .with("x-ratelimit-remaining", "0")
                .with("x-ratelimit-reset", "60"),
            "later",
        ),
        (text(400), "refused"),
        (text(401), "refused"),
        (text(403), "refused"),
        (text(404), "refused"),
        (
            text(302).with("location", "https://elsewhere.example/"),
            "refused",
        ),
        (Reply::text(200, &"x".repeat(2_000_000)), "refused"),
        (Reply::text(200, &" ".repeat(9_000_000)).gzip(), "refused"),
    ] {
        let told = format!("{} {:?} {:?}", reply.status, reply.headers, reply.cut);
        let outcome = outcome(reply, json!({"max_body_mb": 1})).await;
        assert_eq!(class(&outcome), expected, "{told}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    }
    // What is left out on purpose.
    let empty = outcome(
        Reply::text(200, "{\"kind\": \"x\"}"),
        json!({"records_optional": true}),
    )
    .await;
    assert_eq!(empty.unwrap(), 0);
}

#[tokio::test]
async fn a_page_of_few_bytes_may_not_have_any_number_of_records() {
    let ones = |most: usize| vec!["1"; most].join(",");
    let list = |most: usize| format!("{{\"list\": [{}]}}", ones(most));
    let spread = |most: usize| format!("{{\"list\": [{{\"in\": [{0}]}}, {{\"in\": [{0}]}}]}}", ones(most));
    let each = json!({"records": "list[].in[]"});
    let lines = json!({"format": "ndjson", "records": null});
    for (text, more, expected) in [
        (list(200_000), json!({}), "ok"),
        (list(200_001), json!({}), "refused"),
        (list(8_000_000), json!({}), "refused"),
        (spread(100_000), each.clone(), "ok"),
        (spread(100_001), each, "refused"),
        ("1\n".repeat(200_000), lines.clone(), "ok"),
        ("1\n".repeat(200_001), lines, "refused"),
    ] {
        let mut more = more;
        more["timeout"] = 60.into();
        let outcome = outcome(Reply::text(200, &text).gzip(), more).await;
        assert_eq!(class(&outcome), expected, "{outcome:?}");
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.is_empty() || said.contains("fewer records a page"), "{said}");
    }
}

#[tokio::test]
async fn a_cursor_that_no_record_has_stops_the_feed_and_the_check() {
    let rows = json!({"list": [{"n": 1, "at": "01.02.2026"}, {"n": 2, "at": "02.02.2026"}]});
    for (cursor, expected) in [
        (
            json!({"path": "at", "kind": "timestamp", "format": "%d.%m.%Y"}),
            "ok",
        ),
        (json!({"path": "at", "kind": "timestamp"}), "refused"),
        (json!({"path": "at", "kind": "integer"}), "refused"),
        (json!({"path": "time"}), "refused"),
    ] {
        let outcome = outcome(Reply::json(&rows), json!({"cursor": cursor})).await;
        assert_eq!(class(&outcome), expected, "{cursor}: {outcome:?}");
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.is_empty() || said.contains("/cursor/path"), "{said}");
    }
    // One that does not have it holds up nothing, not even alone, once another had it.
    let server = Server::start(|_| Reply::json(&json!({"list": [{"n": 3, "at": null}]}))).await;
    let stored = Checkpoint(json!({"cursor": "2026-01-01T00:00:00Z"}));
    let connection =
        json!({"url": server.url("/"), "records": "list", "cursor": {"path": "at", "kind": "timestamp"}});
    let (records, _) = run(context(connection, Some(stored))).await.unwrap();
    assert_eq!(numbers(&records), [3]);
    let rows = json!({"list": [{"n": 1, "at": "x"}, {"n": 2, "at": "2026-01-01T00:00:00Z"}]});
    let cursor = json!({"cursor": {"path": "at", "kind": "timestamp"}});
    assert_eq!(outcome(Reply::json(&rows), cursor).await.unwrap(), 2);
}

#[tokio::test]
async fn the_next_page_stays_on_the_origin_and_does_not_go_in_circles() {
    let next = |next: &str| Reply::text(200, &json!({"list": rows(0..1), "next": next}).to_string());
    let paging = json!({"pagination": {"type": "next_url", "next": "next"}});
    for address in [
        "https://elsewhere.example/",
        "http://127.0.0.1:1/",
        "//h/",
        "file:///etc/passwd",
    ] {
        let outcome = outcome(next(address), paging.clone()).await;
        assert_eq!(class(&outcome), "refused", "{address}: {outcome:?}");
    }
    let circle = outcome(next("/?again"), paging.clone()).await;
    assert_eq!(class(&circle), "transient", "{circle:?}");
    // One that has more than a page.
    let server = Server::start(|asked| {
        let page = asked.query("p").map_or(0, |text| text.parse().unwrap());
        let next = if page == 2 { 1 } else { page + 1 };
        Reply::json(&json!({"list": rows(page * 10..page * 10 + 10), "next": format!("/?p={next}")}))
    })
    .await;
    let mut connection = json!({"url": server.url("/"), "records": "list"});
    connection["pagination"] = paging["pagination"].clone();
    let (records, _) = run(context(connection, None)).await.unwrap();
    assert_eq!(
        numbers(&records),
        (0..30).collect::<Vec<_>>(),
        "the run ends with the last page"
    );
    assert_eq!(server.heard().len(), 3);
    // Nor one that somebody wrote into the checkpoint: the run begins again.
    let server = Server::start(|_| Reply::json(&json!(rows(0..1)))).await;
    let stored = json!({"run": {"began": "2026-01-01T00:00:00Z", "page": {"url": "http://127.0.0.2/"}}});
    let connection = json!({"url": server.url("/")});
    let (records, _) = run(context(connection, Some(Checkpoint(stored)))).await.unwrap();
    assert_eq!(numbers(&records), [0]);
}

#[tokio::test]
async fn after_a_failure_the_same_source_goes_on_where_it_was() {
    // Each page fails twice before it comes, and the pages' tokens end once.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::start(move |asked| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let from = asked.query("p").map_or(0, |text| text.parse().unwrap());
        match number {
            n if n % 3 != 2 => Reply::text(500, ""),
            11 => Reply::text(410, "the token ended"),
            _ => Reply::json(
                &json!({"list": rows(from..from + 10), "next": (from < 40).then(|| (from + 10).to_string())}),
            ),
        }
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "records": "list", "id": "id",
        "pagination": {"type": "cursor", "param": "p", "next": "next"},
    });
    let mut source = open(context(connection, None));
    let (mut found, mut failures) = (Vec::new(), 0);
    loop {
        match source.next_batch().await {
            Ok(Some(batch)) => found.extend(numbers(&batch.records)),
            Ok(None) => break,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failures += 1;
            }
        }
    }
    assert_eq!(
        found,
        (0..50).collect::<Vec<_>>(),
        "once each, though the walk began again"
    );
    assert!(failures >= 10 && server.heard().len() > 20);
}

#[tokio::test]
async fn a_page_that_is_never_there_begins_the_run_again_once() {
    let server = Server::start(|asked| match asked.query("p") {
        Some("1") => Reply::json(&json!(rows(0..5))),
        _ => Reply::text(404, "no such page"),
    })
    .await;
    let connection = json!({"url": server.url("/"), "pagination": {"type": "page", "param": "p"}});
    let outcome = run(context(connection, None)).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    assert!(server.heard().len() <= 5, "{}", server.heard().len());
}

#[tokio::test]
async fn requests_keep_their_pace_and_runs_their_length() {
    let server = Server::start(|asked| {
        let page: u64 = asked.query("p").unwrap().parse().unwrap();
        Reply::json(&json!(if page < 8 {
            rows(page..page + 1)
        } else {
            rows(0..0)
        }))
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "id": "id", "pagination": {"type": "page", "param": "p", "start": 0},
        "rate_limit": 50, "max_pages": 5,
    });
    let began = std::time::Instant::now();
    let (first, checkpoint) = run(context(connection.clone(), None)).await.unwrap();
    assert_eq!(numbers(&first), [0, 1, 2, 3, 4]);
    assert!(
        began.elapsed() >= Duration::from_millis(80),
        "four waits of a fiftieth of a second"
    );
    let (second, _) = run(context(connection, checkpoint)).await.unwrap();
    assert_eq!(numbers(&second), [5, 6, 7]);
}

#[tokio::test]
async fn a_call_that_is_dropped_again_and_again_still_reads() {
    // Slower than every call: the page's request goes on without one.
    let server = Server::start(|_| Reply {
        delay: Duration::from_millis(150),
        ..Reply::json(&json!(rows(0..3)))
    })
    .await;
    let mut source = open(SourceContext {
        ..context(json!({"url": server.url("/")}), None)
    });
    let mut found = None;
    while found.is_none() {
        found = tokio::time::timeout(Duration::from_millis(10), source.next_batch())
            .await
            .ok();
    }
    assert_eq!(found.unwrap().unwrap().unwrap().records.len(), 3);
    assert_eq!(server.heard().len(), 1);
}
