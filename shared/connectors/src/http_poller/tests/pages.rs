//! Each way of paging, and of asking.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Asked, Reply, Server, context, numbers, rows, run};

/// Ten rows a page of 25.
fn slice(from: u64) -> Vec<Value> {
    rows(from.min(25)..(from + 10).min(25))
}

fn number(asked: &Asked, name: &str) -> u64 {
    asked.query(name).map_or(0, |text| text.parse().unwrap())
}

async fn reads_all(server: &Server, mut connection: Value) -> usize {
    connection["url"] = server.url("/rows?fixed=yes").into();
    let (records, _) = run(context(connection, None)).await.unwrap();
    assert_eq!(numbers(&records), (0..25).collect::<Vec<_>>());
    let heard = server.heard();
    assert!(
        heard.iter().all(|asked| asked.query("fixed") == Some("yes")),
        "{heard:?}"
    );
    heard.len()
}

#[tokio::test]
async fn pages_and_offsets() {
    let by_page = || Server::start(|asked| Reply::json(&json!(slice((number(asked, "page") - 1) * 10))));
    let paging = |more: Value| json!({"pagination": more});
    let asked = reads_all(&by_page().await, paging(json!({"type": "page", "param": "page"}))).await;
    assert_eq!(asked, 4, "up to an empty page");
    let asked = reads_all(
        &by_page().await,
        paging(json!({"type": "page", "param": "page", "size": 10})),
    )
    .await;
    assert_eq!(asked, 3, "up to a short page");
    let server = Server::start(|asked| {
        let from = number(asked, "offset") - 1;
        Reply::json(&json!({"items": slice(from), "more": from + 10 < 25}))
    });
    let offset = json!({"type": "offset", "param": "offset", "start": 1, "more": "more"});
    let asked = reads_all(&server.await, json!({"pagination": offset, "records": "items"})).await;
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn tokens_addresses_links_and_odata() {
    let server = Server::start(|asked| {
        let from = number(asked, "after");
        let next = (from + 10 < 25).then(|| (from + 10).to_string());
        Reply::json(&json!({"data": {"list": slice(from)}, "page": {"next": next.unwrap_or_default()}}))
    });
    let cursor = json!({"type": "cursor", "param": "after", "next": "page.next"});
    let asked = reads_all(
        &server.await,
        json!({"pagination": cursor, "records": "data.list"}),
    )
    .await;
    assert_eq!(asked, 3);

    let next_of = |from: u64| (from + 10 < 25).then(|| format!("/rows?fixed=yes&$skip={}", from + 10));
    let server = Server::start(move |asked| {
        let from = number(asked, "$skip");
        Reply::json(&json!({"value": slice(from), "@odata.nextLink": next_of(from)}))
    })
    .await;
    let odata = json!({"pagination": {"type": "odata"}, "records": "value"});
    assert_eq!(reads_all(&server, odata).await, 3);
    let url = json!({"pagination": {"type": "next_url", "next": "\"@odata.nextLink\""}, "records": "value"});
    assert_eq!(reads_all(&server, url).await, 6, "three more");

    let server = Server::start(move |asked| {
        let from = number(asked, "$skip");
        // Like Okta: there is always a next page, to be asked later.
        let next = next_of(from).unwrap_or_else(|| "/rows?fixed=yes&$skip=25".to_owned());
        Reply::json(&json!(slice(from))).with("link", &format!("<{next}>; rel=\"next\", </a>; rel=\"self\""))
    });
    let link = json!({"pagination": {"type": "link", "stop_on_empty": true}});
    assert_eq!(reads_all(&server.await, link).await, 4);
}

#[tokio::test]
async fn numbers_that_have_no_end_do_not_keep_a_run() {
    // Beyond the end: the last page, or the first one again.
    for beyond in [|_| 3, |page: u64| (page - 1) % 3 + 1] {
        let server = Server::start(move |asked| {
            let page = number(asked, "p");
            let page = if page > 3 { beyond(page) } else { page };
            Reply::json(&json!(slice((page - 1) * 10)))
        })
        .await;
        let connection = json!({
            "url": server.url("/rows?fixed=yes"), "id": "id", "pagination": {"type": "page", "param": "p"},
            "cursor": {"path": "at", "param": "since", "kind": "integer"},
        });
        let (records, checkpoint) = run(context(connection.clone(), None)).await.unwrap();
        assert_eq!(numbers(&records), (0..25).collect::<Vec<_>>());
        assert_eq!(server.heard().len(), 5);
        assert_eq!(checkpoint.unwrap().0["cursor"], "24", "the run is at its end");
    }
    // A list that grew by a whole page while it was read goes on.
    let server = Server::start(|asked| {
        let page = number(asked, "p");
        Reply::json(&json!(slice(page.saturating_sub(2) * 10)))
    })
    .await;
    let connection = json!({"pagination": {"type": "page", "param": "p"}, "id": "id"});
    assert_eq!(reads_all(&server, connection).await, 5);
}

#[tokio::test]
async fn posts_page_in_their_body() {
    let server = Server::start(|asked| {
        assert_eq!(
            (asked.method.as_str(), asked.header("content-type")),
            ("POST", "application/json")
        );
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let from = body["page"]["after"]
            .as_str()
            .map_or(0, |text| text.parse().unwrap());
        let all = json!({"filter": {"since": 17}, "limit": 10});
        match from {
            0 => assert_eq!(body, all),
            _ => assert_eq!(
                body,
                json!({"page": {"after": from.to_string()}}),
                "the token alone"
            ),
        }
        Reply::json(&json!({"list": slice(from), "next": (from + 10 < 25).then(|| (from + 10).to_string())}))
    });
    let connection = json!({
        "method": "POST", "records": "list",
        "body": {"filter": {"since": "{{cursor}}", "until": "{{cursor}}x"}, "limit": 10},
        "cursor": {"path": "at", "kind": "integer", "initial": "17"},
        "pagination": {"type": "cursor", "param": "page.after", "in": "body", "next": "next", "alone": true},
    });
    let mut connection = connection;
    connection["body"]["filter"]
        .as_object_mut()
        .unwrap()
        .remove("until");
    assert_eq!(reads_all(&server.await, connection).await, 3);
}

#[tokio::test]
async fn lines_stay_as_they_came() {
    let server = Server::start(|_| {
        Reply::text(
            200,
            "{\"n\": 0, \"x\": 123456789012345678901234567890}\r\n\n{\"n\": 1,  \"x\": 1.10}\n",
        )
        .gzip()
    })
    .await;
    let connection = json!({"url": server.url("/"), "format": "ndjson"});
    let (records, _) = run(context(connection, None)).await.unwrap();
    let texts: Vec<_> = records.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!(
        texts,
        [
            &b"{\"n\": 0, \"x\": 123456789012345678901234567890}"[..],
            b"{\"n\": 1,  \"x\": 1.10}"
        ]
    );
}

#[tokio::test]
async fn a_list_that_shifts_while_it_is_read_loses_nothing() {
    // Newest first, and before each of the first pages a new row comes: what was read moves on to the next page.
    let count = AtomicU64::new(0);
    let server = Server::start(move |asked| {
        let top = 100 + count.fetch_add(1, Ordering::SeqCst).min(8);
        let since = number(asked, "since");
        let all: Vec<Value> = rows(since..top).into_iter().rev().collect();
        let from = number(asked, "offset") as usize;
        Reply::json(&json!(all.into_iter().skip(from).take(10).collect::<Vec<_>>()))
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "id": "id", "pagination": {"type": "offset", "param": "offset"},
        "cursor": {"path": "at", "param": "since", "kind": "integer"},
    });
    let (first, checkpoint) = run(context(connection.clone(), None)).await.unwrap();
    let mut found = numbers(&first);
    let last = found[0];
    found.sort_unstable();
    assert_eq!(found, (0..=last).collect::<Vec<_>>(), "each once");
    let (second, _) = run(context(connection, checkpoint)).await.unwrap();
    let mut found = numbers(&second);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found[0], last + 1, "and then what came meanwhile");
    assert_eq!(second.len(), found.len());
}

#[tokio::test]
async fn rows_that_move_away_under_an_offset_come_with_the_overlap() {
    // Oldest first; after the first page one of its rows is taken out, so the next page begins one row too late.
    let asked_before = AtomicU64::new(0);
    let server = Server::start(move |asked| {
        let gone = asked_before.fetch_add(1, Ordering::SeqCst) > 0;
        let since = number(asked, "since");
        let all = rows(0..25).into_iter().filter(|row| !(gone && row["n"] == 3));
        let all = all.filter(|row| row["at"].as_u64() >= Some(since));
        let from = number(asked, "offset") as usize;
        Reply::json(&json!(all.skip(from).take(10).collect::<Vec<_>>()))
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "id": "id", "pagination": {"type": "offset", "param": "offset"},
        "cursor": {"path": "at", "param": "since", "kind": "integer", "overlap": 20},
    });
    let (first, checkpoint) = run(context(connection.clone(), None)).await.unwrap();
    assert!(!numbers(&first).contains(&10), "it slipped through");
    let (second, _) = run(context(connection, checkpoint)).await.unwrap();
    assert_eq!(numbers(&second), [10], "and comes with the next run, alone");
}
