//! Connectors that others send to, by a protocol without acknowledgements. A worker's death loses what it had read and
//! not made durable; the sender does not know. What must hold all the same: what was durable stays, nothing comes
//! twice, and the next reader has the port and everything that is sent from then on.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::peer::{
    PATIENCE, Peer, RECORDS, STEPS, Worker, a_damaged_checkpoint_is_refused, context, next, take_in,
};
use crate::{Checkpoint, Connector, Source};

/// How many records are sent at a time: fewer than a batch holds.
const ROUND: u64 = 5;

pub(super) async fn comply(connector: &dyn Connector, peer: &mut dyn Peer) -> usize {
    a_damaged_checkpoint_is_refused(connector, peer).await;
    what_comes_later_is_read_once(connector, peer).await;
    a_dropped_call_loses_nothing(connector, peer).await;
    a_stopped_source_lets_go_of_the_port(connector, peer).await;
    let mut kills = 0;
    for step in STEPS {
        kills += a_death_loses_only_what_was_not_durable(connector, peer, step).await;
    }
    kills
}

/// A source that listens. Its port may be held for a moment by the one before.
async fn opened(
    connector: &dyn Connector,
    peer: &dyn Peer,
    checkpoint: Option<Checkpoint>,
) -> Box<dyn Source> {
    let mut source = connector.source(context(peer, checkpoint)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the port was not opened");
        match timeout(Duration::from_millis(50), source.next_batch()).await {
            Err(_) => return source,
            Ok(Err(error)) if error.is_transient() => sleep(Duration::from_millis(20)).await,
            Ok(other) => panic!("nothing was sent: {other:?}"),
        }
    }
}

async fn what_comes_later_is_read_once(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    let mut worker = Worker::default();
    let mut source = opened(connector, peer, None).await;
    for part in 0..3 {
        let (from, to) = (part * RECORDS / 2, (part + 1) * RECORDS / 2);
        peer.put(from..to).await;
        while !worker.has(0..to) {
            let batch = next(connector, peer, &worker, &mut source).await;
            take_in(peer, &mut worker, &mut source, &batch).await;
        }
        let _ = source.lag();
    }
    worker.assert_exactly(0..RECORDS / 2 * 3, connector, "in three parts");
    source.stop().await;
}

async fn a_dropped_call_loses_nothing(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    let mut worker = Worker::default();
    let mut source = opened(connector, peer, None).await;
    peer.put(0..RECORDS).await;
    let deadline = Instant::now() + PATIENCE;
    let mut step = 0;
    while !worker.has(0..RECORDS) {
        assert!(Instant::now() < deadline, "there are only {:?}", worker.effects);
        step += 1;
        let wait = Duration::from_micros(step * 337 % 9_000);
        if let Ok(batch) = timeout(wait, source.next_batch()).await {
            let batch = batch.unwrap().expect("the feed goes on");
            take_in(peer, &mut worker, &mut source, &batch).await;
        }
    }
    worker.assert_exactly(0..RECORDS, connector, "with dropped calls");
    source.stop().await;
}

async fn a_stopped_source_lets_go_of_the_port(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    let mut source = opened(connector, peer, None).await;
    peer.put(0..ROUND).await;
    next(connector, peer, &Worker::default(), &mut source).await;
    timeout(Duration::from_secs(5), source.stop())
        .await
        .expect("a source stops within the deadline");
    let after = timeout(Duration::from_secs(1), source.next_batch()).await;
    assert!(
        after
            .expect("a stopped source answers at once")
            .unwrap()
            .is_none()
    );
    // The first is still there, and in nobody's way.
    let mut second = connector.source(context(peer, None)).unwrap();
    let free = timeout(Duration::from_millis(50), second.next_batch()).await;
    assert!(free.is_err(), "the port is free at once: {free:?}");
    drop(source);
}

async fn a_death_loses_only_what_was_not_durable(
    connector: &dyn Connector,
    peer: &mut dyn Peer,
    step: &str,
) -> usize {
    peer.fresh().await;
    let (mut worker, mut kills) = (Worker::default(), 0);
    let mut expected = HashSet::new();
    let mut source = opened(connector, peer, None).await;
    for (round, from) in (0..RECORDS).step_by(ROUND as usize).enumerate() {
        peer.put(from..from + ROUND).await;
        if round % 2 == 0 {
            while !worker.has(from..from + ROUND) {
                let batch = next(connector, peer, &worker, &mut source).await;
                take_in(peer, &mut worker, &mut source, &batch).await;
            }
            expected.extend(from..from + ROUND);
            continue;
        }
        let batch = next(connector, peer, &worker, &mut source).await;
        if step != "read" {
            worker.write(peer, &batch);
            expected.extend(batch.records.iter().map(|record| peer.number(&record.bytes)));
        }
        if step == "checkpoint" || step == "ack" {
            worker.store(&batch.checkpoint);
        }
        if step == "ack" {
            source.ack(&batch.checkpoint).await.unwrap();
        }
        // As a death does: without `stop`.
        drop(source);
        kills += 1;
        source = opened(connector, peer, worker.stored.clone()).await;
    }
    let mut times: HashMap<u64, u32> = HashMap::new();
    for number in worker.effects.values() {
        *times.entry(*number).or_default() += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "killed after {step}: {times:?}"
    );
    let found: HashSet<u64> = times.into_keys().collect();
    assert_eq!(found, expected, "killed after {step}");
    source.stop().await;
    kills
}
