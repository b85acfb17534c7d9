//! Records a second of `syslog` over TCP, beside a bare listener that only takes the lines apart.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use halcyon_connectors::Secrets;
use halcyon_tests::ports;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};

const MESSAGES: usize = 20_000;

async fn send(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let line = "<38>1 2026-01-01T00:00:00.003Z web-1.example.com sshd 4711 LOGIN [session@32473 user=\"alice\" \
                from=\"192.0.2.10\"] Failed password for alice from 192.0.2.10 port 50022 ssh2\n";
    let lines = line.repeat(100);
    for _ in 0..MESSAGES / 100 {
        stream.write_all(lines.as_bytes()).await.unwrap();
    }
    stream.shutdown().await.unwrap();
}

async fn listen(port: u16) -> usize {
    let connection = json!({
        "listen": {"address": "127.0.0.1", "port": port}, "transport": "tcp", "allowed_networks": ["127.0.0.1"],
    });
    let mut source = support::source("syslog", connection, Secrets::none());
    // Opens the port.
    assert!(
        timeout(Duration::from_millis(1), source.next_batch())
            .await
            .is_err()
    );
    let sender = tokio::spawn(send(port));
    let found = support::read(&mut *source, MESSAGES).await;
    sender.await.unwrap();
    source.stop().await;
    found
}

async fn bare(port: u16) -> usize {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let sender = tokio::spawn(send(port));
    let (stream, _) = listener.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut found = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        found += usize::from(!black_box(line).is_empty());
    }
    sender.await.unwrap();
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let port = ports::free();
    let mut group = support::group(criterion, "syslog", MESSAGES);
    let expect = |found: usize| assert_eq!(found, MESSAGES);
    group.bench_function("bare_listener", |bench| {
        bench.iter(|| expect(runtime.block_on(bare(port))));
    });
    group.bench_function("connector", |bench| {
        bench.iter(|| expect(runtime.block_on(listen(port))));
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
