//! Against a started RabbitMQ.

use std::{collections::BTreeSet, time::Duration};

use halcyon_tests::rabbitmq::{ADMIN, READER, RabbitMq, STRANGER};
use lapin::{
    BasicProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::Amqp,
    check, failure, password,
    peer::{CERTIFICATE, Rabbit, Way, declare, publish},
};
use crate::{
    BatchLimits, Connector, Error, SecretValue, Secrets, Source, SourceContext,
    compliance::{Peer, comply, context},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn rabbitmq_keeps_to_the_suite() {
    let broker = RabbitMq::start().await.unwrap();
    let _ = CERTIFICATE.set(broker.authority.client(READER.0));
    let kills = comply(&Amqp, &mut Rabbit::at(&broker, Way::Plain).await).await;
    println!("amqp, classic queue and password: {kills} kills");
    let kills = comply(&Amqp, &mut Rabbit::at(&broker, Way::External).await).await;
    println!("amqp, quorum queue, TLS and certificate: {kills} kills");

    let mut rabbit = Rabbit::at(&broker, Way::Plain).await;
    who_is_turned_away_is_told(&rabbit).await;
    tls_is_checked(&mut rabbit).await;
    a_queue_that_goes_is_told(&mut rabbit).await;
    a_test_run_takes_nothing(&mut rabbit).await;
    lag_and_prefetch_are_true(&mut rabbit).await;
    a_binding_is_made(&mut rabbit).await;
    big_messages_come_whole(&mut rabbit).await;
}

async fn refused(rabbit: &Rabbit<'_>, connection: Value, secrets: Secrets) {
    let made = Amqp.source(SourceContext {
        connection: connection.clone(),
        secrets,
        ..context(rabbit, None)
    });
    let outcome = timeout(PATIENCE, made.unwrap().next_batch()).await.unwrap();
    assert!(
        matches!(outcome, Err(Error::Refused { .. })),
        "{connection}: {outcome:?}"
    );
}

/// The same connection with another value at a pointer.
fn but(connection: &Value, pointer: &str, value: Value) -> Value {
    let mut connection = connection.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    connection.pointer_mut(parent).unwrap()[name] = value;
    connection
}

async fn who_is_turned_away_is_told(rabbit: &Rabbit<'_>) {
    let good = rabbit.connection();
    let stranger = but(&good, "/auth/username", json!(STRANGER.0));
    for (connection, secrets, step) in [
        (good.clone(), password("wrong"), "authenticate"),
        (
            but(&good, "/auth/username", json!("nobody")),
            password(READER.1),
            "authenticate",
        ),
        (
            but(&good, "/virtual_host", json!("none")),
            password(READER.1),
            "authenticate",
        ),
        (
            but(&good, "/virtual_host", json!("other")),
            password(READER.1),
            "authenticate",
        ),
        (
            but(&good, "/queue", json!("none")),
            password(READER.1),
            "permission",
        ),
        (stranger, password(STRANGER.1), "permission"),
    ] {
        assert_eq!(failure(&connection, &secrets).await, step, "{connection}");
        refused(rabbit, connection, secrets).await;
    }
    // Nobody may bind who may not write to the queue.
    let bind = json!({"exchange": "amq.topic", "routing_keys": ["a"]});
    refused(rabbit, but(&good, "/bind", bind), password(READER.1)).await;
    // A port where nobody listens passes.
    let away = but(&good, "/port", json!(halcyon_tests::ports::free()));
    assert_eq!(failure(&away, &password(READER.1)).await, "connect");
}

async fn tls_is_checked(rabbit: &mut Rabbit<'_>) {
    rabbit.way = Way::External;
    let (good, secrets) = (rabbit.connection(), rabbit.secrets());
    let other = halcyon_tests::authority::Authority::new();
    for wrong in [
        but(&good, "/tls/ca", json!(other.certificate)),
        but(&good, "/tls/server_name", json!("rabbit.example.com")),
    ] {
        assert_eq!(failure(&wrong, &secrets).await, "tls");
        refused(rabbit, wrong, secrets.clone()).await;
    }
    // A certificate that the authority signed, of somebody whom the broker does not know.
    let nobody = rabbit.broker.authority.client("nobody");
    let mut key = Secrets::none();
    key.insert("key", SecretValue::new(nobody.key.as_str()));
    let unknown = but(&good, "/tls/certificate", json!(nobody.certificate));
    assert_eq!(failure(&unknown, &key).await, "authenticate");
    refused(rabbit, unknown, key).await;
    rabbit.way = Way::Plain;
}

async fn a_queue_that_goes_is_told(rabbit: &mut Rabbit<'_>) {
    rabbit.fresh().await;
    rabbit.put(0..1).await;
    let mut source = rabbit.source();
    let batch = source.next_batch().await.unwrap().unwrap();
    source.ack(&batch.checkpoint).await.unwrap();
    let gone = rabbit
        .channel
        .queue_delete(rabbit.queue.as_str().into(), QueueDeleteOptions::default());
    gone.await.unwrap();
    let outcome = timeout(PATIENCE, source.next_batch()).await.unwrap();
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    // Once it is there again, the same source goes on.
    declare(&rabbit.channel, &rabbit.queue, "classic").await;
    rabbit.put(1..2).await;
    let batch = timeout(PATIENCE, source.next_batch())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(rabbit.number(&batch.records[0].bytes), 1);
    // An acknowledgement of the queue that went does not touch this one's messages.
    source
        .ack(&crate::Checkpoint(json!({"consumer": "another", "delivery": 1})))
        .await
        .unwrap();
    drop(source);
    let again = timeout(PATIENCE, rabbit.source().next_batch())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(again.records[0].dedupe_key, batch.records[0].dedupe_key);
}

async fn a_test_run_takes_nothing(rabbit: &mut Rabbit<'_>) {
    rabbit.fresh().await;
    let look = || SourceContext {
        sample: true,
        ..context(rabbit, None)
    };
    let mut early = Amqp.source(look()).unwrap();
    let waiting = timeout(Duration::from_millis(300), early.next_batch()).await;
    assert!(waiting.is_err(), "there is nothing yet");
    rabbit.put(0..20).await;
    let seen = timeout(PATIENCE, early.next_batch())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!seen.records.is_empty());
    assert!(early.next_batch().await.unwrap().is_none());
    let mut second = Amqp.source(SourceContext {
        sample: true,
        ..context(rabbit, None)
    });
    let seen = second.as_mut().unwrap().next_batch().await.unwrap().unwrap();
    assert_eq!(seen.records.len(), 7);
    // They are back before the test run has ended, in their order.
    let mut source = rabbit.source();
    let mut found = Vec::new();
    while found.len() < 20 {
        let batch = timeout(PATIENCE, source.next_batch())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        found.extend(batch.records.iter().map(|record| rabbit.number(&record.bytes)));
    }
    assert_eq!(found, (0..20).collect::<Vec<_>>());
}

