//! Records a second of `nats`, beside its library on its own: one stream of one nats-server, each time through a new
//! durable pull consumer. Both acknowledge each message, and have the last of a batch confirmed. The server syncs its
//! files now and then, since reading is what is measured.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::{cell::Cell, hint::black_box};

use async_nats::jetstream::{
    self,
    consumer::{PullConsumer, pull},
    stream::Config,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use event::event;
use futures::{StreamExt, future::join_all};
use halcyon_connectors::{BatchLimits, Secrets};
use halcyon_tests::nats::Nats;
use serde_json::json;
use tokio::runtime::Runtime;

const MESSAGES: usize = 20_000;
const STREAM: &str = "EVENTS";

async fn fill(server: &Nats) {
    let context = &jetstream::new(server.client().await.unwrap());
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    context.create_stream(config).await.unwrap();
    for first in (0..MESSAGES).step_by(1_000) {
        let published = (first..first + 1_000).map(|number| async move {
            let body = event(number).to_string();
            let published = context.publish(format!("events.{}", number % 3), body.into());
            published.await.unwrap().await.unwrap();
        });
        join_all(published).await;
    }
}

async fn read(port: u16, consumer: &str) -> usize {
    let connection = json!({
        "servers": [format!("127.0.0.1:{port}")], "stream": STREAM, "consumer": consumer,
    });
    let mut source = support::source("nats", connection, Secrets::none());
    let found = support::read(&mut *source, MESSAGES).await;
    source.stop().await;
    found
}

async fn bare(url: &str, consumer: String) -> usize {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let config = pull::Config {
        durable_name: Some(consumer),
        ..pull::Config::default()
    };
    let consumer: PullConsumer = context.create_consumer_on_stream(config, STREAM).await.unwrap();
    let messages = consumer.messages().await.unwrap();
    let mut batches = messages.chunks(BatchLimits::default().max_records);
    let mut found = 0;
    while found < MESSAGES {
        let batch = black_box(batches.next().await.unwrap());
        found += batch.len();
        let (last, others) = batch.split_last().unwrap();
        for message in others {
            message.as_ref().unwrap().ack().await.unwrap();
        }
        last.as_ref().unwrap().double_ack().await.unwrap();
    }
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = Nats::start_with(|port, store| {
        let store = store.display();
        format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" }}\n")
    });
    let server = runtime.block_on(server).unwrap();
    runtime.block_on(fill(&server));
    let made = Cell::new(0);
    let consumer = || {
        made.set(made.get() + 1);
        format!("reader-{}", made.get())
    };
    let mut group = support::group(criterion, "nats", MESSAGES);
    let expect = |found: usize| assert_eq!(found, MESSAGES);
    group.bench_function("bare_client", |bench| {
        bench.iter_batched(
            consumer,
            |consumer| expect(runtime.block_on(bare(&server.url(), consumer))),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("connector", |bench| {
        bench.iter_batched(
            consumer,
            |consumer| expect(runtime.block_on(read(server.port(), &consumer))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
