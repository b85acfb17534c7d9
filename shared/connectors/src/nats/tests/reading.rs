//! What is particular to NATS: a server that dies, subjects, starts, identities, permissions, ranges, samples.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_nats::{HeaderMap, jetstream::consumer::pull};
use halcyon_domain::test_run::CheckStatus;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::peer::{NatsPeer, Way};
use crate::{
    CheckContext, Connector, Error, Share, Source, SourceBatch, SourceContext, SourceRecord, TimeRange,
    compliance::{Peer, context, loopback},
    nats::Nats,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn number(record: &SourceRecord) -> u64 {
    serde_json::from_slice::<Value>(&record.bytes).unwrap()["n"]
        .as_u64()
        .unwrap()
}

/// The next batch; transient failures are tried again until the deadline.
async fn next(source: &mut Box<dyn Source>) -> Option<SourceBatch> {
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

/// Reads and acknowledges until there are so many different records.
async fn read(source: &mut Box<dyn Source>, count: usize) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    while found.len() < count {
        let batch = next(source).await.expect("the feed goes on");
        found.extend(
            batch
                .records
                .iter()
                .map(|record| (record.dedupe_key.clone().unwrap(), number(record))),
        );
        // The server may have gone: then it gives the batch again.
        let _ = source.ack(&batch.checkpoint).await;
    }
    found
}

fn with(peer: &NatsPeer, changes: &[(&str, Value)]) -> SourceContext {
    let mut context = context(peer, None);
    for (key, value) in changes {
        context.connection[*key] = value.clone();
    }
    context
}

#[tokio::test]
async fn a_server_that_is_killed_loses_nothing() {
    let mut peer = NatsPeer::start(Way::Password).await;
    peer.fresh().await;
    peer.put(0..60).await;
    let mut source = Nats.source(context(&peer, None)).unwrap();
    let mut found = read(&mut source, 20).await;
    for round in 0..3 {
        peer.server.kill().unwrap();
        let lost = timeout(PATIENCE, async {
            // What is on this side is still given; then it says that the server is gone.
            while let Ok(batch) = source.next_batch().await {
                drop(batch);
            }
        });
        lost.await.unwrap();
        peer.server.restart().await.unwrap();
        peer.put(60 + round * 10..70 + round * 10).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while found.values().copied().collect::<BTreeSet<_>>().len() < 90 {
        assert!(Instant::now() < deadline, "{found:?}");
        found.extend(read(&mut source, 1).await);
    }
    let numbers: Vec<u64> = found
        .values()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(numbers, (0..90).collect::<Vec<_>>());
    assert_eq!(found.len(), 90, "each has one identity");
    // All of it is acknowledged: the consumer has nothing left to give.
    let consumer = peer.context().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumer = consumer
            .get_consumer_from_stream::<pull::Config, _, _>("halcyon", peer.stream())
            .await
            .unwrap();
        let info = consumer.cached_info();
        if info.num_ack_pending == 0 && info.num_pending == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{info:?}");
        if let Ok(Ok(Some(batch))) = timeout(Duration::from_millis(200), source.next_batch()).await {
            source.ack(&batch.checkpoint).await.unwrap();
        }
    }
    source.stop().await;
}

#[tokio::test]
async fn options_do_what_they_say() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    peer.put(0..30).await;
    // Only some subjects, through a consumer of its own.
    let filter = json!([format!("{}.1", peer.stream().to_lowercase())]);
    let mut source = Nats
        .source(with(
            &peer,
            &[("filter", filter.clone()), ("consumer", json!("filtered"))],
        ))
        .unwrap();
    let found = read(&mut source, 10).await;
    assert!(found.values().all(|number| number % 3 == 1), "{found:?}");
    source.stop().await;
    // Another filter over the same consumer is said, not ignored.
    let other = json!([format!("{}.2", peer.stream().to_lowercase())]);
    let mut source = Nats
        .source(with(&peer, &[("filter", other), ("consumer", json!("filtered"))]))
        .unwrap();
    let refused = source.next_batch().await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    // From a number on.
    let start = json!({"from": "sequence", "sequence": 26});
    let mut source = Nats
        .source(with(&peer, &[("start", start), ("consumer", json!("late"))]))
        .unwrap();
    let batch = next(&mut source).await.unwrap();
    assert_eq!(
        batch.records.iter().map(number).collect::<Vec<_>>(),
        [25, 26, 27, 28, 29]
    );
    assert_eq!(source.lag().records, Some(0));
    let headers = &batch.records[0].headers;
    assert_eq!(headers["nats-sequence"], "26");
    assert_eq!(headers["nats-stream"], peer.stream());
    assert!(headers["nats-subject"].ends_with(".1"), "{headers:?}");
    source.stop().await;
    // Only what is new, known by the publisher's name for it.
    let mut source = Nats
        .source(with(
            &peer,
            &[
                ("start", json!({"from": "new"})),
                ("consumer", json!("new")),
                ("dedupe", json!("message_id")),
            ],
        ))
        .unwrap();
    assert!(
        timeout(Duration::from_secs(1), source.next_batch())
            .await
            .is_err(),
        "nothing is new"
    );
    let mut own = HeaderMap::new();
    own.insert("Nats-Msg-Id", "alert-7");
    own.insert("X-Tenant", "blue");
    let client = peer.context().await;
    client
        .publish_with_headers("s1.x", own, json!({"n": 99}).to_string().into())
        .await
        .unwrap()
        .await
        .unwrap();
    let batch = next(&mut source).await.unwrap();
    assert_eq!(batch.records[0].dedupe_key.as_deref(), Some("S1#alert-7"));
    assert_eq!(batch.records[0].headers["x-tenant"], "blue");
    source.stop().await;
}

