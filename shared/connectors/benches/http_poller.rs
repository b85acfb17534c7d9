//! Records a second of `http_poller`, beside a bare client that fetches the same pages one after the other, and one
//! that takes them apart as well. The server is a thread of this process that hands out prepared pages.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use criterion::{Criterion, criterion_group, criterion_main};
use event::event;
use halcyon_connectors::Secrets;
use reqwest::Client;
use serde_json::{Value, json, value::RawValue};
use tokio::runtime::Runtime;

const PAGES: usize = 20;
const ROWS: usize = 500;

fn page(number: usize) -> Vec<u8> {
    let rows: Vec<Value> = (0..ROWS).map(|at| event(number * ROWS + at)).collect();
    let next = (number + 1 < PAGES).then(|| (number + 1).to_string());
    let body = json!({"data": rows, "next": next}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn serve(stream: TcpStream, pages: &[Vec<u8>]) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut asked = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(target) = line.strip_prefix("GET ") {
            let number = target
                .split_once("page=")
                .map(|(_, rest)| rest.split([' ', '&']).next());
            asked = number.flatten().map_or(0, |number| number.parse().unwrap());
        }
        if line == "\r\n" && writer.write_all(&pages[asked]).is_err() {
            return;
        }
        line.clear();
    }
}

fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let pages: Arc<Vec<Vec<u8>>> = Arc::new((0..PAGES).map(page).collect());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = Arc::clone(&pages);
            thread::spawn(move || serve(stream, &pages));
        }
    });
    url
}

async fn poll(url: &str) -> usize {
    let connection = json!({
        "url": url, "records": "data", "id": "id",
        "pagination": {"type": "cursor", "param": "page", "next": "next"},
        "cursor": {"path": "created_at", "kind": "timestamp", "param": "since"},
    });
    let mut source = support::source("http_poller", connection, Secrets::none());
    support::read(&mut *source, usize::MAX).await
}

async fn bare(url: &str, parse: bool) -> usize {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }
    let client = Client::builder().no_proxy().build().unwrap();
    let mut found = 0;
    for number in 0..PAGES {
        let answer = client.get(format!("{url}?page={number}")).send().await.unwrap();
        let body = answer.bytes().await.unwrap();
        found += if parse {
            let page: Page<'_> = serde_json::from_slice(&body).unwrap();
            black_box(
                page.data
                    .iter()
                    .map(|row| row.get().to_owned())
                    .collect::<Vec<_>>(),
            )
            .len()
        } else {
            black_box(body);
            ROWS
        };
    }
    found
}

fn compare(criterion: &mut Criterion) {
    let (url, runtime) = (server(), Runtime::new().unwrap());
    let mut group = support::group(criterion, "http_poller", PAGES * ROWS);
    let expect = |found: usize| assert_eq!(found, PAGES * ROWS);
    group.bench_function("bare_client/fetched", |bench| {
        bench.iter(|| expect(runtime.block_on(bare(&url, false))));
    });
    group.bench_function("bare_client/taken_apart", |bench| {
        bench.iter(|| expect(runtime.block_on(bare(&url, true))));
    });
    group.bench_function("connector", |bench| {
        bench.iter(|| expect(runtime.block_on(poll(&url))));
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
