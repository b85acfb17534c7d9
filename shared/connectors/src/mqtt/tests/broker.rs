//! Against a started Mosquitto.

use std::{collections::BTreeSet, time::Duration};

use halcyon_tests::mosquitto::Mosquitto;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::Mqtt,
    but, check, failure,
    peer::{Broker, CERTIFICATE, PATIENCE, Way},
    secret,
};
use crate::{
    Connector, Error, Source, SourceContext,
    compliance::{Peer, comply, context},
};

#[tokio::test]
async fn mosquitto_keeps_to_the_suite() {
    let broker = Mosquitto::start().await.unwrap();
    let _ = CERTIFICATE.set(broker.authority.client("reader"));
    for (way, told) in [
        (Way::Password, "version 5, quality 1, password"),
        (Way::Certificate, "version 3.1.1, quality 2, TLS and certificate"),
        (Way::Group, "version 5, quality 1, shared subscription"),
    ] {
        let kills = comply(&Mqtt, &mut Broker::at(&broker, way).await).await;
        println!("mqtt, {told}: {kills} kills");
    }
}

#[tokio::test]
async fn who_is_turned_away_is_told() {
    let broker = Mosquitto::start().await.unwrap();
    let _ = CERTIFICATE.set(broker.authority.client("reader"));
    let mut peer = Broker::at(&broker, Way::Password).await;
    let good = peer.connection();
    let other = halcyon_tests::authority::Authority::new();
    let stranger = other.client("reader");
    peer.way = Way::Certificate;
    let (tls, key) = (peer.connection(), peer.secrets());
    let password = secret("password", halcyon_tests::mosquitto::USER.1);
    for (connection, secrets, step) in [
        (good.clone(), secret("password", "wrong"), "authenticate"),
        (
            but(&good, "/auth/username", json!("nobody")),
            password.clone(),
            "authenticate",
        ),
        (but(&tls, "/tls/ca", json!(other.certificate)), key.clone(), "tls"),
        (
            but(&tls, "/tls/server_name", json!("mqtt.example.com")),
            key.clone(),
            "tls",
        ),
        // With TLS 1.3 the broker looks at the certificate when we think that TLS is agreed on.
        (
            but(&tls, "/tls/certificate", json!(stranger.certificate)),
            secret("key", &stranger.key),
            "authenticate",
        ),
    ] {
        assert_eq!(failure(&connection, &secrets).await, step, "{connection}");
        let made = Mqtt.source(SourceContext {
            connection: connection.clone(),
            secrets,
            ..context(&peer, None)
        });
        let outcome = timeout(PATIENCE, made.unwrap().next_batch()).await.unwrap();
        assert!(
            matches!(outcome, Err(Error::Refused { .. })),
            "{connection}: {outcome:?}"
        );
    }
    let away = but(&good, "/port", json!(halcyon_tests::ports::free()));
    assert_eq!(failure(&away, &password).await, "connect");
    let results = check(&good, &password).await;
    assert!(
        results.iter().all(|result| result.remedy.is_none()),
        "{results:?}"
    );
}

/// A broker that dies in the middle, with its store: nothing is lost, and nothing counts twice.
#[tokio::test]
async fn a_broker_that_dies_loses_nothing() {
    const COUNT: u64 = 300;
    let mut broker = Mosquitto::start().await.unwrap();
    let _ = CERTIFICATE.set(broker.authority.client("reader"));
    let mut readers = Vec::new();
    for way in [Way::Group, Way::Certificate] {
        let mut peer = Broker::at(&broker, way).await;
        peer.put(0..COUNT).await;
        readers.push((peer.source(), BTreeSet::new(), 0_usize));
    }
    for part in 1..=3 {
        for (source, seen, reads) in &mut readers {
            read_to(source, seen, reads, COUNT * part / 3).await;
        }
        if part < 3 {
            broker.save().await.unwrap();
            broker.kill().unwrap();
            broker.restart().await.unwrap();
        }
    }
    for (_, seen, reads) in &readers {
        let lost = COUNT - seen.len() as u64;
        assert_eq!(lost, 0);
        assert!(*reads as u64 > COUNT, "what was not acknowledged comes again");
        println!(
            "mqtt: {COUNT} messages, 2 deaths of the broker, {reads} reads, {lost} lost, 0 twice by key"
        );
    }
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