#[tokio::test]
async fn a_consumer_that_is_gone_is_made_again_where_it_was() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    peer.put(0..20).await;
    let mut source = Nats.source(context(&peer, None)).unwrap();
    let mut last = None;
    let mut count = 0;
    while count < 20 {
        let batch = next(&mut source).await.unwrap();
        source.ack(&batch.checkpoint).await.unwrap();
        count += batch.records.len();
        last = Some(batch.checkpoint);
    }
    drop(source);
    let client = peer.context().await;
    client
        .delete_consumer_from_stream("halcyon", peer.stream())
        .await
        .unwrap();
    // Only what was acknowledged for certain is left out.
    let mut checkpoint = last.unwrap();
    checkpoint.0["floor"] = json!(15);
    let mut source = Nats.source(context(&peer, Some(checkpoint))).unwrap();
    let found = read(&mut source, 5).await;
    assert_eq!(found.into_values().collect::<BTreeSet<_>>(), (15..20).collect());
}

/// All that there is to read.
async fn numbers_of(source: &mut Box<dyn Source>, count: usize) -> BTreeSet<u64> {
    let found = read(source, count).await.into_values().collect();
    source.stop().await;
    found
}

#[tokio::test]
async fn a_place_means_nothing_in_another_stream() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    peer.put(0..20).await;
    let mut source = Nats.source(context(&peer, None)).unwrap();
    let mut checkpoint = None;
    let mut count = 0;
    // What is known to be acknowledged is told with the batch after it.
    while checkpoint.is_none() {
        peer.put(20 + count..21 + count).await;
        count += 1;
        let batch = next(&mut source).await.unwrap();
        source.ack(&batch.checkpoint).await.unwrap();
        checkpoint = Some(batch.checkpoint).filter(|checkpoint| checkpoint.0["floor"].as_u64() > Some(5));
    }
    drop(source);
    let all: BTreeSet<u64> = (0..20 + count).collect();
    // Another consumer of the stream begins where a new one does.
    let mut other = with(&peer, &[("consumer", json!("other"))]);
    other.checkpoint.clone_from(&checkpoint);
    let mut source = Nats.source(other).unwrap();
    assert_eq!(numbers_of(&mut source, all.len()).await, all);
    // A stream that was deleted counts from 1 again.
    let client = peer.context().await;
    let mut config = client
        .get_stream(peer.stream())
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    client.delete_stream(peer.stream()).await.unwrap();
    config.description = Some("made anew".to_owned());
    client.create_stream(config).await.unwrap();
    peer.put(0..12).await;
    let mut source = Nats.source(context(&peer, checkpoint.clone())).unwrap();
    assert_eq!(numbers_of(&mut source, 12).await, (0..12).collect());
    // And another stream has numbers of its own, through a consumer of the same name.
    peer.fresh().await;
    peer.put(0..12).await;
    let mut source = Nats.source(context(&peer, checkpoint)).unwrap();
    assert_eq!(numbers_of(&mut source, 12).await, (0..12).collect());
}

