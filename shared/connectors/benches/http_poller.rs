//! Records a second of `http_poller`, beside a bare client that fetches the same pages one after the other, and one
//! that takes them apart as well. The server is a thread of this process that hands out prepared pages.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use halcyon_connectors::{BatchLimits, Secrets, Share, SourceContext, find};
use halcyon_domain::clock::SystemClock;
use halcyon_egress::{Guard, Policy};
use reqwest::Client;
use serde_json::{Value, json, value::RawValue};
use tokio::runtime::Runtime;

const PAGES: usize = 20;
const ROWS: usize = 500;

/// A page of events of about 700 bytes.
fn page(number: usize) -> Vec<u8> {
    let row = |at: usize| {
        json!({
            "id": format!("event-{}", number * ROWS + at), "created_at": "2026-01-01T00:00:00Z", "severity": "high",
            "message": "m".repeat(400), "actor": {"email": "someone@example.com", "ip": "203.0.113.7"},
            "target": {"type": "host", "name": "web-1.example.com", "tags": ["a", "b", "c"]}, "attempt": 3,
        })
    };
    let rows: Vec<Value> = (0..ROWS).map(row).collect();
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
    let context = SourceContext {
        connection: json!({
            "url": url, "records": "data", "id": "id",
            "pagination": {"type": "cursor", "param": "page", "next": "next"},
            "cursor": {"path": "created_at", "kind": "timestamp", "param": "since"},
        }),
        secrets: Secrets::none(),
        checkpoint: None,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: Guard::new(Policy::default().with_loopback()),
    };
    let mut source = find("http_poller").unwrap().source(context).unwrap();
    let mut found = 0;
    while let Some(batch) = source.next_batch().await.unwrap() {
        found += batch.records.len();
        // As the worker stores it.
        black_box(serde_json::to_vec(&batch.checkpoint).unwrap());
        source.ack(&batch.checkpoint).await.unwrap();
    }
    found
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
    let mut group = criterion.benchmark_group("http_poller");
    group.sample_size(10);
    group.throughput(Throughput::Elements((PAGES * ROWS) as u64));
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
