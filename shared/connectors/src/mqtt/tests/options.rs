//! Each option, against a started Mosquitto.

use std::{collections::BTreeSet, time::Duration};

use halcyon_tests::mosquitto::Mosquitto;
use rumqttc::v5::{self, mqttbytes::v5::PublishProperties};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    super::Mqtt,
    but,
    peer::{Broker, PATIENCE, Way, unique},
};
use crate::{
    BatchLimits, Checkpoint, Connector, Share, Source, SourceBatch, SourceContext,
    compliance::{Peer, context},
};

#[tokio::test]
async fn each_option_does_what_it_says() {
    let broker = Mosquitto::start().await.unwrap();
    let mut peer = Broker::at(&broker, Way::Group).await;
    members_of_a_group_share(&mut peer).await;
    a_test_run_takes_nothing(&mut peer).await;
    what_is_in_flight_is_bounded(&mut peer).await;
    a_dropped_topic_is_taken_back(&mut peer).await;
    retained_messages_come_if_they_are_wanted(&mut peer).await;
    quality_0_is_read_live(&mut peer).await;
    a_session_has_one_reader(&mut peer).await;
    properties_come_along(&mut peer).await;
    big_messages_come_whole(&mut peer).await;
    a_small_window_does_not_slow_reading(&mut peer).await;
}

