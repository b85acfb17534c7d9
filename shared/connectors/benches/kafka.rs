//! Records a second of `kafka`, beside its library on its own: one topic of the library's mock cluster, each time
//! through a new group. Both commit after each batch without waiting. The clock runs from the first batch, since a
//! group of this cluster takes three seconds to form, to the last; that everything was committed is seen afterwards.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::{
    cell::Cell,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Bencher, Criterion, SamplingMode, criterion_group, criterion_main};
use event::event;
use halcyon_connectors::{BatchLimits, Secrets};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::json;
use tokio::runtime::Runtime;

const RECORDS: usize = 50_000;
const TOPIC: &str = "events";
/// The mock cluster keeps 5 MiB of each.
const PARTITIONS: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(30);

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn fill(brokers: &str) {
    let producer: BaseProducer = config(brokers).create().unwrap();
    for (number, partition) in (0..RECORDS).zip((0..PARTITIONS).cycle()) {
        let body = event(number).to_string();
        let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&body);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn consumer(brokers: &str, group: &str) -> BaseConsumer {
    let mut config = config(brokers);
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest");
    config.create().unwrap()
}

fn committed(brokers: &str, group: &str) -> usize {
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition(TOPIC, partition);
    }
    let committed = consumer(brokers, group)
        .committed_offsets(list, PATIENCE)
        .unwrap();
    let elements = committed.elements();
    let offsets = elements.iter().map(|element| element.offset().to_raw().unwrap());
    usize::try_from(offsets.sum::<i64>()).unwrap()
}

async fn read(brokers: &str, group: &str) -> Duration {
    let connection = json!({
        "brokers": brokers.split(',').collect::<Vec<_>>(), "topics": [TOPIC], "group": group,
    });
    let mut source = support::source("kafka", connection, Secrets::none());
    let mut found = support::read(&mut *source, 1).await;
    let began = Instant::now();
    found += support::read(&mut *source, RECORDS - found).await;
    let took = began.elapsed();
    assert_eq!(found, RECORDS);
    source.stop().await;
    took
}

fn bare(brokers: &str, group: &str) -> Duration {
    let consumer = consumer(brokers, group);
    consumer.subscribe(&[TOPIC]).unwrap();
    let most = BatchLimits::default().max_records;
    let gather = || {
        let messages = consumer.iter().take(most);
        let batch: Vec<_> = messages.map(|message| message.unwrap().detach()).collect();
        black_box(batch).len()
    };
    let mut found = gather();
    let began = Instant::now();
    while found < RECORDS {
        consumer.commit_consumer_state(CommitMode::Async).unwrap();
        found += gather();
    }
    let took = began.elapsed();
    assert_eq!(found, RECORDS);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    took
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    fill(&brokers);
    let made = Cell::new(0);
    let time = |bench: &mut Bencher<'_>, once: &dyn Fn(&str) -> Duration| {
        bench.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                made.set(made.get() + 1);
                let reader = format!("readers-{}", made.get());
                took += once(&reader);
                assert_eq!(committed(&brokers, &reader), RECORDS);
            }
            took
        });
    };
    let mut group = support::group(criterion, "kafka", RECORDS);
    group
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1));
    group.bench_function("bare_client", |bench| {
        time(bench, &|reader| bare(&brokers, reader));
    });
    group.bench_function("connector", |bench| {
        time(bench, &|reader| runtime.block_on(read(&brokers, reader)));
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