#[tokio::test]
async fn a_slow_worker_keeps_its_messages() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    peer.put(0..5).await;
    let mut slow = Nats.source(context(&peer, None)).unwrap();
    let batch = next(&mut slow).await.unwrap();
    assert_eq!(batch.records.len(), 5);
    // Three times the wait for an acknowledgement: another member is given nothing of it.
    let mut other = Nats.source(context(&peer, None)).unwrap();
    let idle = timeout(Duration::from_secs(3), other.next_batch()).await;
    assert!(idle.is_err(), "{idle:?}");
    slow.ack(&batch.checkpoint).await.unwrap();
    // A member that dies gives its messages up.
    peer.put(5..10).await;
    let held = next(&mut slow).await;
    drop((slow, held));
    let found = read(&mut other, 5).await;
    assert_eq!(found.into_values().collect::<BTreeSet<_>>(), (5..10).collect());
}

#[tokio::test]
async fn a_range_ends_and_a_sample_takes_nothing() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    peer.put(0..10).await;
    // The instants between the parts, by the server's own clock.
    let between = |record: &SourceRecord| {
        chrono::DateTime::parse_from_rfc3339(&record.headers["nats-time-stamp"])
            .unwrap()
            .to_utc()
    };
    peer.put(10..20).await;
    peer.put(20..30).await;
    let mut sample = Nats
        .source(SourceContext {
            sample: true,
            ..context(&peer, None)
        })
        .unwrap();
    let mut all = Vec::new();
    while all.len() < 30 {
        let batch = next(&mut sample).await.unwrap();
        sample.ack(&batch.checkpoint).await.unwrap();
        all.extend(batch.records);
    }
    let consumers = peer.context().await.get_stream(peer.stream()).await.unwrap();
    assert!(
        consumers.consumer_info("halcyon").await.is_err(),
        "a sample makes no consumer of production's"
    );
    let (from, to) = (between(&all[10]), between(&all[20]));
    let mut found = Vec::new();
    for index in 0..2 {
        let mut source = Nats
            .source(SourceContext {
                range: Some(TimeRange { from, to }),
                share: Share { index, of: 2 },
                ..context(&peer, None)
            })
            .unwrap();
        while let Some(batch) = next(&mut source).await {
            let checkpoint = batch.checkpoint.clone();
            found.extend(batch.records.iter().map(number));
            // A death in the middle: the next one goes on behind the checkpoint.
            source = Nats
                .source(SourceContext {
                    range: Some(TimeRange { from, to }),
                    share: Share { index, of: 2 },
                    ..context(&peer, Some(checkpoint))
                })
                .unwrap();
        }
    }
    found.sort_unstable();
    assert_eq!(found, (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_plain_subject_is_shared_by_a_group() {
    let peer = NatsPeer::start(Way::Password).await;
    let connection = json!({
        "servers": [format!("127.0.0.1:{}", peer.server.port())],
        "auth": {"type": "user", "user": "reader", "secret": {"$secret": "secret"}},
        "mode": "core", "subject": "plain.*", "queue_group": "readers", "dedupe": "message_id",
    });
    let make = || {
        let mut context = context(&peer, None);
        context.connection = connection.clone();
        Nats.source(context).unwrap()
    };
    let (mut one, mut two) = (make(), make());
    let client = peer.client().await;
    let mut found = Vec::new();
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    // Whoever subscribes late misses what was before: publish until both have had something.
    let mut had = [false, false];
    while had != [true, true] {
        assert!(Instant::now() < deadline, "{had:?}");
        for (place, source) in [&mut one, &mut two].into_iter().enumerate() {
            client
                .publish("plain.a", json!({"n": sent}).to_string().into())
                .await
                .unwrap();
            client.flush().await.unwrap();
            sent += 1;
            if let Ok(batch) = timeout(Duration::from_millis(100), source.next_batch()).await {
                let batch = batch.unwrap().unwrap();
                had[place] = true;
                assert_eq!(batch.records[0].dedupe_key, None);
                assert_eq!(batch.records[0].headers["nats-subject"], "plain.a");
                found.extend(batch.records.iter().map(number));
                source.ack(&batch.checkpoint).await.unwrap();
            }
        }
    }
    let count = found.len();
    let once: BTreeSet<u64> = found.into_iter().collect();
    assert_eq!(once.len(), count, "no message goes to two of a group");
    assert_eq!(one.lag().records, None);
}

async fn failed(connection: Value, peer: &NatsPeer) -> Vec<String> {
    let context = CheckContext {
        connection: &connection,
        secrets: &peer.secrets(),
        clock: &halcyon_domain::clock::SystemClock,
        guard: &loopback(),
    };
    let results = Nats.check(&context).await;
    let failed = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed);
    failed.map(|result| result.name.clone()).collect()
}

#[tokio::test]
async fn what_is_wrong_is_said_by_its_name() {
    let mut peer = NatsPeer::start(Way::Tls).await;
    peer.fresh().await;
    let good = peer.connection();
    assert!(failed(good.clone(), &peer).await.is_empty());
    for (pointer, value, expected) in [
        ("/stream", json!("missing"), "permission"),
        ("/auth/user", json!("stranger"), "authenticate"),
        ("/auth/user", json!("denied"), "permission"),
        ("/tls/server_name", json!("other.example"), "tls"),
        ("/tls/ca", json!(super::peer::Certificates::make().ca), "tls"),
        ("/servers/0", json!("127.0.0.1:1"), "connect"),
    ] {
        let mut connection = good.clone();
        *connection.pointer_mut(pointer).unwrap() = value;
        let found = failed(connection.clone(), &peer).await;
        assert_eq!(found, [expected], "{pointer}");
        // The reader says the same, and does not try again in vain.
        if expected != "connect" {
            let mut context = context(&peer, None);
            context.connection = connection;
            let mut source = Nats.source(context).unwrap();
            let refused = timeout(PATIENCE, source.next_batch()).await.unwrap();
            assert!(
                matches!(refused, Err(Error::Refused { .. })),
                "{pointer}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_large_message_comes_whole() {
    let mut peer = NatsPeer::start(Way::Open).await;
    peer.fresh().await;
    let body = json!({"n": 1, "text": "x".repeat(7 << 20)}).to_string();
    let client = peer.context().await;
    for _ in 0..3 {
        client
            .publish("s1.big", body.clone().into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let mut source = Nats.source(context(&peer, None)).unwrap();
    let mut count = 0;
    while count < 3 {
        let batch = next(&mut source).await.unwrap();
        assert!(
            batch
                .records
                .iter()
                .all(|record| record.bytes.len() == body.len())
        );
        count += batch.records.len();
        source.ack(&batch.checkpoint).await.unwrap();
    }
}
