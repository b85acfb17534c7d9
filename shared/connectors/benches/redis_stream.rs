//! Records a second of `redis_stream`, beside its library on its own: one stream of one Redis that syncs its file
//! before it answers, each time through a new group. Both acknowledge what they read batch by batch.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::{cell::Cell, hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use event::event;
use halcyon_connectors::{BatchLimits, SecretValue, Secrets};
use halcyon_tests::redis::{PASSWORD, Redis};
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client,
    aio::MultiplexedConnection,
    streams::{StreamReadOptions, StreamReadReply},
};
use serde_json::json;
use tokio::runtime::Runtime;

const ENTRIES: usize = 20_000;
const STREAM: &str = "events";
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(port: u16) -> MultiplexedConnection {
    let client = Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{port}")).unwrap();
    // The library's own are half a second, which a busy machine's disk may take for a sync.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.unwrap()
}

async fn fill(port: u16) {
    let mut connection = connect(port).await;
    for first in (0..ENTRIES).step_by(1_000) {
        let mut add = redis::pipe();
        for number in first..first + 1_000 {
            add.xadd(STREAM, "*", &[("event", event(number).to_string())]);
        }
        let added: Vec<String> = add.query_async(&mut connection).await.unwrap();
        assert_eq!(added.len(), 1_000);
    }
}

async fn read(port: u16, group: &str) -> usize {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new(PASSWORD));
    let connection = json!({
        "host": "127.0.0.1", "port": port, "password": {"$secret": "password"}, "stream": STREAM, "group": group,
        "field": "event",
    });
    let mut source = support::source("redis_stream", connection, secrets);
    let found = support::read(&mut *source, ENTRIES).await;
    source.stop().await;
    found
}

async fn bare(port: u16, group: &str) -> usize {
    let mut connection = connect(port).await;
    let () = connection.xgroup_create(STREAM, group, "0").await.unwrap();
    let options = StreamReadOptions::default()
        .group(group, "bare")
        .count(BatchLimits::default().max_records);
    let mut found = 0;
    while found < ENTRIES {
        let read = connection.xread_options(&[STREAM], &[">"], &options);
        let read: Option<StreamReadReply> = black_box(read.await.unwrap());
        let entries = read.unwrap().keys.remove(0).ids;
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let acknowledged: usize = connection.xack(STREAM, group, &ids).await.unwrap();
        found += acknowledged;
    }
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Redis::start()).unwrap();
    let port = server.port();
    runtime.block_on(fill(port));
    let made = Cell::new(0);
    let reader = || {
        made.set(made.get() + 1);
        format!("readers-{}", made.get())
    };
    let mut group = support::group(criterion, "redis_stream", ENTRIES);
    let expect = |found: usize| assert_eq!(found, ENTRIES);
    group.bench_function("bare_client", |bench| {
        bench.iter_batched(
            reader,
            |reader| expect(runtime.block_on(bare(port, &reader))),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("connector", |bench| {
        bench.iter_batched(
            reader,
            |reader| expect(runtime.block_on(read(port, &reader))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