async fn lag_and_prefetch_are_true(rabbit: &mut Rabbit<'_>) {
    rabbit.fresh().await;
    rabbit.put(0..30).await;
    let mut source = Amqp
        .source(SourceContext {
            connection: but(&rabbit.connection(), "/prefetch", json!(10)),
            limits: BatchLimits {
                max_records: 100,
                max_wait: Duration::from_millis(20),
            },
            ..context(rabbit, None)
        })
        .unwrap();
    assert_eq!(source.lag().records, None);
    let first = source.next_batch().await.unwrap().unwrap();
    assert_eq!(first.records.len(), 10, "no more than the prefetch is handed out");
    let more = timeout(Duration::from_millis(300), source.next_batch()).await;
    assert!(more.is_err(), "and nothing before an acknowledgement");
    source.ack(&first.checkpoint).await.unwrap();
    let second = timeout(PATIENCE, source.next_batch())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(second.records.len(), 10);
    // 10 are left; the number is asked for each few seconds.
    let deadline = Instant::now() + PATIENCE;
    while source.lag().records != Some(10) {
        assert!(Instant::now() < deadline, "{:?}", source.lag());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn a_binding_is_made(rabbit: &mut Rabbit<'_>) {
    rabbit.fresh().await;
    let topic = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let made =
        rabbit
            .channel
            .exchange_declare("events".into(), ExchangeKind::Topic, topic, FieldTable::default());
    made.await.unwrap();
    let bound = but(
        &but(
            &rabbit.connection(),
            "/bind",
            json!({"exchange": "events", "routing_keys": ["alerts.#", "x"]}),
        ),
        "/auth/username",
        json!(ADMIN.0),
    );
    let mut source = Amqp
        .source(SourceContext {
            connection: bound.clone(),
            secrets: password(ADMIN.1),
            ..context(rabbit, None)
        })
        .unwrap();
    // Nothing is there yet, but after this the binding is.
    let deadline = Instant::now() + PATIENCE;
    while source.lag().records.is_none() {
        assert!(Instant::now() < deadline);
        let _ = timeout(Duration::from_millis(100), source.next_batch()).await;
    }
    for (key, number) in [("alerts.high.auth", 1), ("audit", 2), ("x", 3)] {
        let body = json!({"n": number}).to_string();
        publish(
            &rabbit.channel,
            "events",
            key,
            body.as_bytes(),
            BasicProperties::default(),
        )
        .await;
    }
    let mut found = Vec::new();
    while found.len() < 2 {
        let batch = timeout(PATIENCE, source.next_batch())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        found.extend(batch.records.into_iter().map(|record| {
            assert_eq!(record.headers["exchange"], "events");
            (
                rabbit.number(&record.bytes),
                record.headers["routing_key"].clone(),
            )
        }));
    }
    assert_eq!(found, [(1, "alerts.high.auth".to_owned()), (3, "x".to_owned())]);
    let missing = but(&bound, "/bind/exchange", json!("none"));
    refused(rabbit, missing, password(ADMIN.1)).await;
    assert!(
        check(&bound, &password(ADMIN.1))
            .await
            .iter()
            .all(|result| result.remedy.is_none())
    );
}

async fn big_messages_come_whole(rabbit: &mut Rabbit<'_>) {
    rabbit.fresh().await;
    let bodies: Vec<Vec<u8>> = (0..6)
        .map(|number| vec![b'a' + number; 3 * 1024 * 1024])
        .collect();
    for body in &bodies {
        rabbit.publish(body, BasicProperties::default()).await;
    }
    rabbit.publish(b"", BasicProperties::default()).await;
    let (mut source, mut found) = (rabbit.source(), Vec::new());
    while found.len() < 7 {
        let batch = timeout(PATIENCE, source.next_batch())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let size: usize = batch.records.iter().map(|record| record.bytes.len()).sum();
        assert!(size <= 8 * 1024 * 1024, "a batch is bounded in bytes");
        found.extend(batch.records.into_iter().map(|record| record.bytes.to_vec()));
        source.ack(&batch.checkpoint).await.unwrap();
    }
    assert!(found[..6] == bodies[..] && found[6].is_empty());
}

/// A durable queue, and a broker that dies in the middle: nothing is lost, and nothing counts twice. (A quorum
/// queue of a single node does not survive that in this version of RabbitMQ, whoever reads it.)
#[tokio::test]
async fn a_broker_that_dies_loses_nothing() {
    const COUNT: u64 = 300;
    let mut broker = RabbitMq::start().await.unwrap();
    let mut rabbit = Rabbit::at(&broker, Way::Plain).await;
    rabbit.put(0..COUNT).await;
    let connection = but(&rabbit.connection(), "/prefetch", json!(50));
    let mut source = Amqp
        .source(SourceContext {
            connection,
            ..context(&rabbit, None)
        })
        .unwrap();
    drop(rabbit);
    let (mut seen, mut reads) = (BTreeSet::new(), 0);
    for part in 1..=2 {
        read_to(&mut source, &mut seen, &mut reads, COUNT * part / 2).await;
        if part < 2 {
            broker.kill().unwrap();
            broker.restart().await.unwrap();
        }
    }
    let lost = COUNT - seen.len() as u64;
    assert_eq!(lost, 0);
    assert!(reads as u64 > COUNT, "what was not acknowledged comes again");
    println!("amqp: {COUNT} messages, 1 death of the broker, {reads} reads, {lost} lost, 0 twice by key");
}

/// Reads until `count` messages are known by their keys.
async fn read_to(source: &mut Box<dyn Source>, seen: &mut BTreeSet<String>, reads: &mut usize, count: u64) {
    let (deadline, mut last) = (Instant::now() + PATIENCE, String::new());
    while (seen.len() as u64) < count {
        assert!(
            Instant::now() < deadline,
            "only {} of {count}: {last}",
            seen.len()
        );
        match timeout(PATIENCE, source.next_batch()).await.unwrap() {
            Ok(batch) => {
                let batch = batch.unwrap();
                *reads += batch.records.len();
                seen.extend(batch.records.into_iter().filter_map(|record| record.dedupe_key));
                // The last ones before a death are not acknowledged, and so come again.
                if (seen.len() as u64) < count {
                    let _ = source.ack(&batch.checkpoint).await;
                }
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                last = error.to_string();
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