async fn batch(source: &mut Box<dyn Source>) -> SourceBatch {
    timeout(PATIENCE, source.next_batch())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

/// Nothing comes for a while.
async fn quiet(source: &mut Box<dyn Source>) {
    let more = timeout(Duration::from_millis(500), source.next_batch()).await;
    assert!(more.is_err(), "{more:?}");
}

/// All that there is to read, acknowledged.
async fn drain(peer: &Broker<'_>, source: &mut Box<dyn Source>) -> Vec<u64> {
    let mut found = Vec::new();
    while let Ok(batch) = timeout(Duration::from_millis(500), source.next_batch()).await {
        let batch = batch.unwrap().unwrap();
        found.extend(batch.records.iter().map(|record| peer.number(&record.bytes)));
        source.ack(&batch.checkpoint).await.unwrap();
    }
    found
}

async fn members_of_a_group_share(peer: &mut Broker<'_>) {
    peer.topic = unique("alarms/a");
    let member = |index| {
        Mqtt.source(SourceContext {
            share: Share { index, of: 2 },
            ..context(peer, None)
        })
    };
    let (mut one, mut two) = (member(0).unwrap(), member(1).unwrap());
    for source in [&mut one, &mut two] {
        quiet(source).await;
    }
    peer.put(0..30).await;
    let (first, second) = (drain(peer, &mut one).await, drain(peer, &mut two).await);
    assert!(!first.is_empty() && !second.is_empty(), "both have some");
    let all: BTreeSet<u64> = first.iter().chain(&second).copied().collect();
    assert_eq!((first.len() + second.len(), all.len()), (30, 30));
    one.stop().await;
    two.stop().await;
}

async fn a_test_run_takes_nothing(peer: &mut Broker<'_>) {
    peer.fresh().await;
    let mut guest = Mqtt
        .source(SourceContext {
            sample: true,
            ..context(peer, None)
        })
        .unwrap();
    quiet(&mut guest).await;
    peer.put(0..10).await;
    assert!(!batch(&mut guest).await.records.is_empty());
    guest.stop().await;
    let mut source = peer.source();
    assert_eq!(drain(peer, &mut source).await, (0..10).collect::<Vec<_>>());
    source.stop().await;
}

async fn what_is_in_flight_is_bounded(peer: &mut Broker<'_>) {
    peer.fresh().await;
    peer.put(0..12).await;
    let mut source = Mqtt
        .source(SourceContext {
            connection: but(&peer.connection(), "/in_flight", json!(5)),
            limits: BatchLimits {
                max_records: 100,
                max_wait: Duration::from_millis(200),
            },
            ..context(peer, None)
        })
        .unwrap();
    let first = batch(&mut source).await;
    assert_eq!(first.records.len(), 5);
    quiet(&mut source).await;
    source.ack(&first.checkpoint).await.unwrap();
    assert_eq!(drain(peer, &mut source).await, (5..12).collect::<Vec<_>>());
    source.stop().await;
}

async fn a_dropped_topic_is_taken_back(peer: &mut Broker<'_>) {
    peer.topic = unique("alarms/a");
    let (kept, dropped) = (peer.topic.clone(), unique("alarms/b"));
    let with = |topics: Value| but(&but(&peer.connection(), "/topics", topics), "/group", json!("g"));
    let (both, one) = (with(json!([kept, dropped])), with(json!([kept])));
    let mut source = peer.source_of(both);
    quiet(&mut source).await;
    peer.publisher.publish(&dropped, b"{\"n\":1}").await;
    let read = batch(&mut source).await;
    assert_eq!(read.records[0].headers["topic"], dropped);
    source.ack(&read.checkpoint).await.unwrap();
    source.stop().await;
    // The next version knows by the checkpoint what the session has.
    let stored: Checkpoint = serde_json::from_str(&serde_json::to_string(&read.checkpoint).unwrap()).unwrap();
    let made = Mqtt.source(SourceContext {
        connection: one,
        ..context(peer, Some(stored))
    });
    let mut source = made.unwrap();
    quiet(&mut source).await;
    peer.publisher.publish(&dropped, b"{\"n\":2}").await;
    peer.publisher.publish(&kept, b"{\"n\":3}").await;
    assert_eq!(drain(peer, &mut source).await, [3]);
    source.stop().await;
}

async fn retained_messages_come_if_they_are_wanted(peer: &mut Broker<'_>) {
    for version in ["5", "3.1.1"] {
        for (wanted, expected) in [(true, &[7, 8][..]), (false, &[8])] {
            let topic = unique("alarms/a");
            peer.publisher.send(&topic, b"{\"n\":7}", true).await;
            let connection = json!({
                "host": "127.0.0.1", "port": peer.broker.port(), "client_id": unique("r"),
                "topics": [topic], "version": version, "retained": wanted,
            });
            let mut source = peer.source_of(connection);
            let mut found = drain(peer, &mut source).await;
            peer.publisher.publish(&topic, b"{\"n\":8}").await;
            found.extend(drain(peer, &mut source).await);
            assert_eq!(found, expected, "{version}");
            source.stop().await;
        }
    }
}

async fn quality_0_is_read_live(peer: &mut Broker<'_>) {
    peer.topic = unique("alarms/a");
    let mut source = peer.source_of(but(&peer.connection(), "/qos", json!(0)));
    quiet(&mut source).await;
    peer.put(0..50).await;
    assert_eq!(drain(peer, &mut source).await, (0..50).collect::<Vec<_>>());
    drop(source);
    // What comes while nobody reads is lost, as the option says.
    peer.put(50..60).await;
    let mut source = peer.source_of(but(&peer.connection(), "/qos", json!(0)));
    quiet(&mut source).await;
    source.stop().await;
}

async fn a_session_has_one_reader(peer: &mut Broker<'_>) {
    peer.fresh().await;
    let mut first = peer.source();
    quiet(&mut first).await;
    let mut second = peer.source();
    quiet(&mut second).await;
    let outcome = timeout(PATIENCE, first.next_batch()).await.unwrap();
    assert!(
        outcome.as_ref().is_err_and(crate::Error::is_transient),
        "{outcome:?}"
    );
    first.stop().await;
    peer.put(0..3).await;
    assert_eq!(drain(peer, &mut second).await, [0, 1, 2]);
    second.stop().await;
}

async fn properties_come_along(peer: &mut Broker<'_>) {
    peer.fresh().await;
    let options = v5::MqttOptions::new(unique("publisher"), "127.0.0.1", peer.broker.port());
    let (client, mut events) = v5::AsyncClient::new(options, 10);
    let task = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let properties = PublishProperties {
        content_type: Some("application/json".to_owned()),
        correlation_data: Some(vec![1, 255].into()),
        message_expiry_interval: Some(600),
        user_properties: vec![("X-Tenant".to_owned(), "acme".to_owned())],
        ..PublishProperties::default()
    };
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    client
        .publish_with_properties(peer.topic.clone(), qos, false, &b"{\"n\":1}"[..], properties)
        .await
        .unwrap();
    let mut source = peer.source();
    let read = batch(&mut source).await;
    let headers: Vec<_> = read.records[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("content_type", "application/json"),
        ("correlation_data", "01ff"),
        ("qos", "1"),
        ("retained", "false"),
        ("topic", peer.topic.as_str()),
        ("x-tenant", "acme"),
    ];
    assert_eq!(headers, expected);
    source.ack(&read.checkpoint).await.unwrap();
    source.stop().await;
    task.abort();
}

async fn big_messages_come_whole(peer: &mut Broker<'_>) {
    peer.fresh().await;
    // Together more than there is room for.
    let bodies: Vec<Vec<u8>> = (0..9)
        .map(|number| vec![b'a' + number; 6 * 1024 * 1024])
        .collect();
    for body in &bodies {
        peer.publisher.publish(&peer.topic, body).await;
    }
    peer.publisher.publish(&peer.topic, b"").await;
    let (mut source, mut found) = (peer.source(), Vec::new());
    while found.len() < 10 {
        let read = batch(&mut source).await;
        found.extend(read.records.into_iter().map(|record| record.bytes.to_vec()));
        source.ack(&read.checkpoint).await.unwrap();
    }
    assert!(found[..9] == bodies[..] && found[9].is_empty());
    source.stop().await;
}

/// Mosquitto hands out 20 messages at a time. Batches that could be larger do not wait for more each time.
async fn a_small_window_does_not_slow_reading(peer: &mut Broker<'_>) {
    const COUNT: u64 = 2_000;
    peer.fresh().await;
    peer.put(0..COUNT).await;
    let limits = BatchLimits {
        max_records: 500,
        max_wait: Duration::from_secs(2),
    };
    let made = Mqtt.source(SourceContext {
        limits,
        ..context(peer, None)
    });
    let (mut source, mut found, begun) = (made.unwrap(), 0, Instant::now());
    while found < COUNT {
        let read = batch(&mut source).await;
        found += read.records.len() as u64;
        source.ack(&read.checkpoint).await.unwrap();
    }
    // To wait each time would take 200 s.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    source.stop().await;
}
