//! Records a second of `mqtt`, beside a client of another make (the connector's own is part of it): sessions that one
//! Mosquitto keeps, version 5, quality of service 1. Both take as many messages before they acknowledge them, and end
//! when they have said goodbye after the last acknowledgement.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use event::event;
use halcyon_connectors::{BatchLimits, Secrets};
use halcyon_tests::mosquitto::Mosquitto;
use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{QoS, v5::Packet},
    },
};
use serde_json::json;
use tokio::runtime::Runtime;

const MESSAGES: usize = 20_000;
/// How many messages may come before one is acknowledged: the connector's, unless its connection says another.
const IN_FLIGHT: u16 = 1_000;

/// A client whose session the broker keeps.
fn client(port: u16, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(3_600))
        .set_receive_maximum(Some(IN_FLIGHT))
        .set_manual_acks(true);
    // The loop that reads says what is to be said, and puts reading first: there must be room for all of it.
    AsyncClient::new(options, MESSAGES)
}

fn topic(id: &str) -> String {
    format!("alarms/{id}")
}

/// Says goodbye after all that was to be said before.
async fn leave(client: AsyncClient, mut events: EventLoop) {
    client.disconnect().await.unwrap();
    while !matches!(
        events.poll().await.unwrap(),
        Event::Outgoing(Outgoing::Disconnect)
    ) {}
}

/// A session for the reader: without one the broker keeps nothing.
async fn subscribe(port: u16, id: &str) {
    let (client, mut events) = client(port, id);
    client.subscribe(topic(id), QoS::AtLeastOnce).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    leave(client, events).await;
}

/// Puts messages into the session, which the reader before has emptied.
async fn fill(port: u16, id: &str) {
    let (client, mut events) = client(port, "publisher");
    let (publisher, topic) = (client.clone(), topic(id));
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let body = event(number).to_string();
            let published = publisher.publish(topic.as_str(), QoS::AtLeastOnce, false, body);
            published.await.unwrap();
        }
    });
    let mut confirmed = 0;
    while confirmed < MESSAGES {
        let event = events.poll().await.unwrap();
        confirmed += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
    publishing.await.unwrap();
    leave(client, events).await;
}

async fn read(port: u16, id: &str) -> usize {
    let connection = json!({
        "host": "127.0.0.1", "port": port, "client_id": id, "topics": [topic(id)], "in_flight": IN_FLIGHT,
    });
    let mut source = support::source("mqtt", connection, Secrets::none());
    let found = support::read(&mut *source, MESSAGES).await;
    source.stop().await;
    found
}

async fn bare(port: u16, id: &str) -> usize {
    let (client, mut events) = client(port, id);
    let most = BatchLimits::default().max_records;
    let (mut found, mut batch) = (0, Vec::with_capacity(most));
    while found < MESSAGES {
        if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
            batch.push(message);
        }
        if batch.len() == most {
            found += most;
            for message in black_box(batch.drain(..)) {
                client.ack(&message).await.unwrap();
            }
        }
    }
    leave(client, events).await;
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(Mosquitto::start()).unwrap();
    let port = broker.port();
    for id in ["bare", "halcyon"] {
        runtime.block_on(subscribe(port, id));
    }
    let mut group = support::group(criterion, "mqtt", MESSAGES);
    let expect = |found: usize| assert_eq!(found, MESSAGES);
    group.bench_function("bare_client", |bench| {
        bench.iter_batched(
            || runtime.block_on(fill(port, "bare")),
            |()| expect(runtime.block_on(bare(port, "bare"))),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("connector", |bench| {
        bench.iter_batched(
            || runtime.block_on(fill(port, "halcyon")),
            |()| expect(runtime.block_on(read(port, "halcyon"))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
