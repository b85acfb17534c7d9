//! The suite, and what is particular to reading Kafka.

use std::{collections::BTreeSet, time::Duration};

use halcyon_domain::{clock::Timestamp, test_run::CheckStatus};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{front::Way, peer::KafkaPeer};
use crate::{
    CheckContext, Connector, Error, SecretValue, Secrets, Share, Source, SourceBatch, SourceContext,
    SourceRecord, TimeRange,
    compliance::{Peer, comply, context, loopback},
    kafka::{Kafka, sasl::Mechanism},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn number(record: &SourceRecord) -> u64 {
    let value: Value = serde_json::from_slice(&record.bytes).unwrap();
    value["n"].as_u64().unwrap()
}

/// The next batch; transient failures are tried again until the deadline.
pub(super) async fn next(source: &mut Box<dyn Source>) -> Option<SourceBatch> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no batch in time");
        match timeout(PATIENCE, source.next_batch()).await.unwrap() {
            Ok(batch) => return batch,
            Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads and acknowledges so many records.
async fn read(source: &mut Box<dyn Source>, count: usize) -> Vec<SourceRecord> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = next(source).await.expect("the feed goes on");
        source.ack(&batch.checkpoint).await.unwrap();
        found.extend(batch.records);
    }
    found
}

fn numbers(records: &[SourceRecord]) -> BTreeSet<u64> {
    records.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_over_tls_with_scram() {
    let way = Way {
        tls: true,
        mechanism: Some(Mechanism::Scram512),
    };
    let mut peer = KafkaPeer::start(1, Some(way)).await;
    let kills = comply(&Kafka, &mut peer).await;
    println!("kafka: killed at {kills} points, nothing lost, nothing twice");
}

async fn failed(connection: &Value, secrets: &Secrets) -> Vec<String> {
    let context = CheckContext {
        connection,
        secrets,
        clock: &halcyon_domain::clock::SystemClock,
        guard: &loopback(),
    };
    let results = Kafka.check(&context).await;
    let failed = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed);
    failed.map(|result| result.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_in_is_proved_and_what_is_wrong_has_a_name() {
    for (tls, mechanism) in [(false, Mechanism::Plain), (true, Mechanism::Scram256)] {
        let way = Way {
            tls,
            mechanism: Some(mechanism),
        };
        let mut peer = KafkaPeer::start(2, Some(way)).await;
        peer.fresh().await;
        peer.put(0..20).await;
        let mut source = Kafka.source(context(&peer, None)).unwrap();
        assert_eq!(numbers(&read(&mut source, 20).await), (0..20).collect());
        source.stop().await;
        let good = peer.connection();
        assert!(failed(&good, &peer.secrets()).await.is_empty());
        let mut wrong = Secrets::none();
        wrong.insert("password", SecretValue::new("wrong"));
        assert_eq!(failed(&good, &wrong).await, ["authenticate"]);
        let mut cases = vec![
            ("/sasl/username", json!("stranger"), "authenticate"),
            ("/topics/0", json!("missing"), "permission"),
        ];
        if tls {
            cases.push(("/tls/server_name", json!("other.example"), "tls"));
        }
        for (pointer, value, expected) in cases {
            let mut connection = good.clone();
            *connection.pointer_mut(pointer).unwrap() = value;
            assert_eq!(
                failed(&connection, &peer.secrets()).await,
                [expected],
                "{pointer}"
            );
            // The reader says the same, and does not try again in vain.
            let mut context = context(&peer, None);
            context.connection = connection;
            let mut source = Kafka.source(context).unwrap();
            let refused = timeout(PATIENCE, source.next_batch()).await.unwrap();
            assert!(
                matches!(refused, Err(Error::Refused { .. })),
                "{pointer}: {refused:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_may_go_and_come_back() {
    let mut peer = KafkaPeer::start(3, None).await;
    peer.fresh().await;
    peer.put(0..30).await;
    let mut source = Kafka.source(context(&peer, None)).unwrap();
    let mut found = read(&mut source, 30).await;
    // One after the other, the group's coordinator among them.
    for broker in 1..=3 {
        peer.cluster().broker_down(broker).unwrap();
        let _ = timeout(Duration::from_secs(1), source.next_batch()).await;
        peer.cluster().broker_up(broker).unwrap();
        let from = 30 + u64::try_from(broker - 1).unwrap() * 10;
        peer.put(from..from + 10).await;
        while numbers(&found).len() < usize::try_from(from + 10).unwrap() {
            found.extend(read(&mut source, 1).await);
        }
    }
    // All at a time: that is to be seen.
    (1..=3).for_each(|broker| peer.cluster().broker_down(broker).unwrap());
    let away = timeout(PATIENCE, source.next_batch()).await.unwrap();
    assert!(matches!(away, Err(Error::Transient { .. })), "{away:?}");
    (1..=3).for_each(|broker| peer.cluster().broker_up(broker).unwrap());
    peer.put(60..70).await;
    while numbers(&found).len() < 70 {
        found.extend(read(&mut source, 1).await);
    }
    let keys: BTreeSet<_> = found
        .iter()
        .map(|record| record.dedupe_key.clone().unwrap())
        .collect();
    assert_eq!(keys.len(), 70, "each record has one identity");
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_whole_and_with_what_belongs_to_them() {
    let mut peer = KafkaPeer::start(1, None).await;
    peer.fresh().await;
    let topic = peer.topic();
    // The mock keeps 5 MiB of a partition.
    let large = json!({"n": 1, "text": "x".repeat(3 << 20)}).to_string();
    peer.put_at(&topic, 0, Some(b"host-1"), Some(large.as_bytes()));
    peer.put_at(&topic, 0, Some(b"host-1"), None);
    peer.put_at(&topic, 0, Some(&[0xff]), Some(b"{\"n\": 2}"));
    peer.flush();
    let mut source = Kafka.source(context(&peer, None)).unwrap();
    let found = read(&mut source, 2).await;
    assert_eq!(found[0].bytes.len(), large.len());
    let headers = &found[0].headers;
    for (name, value) in [
        ("x-tenant", "blue"),
        ("kafka-topic", topic.as_str()),
        ("kafka-partition", "0"),
        ("kafka-offset", "0"),
        ("kafka-key", "host-1"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers.contains_key("kafka-timestamp"));
    assert_eq!(found[1].headers["kafka-key"], "base64:/w==");
    assert_eq!(number(&found[1]), 2, "the tombstone between them is left out");
    // Nothing is behind once the library has told.
    let deadline = Instant::now() + PATIENCE;
    while source.lag().records != Some(0) {
        assert!(Instant::now() < deadline, "{:?}", source.lag());
        let _ = timeout(Duration::from_millis(100), source.next_batch()).await;
    }
    source.stop().await;
    let mut kept = context(&peer, None);
    kept.connection["tombstones"] = json!("keep");
    kept.connection["format"] = json!("raw");
    kept.connection["group"] = json!("other");
    let mut source = Kafka.source(kept).unwrap();
    let found = read(&mut source, 3).await;
    assert_eq!(found[1].bytes, "null");
    assert_eq!(found[1].headers["kafka-tombstone"], "true");
    let raw: Value = serde_json::from_slice(&found[2].bytes).unwrap();
    assert_eq!(raw, json!({"text": "{\"n\": 2}"}));
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_now_on_means_from_the_first_start_on() {
    let mut peer = KafkaPeer::start(1, None).await;
    peer.fresh().await;
    peer.put(0..9).await;
    let latest = |peer: &KafkaPeer| {
        let mut context = context(peer, None);
        context.connection["start"] = json!("latest");
        Kafka.source(context).unwrap()
    };
    let mut source = latest(&peer);
    let group = peer.connection()["group"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + PATIENCE;
    while peer.committed(&group, &peer.topic()) != vec![Some(3); 3] {
        assert!(Instant::now() < deadline, "the start is kept");
        let nothing = timeout(Duration::from_millis(200), source.next_batch()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
    // A death before the first record: what came meanwhile is not left out.
    drop(source);
    peer.put(9..18).await;
    let mut source = latest(&peer);
    assert_eq!(numbers(&read(&mut source, 9).await), (9..18).collect());
    source.stop().await;
    assert_eq!(peer.committed(&group, &peer.topic()), vec![Some(6); 3]);
    // An operator's wish comes before what the group has.
    let wish = json!({"offsets": {}, "seek": {peer.topic(): {"0": 1, "1": 1, "2": 1}}});
    let mut source = Kafka
        .source(context(&peer, Some(crate::Checkpoint(wish))))
        .unwrap();
    assert_eq!(numbers(&read(&mut source, 15).await), (3..18).collect());
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_mean_nothing_in_another_cluster() {
    let mut old = KafkaPeer::start(1, None).await;
    old.fresh().await;
    old.put(0..30).await;
    let mut source = Kafka.source(context(&old, None)).unwrap();
    let (mut count, mut last) = (0, None);
    while count < 30 {
        let batch = next(&mut source).await.unwrap();
        source.ack(&batch.checkpoint).await.unwrap();
        count += batch.records.len();
        last = Some(batch.checkpoint);
    }
    source.stop().await;
    // The topic and the group have the same names there.
    let mut new = KafkaPeer::start(1, None).await;
    new.fresh().await;
    new.put(0..60).await;
    let mut source = Kafka.source(context(&new, last.clone())).unwrap();
    assert_eq!(numbers(&read(&mut source, 60).await), (0..60).collect());
    source.stop().await;
    // Another group of the old cluster goes on where the checkpoint says.
    old.put(30..36).await;
    let mut other = context(&old, last);
    other.connection["group"] = json!("other");
    let mut source = Kafka.source(other).unwrap();
    assert_eq!(numbers(&read(&mut source, 6).await), (30..36).collect());
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_ends_and_a_sample_takes_nothing() {
    let mut peer = KafkaPeer::start(1, None).await;
    peer.fresh().await;
    peer.put(0..30).await;
    let mut sample = Kafka
        .source(SourceContext {
            sample: true,
            ..context(&peer, None)
        })
        .unwrap();
    assert_eq!(numbers(&read(&mut sample, 30).await), (0..30).collect());
    sample.stop().await;
    let group = peer.connection()["group"].as_str().unwrap().to_owned();
    assert_eq!(peer.committed(&group, &peer.topic()), vec![None; 3]);
    // The mock knows no times: the range is all that there is.
    let range = Some(TimeRange {
        from: Timestamp::default(),
        to: "2100-01-01T00:00:00Z".parse().unwrap(),
    });
    let mut found = Vec::new();
    for index in 0..2 {
        let make = |checkpoint| {
            let share = Share { index, of: 2 };
            Kafka.source(SourceContext {
                range,
                share,
                ..context(&peer, checkpoint)
            })
        };
        let mut source = make(None).unwrap();
        let mut batches = 0;
        while let Some(batch) = next(&mut source).await {
            found.extend(batch.records.iter().map(number));
            batches += 1;
            if batches == 1 {
                // A death in the middle: the next one goes on behind the checkpoint.
                source = make(Some(batch.checkpoint)).unwrap();
            }
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..30).collect::<Vec<_>>());
}
