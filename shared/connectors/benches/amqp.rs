//! Records a second of `amqp`, beside its library on its own: a durable queue of one RabbitMQ, read with the same
//! prefetch and acknowledged as often. Both log in and say goodbye, by which the broker has all acknowledgements.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use event::event;
use futures::{StreamExt, future::join_all};
use halcyon_connectors::{BatchLimits, SecretValue, Secrets};
use halcyon_tests::rabbitmq::{ADMIN, RabbitMq};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde_json::json;
use tokio::runtime::Runtime;

const MESSAGES: usize = 20_000;
const QUEUE: &str = "events";
/// The connector's, unless its connection says another.
const PREFETCH: u16 = 1_000;

async fn connect(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// Fills the queue, which the reader before has emptied.
async fn fill(channel: &Channel) {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare(QUEUE.into(), durable, FieldTable::default());
    assert_eq!(queue.await.unwrap().message_count(), 0);
    for first in (0..MESSAGES).step_by(1_000) {
        let published = (first..first + 1_000).map(|number| async move {
            let body = event(number).to_string().into_bytes();
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(format!("m-{number}").into());
            let options = BasicPublishOptions::default();
            let published = channel.basic_publish("".into(), QUEUE.into(), options, &body, properties);
            published.await.unwrap().await.unwrap();
        });
        join_all(published).await;
    }
}

async fn read(port: u16) -> usize {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new(ADMIN.1));
    let connection = json!({
        "host": "127.0.0.1", "port": port, "queue": QUEUE, "prefetch": PREFETCH,
        "auth": {"mechanism": "plain", "username": ADMIN.0, "password": {"$secret": "password"}},
    });
    let mut source = support::source("amqp", connection, secrets);
    let found = support::read(&mut *source, MESSAGES).await;
    source.stop().await;
    found
}

async fn bare(url: &str) -> usize {
    let (connection, channel) = connect(url).await;
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
    qos.await.unwrap();
    let consumer = channel.basic_consume(
        QUEUE.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut batches = consumer.await.unwrap().chunks(BatchLimits::default().max_records);
    let mut found = 0;
    while found < MESSAGES {
        let batch = batches.next().await.unwrap();
        let last = batch.last().unwrap().as_ref().unwrap().delivery_tag;
        found += black_box(batch).len();
        let all = BasicAckOptions { multiple: true };
        channel.basic_ack(last, all).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(RabbitMq::start()).unwrap();
    let (_connection, publisher) = runtime.block_on(connect(&broker.url()));
    let confirm = publisher.confirm_select(ConfirmSelectOptions::default());
    runtime.block_on(confirm).unwrap();
    let mut group = support::group(criterion, "amqp", MESSAGES);
    let fill = || runtime.block_on(fill(&publisher));
    let expect = |found: usize| assert_eq!(found, MESSAGES);
    group.bench_function("bare_client", |bench| {
        bench.iter_batched(
            fill,
            |()| expect(runtime.block_on(bare(&broker.url()))),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("connector", |bench| {
        bench.iter_batched(
            fill,
            |()| expect(runtime.block_on(read(broker.port()))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
