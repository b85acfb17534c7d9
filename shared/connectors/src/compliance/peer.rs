//! Connectors against a real other side: nothing is lost whatever step a worker dies at, what is read again has the
//! identity it had, a check says what is wrong, and nobody is reached whom the installation does not allow.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use halcyon_domain::{
    clock::SystemClock,
    test_run::{CheckResult, CheckStatus},
};
use halcyon_egress::{Guard, Policy};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{listening, loopback};
use crate::{
    BatchLimits, CheckContext, Checkpoint, Connector, Error, Ordering, SecretValue, Secrets, Share, Source,
    SourceBatch, SourceContext, secret_names, validate_connection,
};

/// How many records each part of the suite reads.
pub(super) const RECORDS: u64 = 40;
/// How long anything may take that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Where a worker may die: after the batch was read, after its records are durable, after the checkpoint is, and after
/// the acknowledgement.
pub(super) const STEPS: [&str; 4] = ["read", "output", "checkpoint", "ack"];

/// A started system of the kind that the connector reads from.
#[async_trait]
pub(crate) trait Peer: Send {
    /// Makes a new, empty place to read from (a topic, a queue, a table), which the next calls are about.
    async fn fresh(&mut self);

    /// Puts a record for each number, in order. Each holds the number so that [`number`](Self::number) finds it.
    async fn put(&mut self, numbers: Range<u64>);

    /// A connection to the place, with credentials if the connector knows any.
    fn connection(&self) -> Value;

    /// The values of the secrets that the connection names.
    fn secrets(&self) -> Secrets;

    /// Whether what was sent is forgotten by the other side at once, acknowledged or not: it sends to a port that the
    /// source opens. Then [`put`](Self::put) is called only while a source listens, and what a death must not lose is
    /// what was durable.
    fn forgets(&self) -> bool {
        false
    }

    /// The number of a record.
    fn number(&self, record: &[u8]) -> u64 {
        let record: Value = serde_json::from_slice(record).expect("a record is JSON");
        record["n"].as_u64().expect("a record has its number in `n`")
    }
}

/// What a source is made from in tests, over the peer's connection.
pub(crate) fn context(peer: &dyn Peer, checkpoint: Option<Checkpoint>) -> SourceContext {
    SourceContext {
        connection: peer.connection(),
        secrets: peer.secrets(),
        checkpoint,
        limits: BatchLimits {
            max_records: 7,
            max_wait: Duration::from_millis(20),
        },
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: loopback(),
    }
}

/// Runs the whole suite. Returns at how many points a reader was killed.
pub(crate) async fn comply(connector: &dyn Connector, peer: &mut dyn Peer) -> usize {
    checks_say_what_is_wrong(connector, peer).await;
    if peer.forgets() {
        return listening::comply(connector, peer).await;
    }
    a_host_that_is_not_allowed_is_not_reached(connector, peer).await;
    a_damaged_checkpoint_is_refused(connector, peer).await;
    what_comes_later_is_read_once(connector, peer).await;
    a_dropped_call_loses_nothing(connector, peer).await;
    a_stopped_source_gives_nothing(connector, peer).await;
    let mut kills = 0;
    for step in STEPS {
        kills += a_death_loses_nothing(connector, peer, step).await;
    }
    kills
}

/// What a worker has: the records that are durable, by identity, and the stored checkpoint.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) effects: BTreeMap<String, u64>,
    order: Vec<u64>,
    pub(super) stored: Option<Checkpoint>,
}

impl Worker {
    pub(super) fn write(&mut self, peer: &dyn Peer, batch: &SourceBatch) {
        assert!(
            !batch.records.is_empty() && batch.records.len() <= 7,
            "a batch keeps its limits"
        );
        for record in &batch.records {
            let number = peer.number(&record.bytes);
            let key = record.dedupe_key.clone().expect("a record has an identity");
            match self.effects.insert(key.clone(), number) {
                None => self.order.push(number),
                Some(before) => assert_eq!(before, number, "`{key}` stands for two records"),
            }
        }
    }

    /// Through text, as it would be stored.
    pub(super) fn store(&mut self, checkpoint: &Checkpoint) {
        self.stored = serde_json::from_str(&serde_json::to_string(checkpoint).unwrap()).unwrap();
    }

    pub(super) fn has(&self, numbers: Range<u64>) -> bool {
        let found: HashSet<u64> = self.effects.values().copied().collect();
        numbers.into_iter().all(|number| found.contains(&number))
    }

    pub(super) fn assert_exactly(&self, numbers: Range<u64>, connector: &dyn Connector, told: &str) {
        let mut found: Vec<u64> = self.effects.values().copied().collect();
        found.sort_unstable();
        assert_eq!(found, numbers.clone().collect::<Vec<_>>(), "{told}");
        if connector.spec().capabilities.ordering == Ordering::Total {
            assert_eq!(self.order, numbers.collect::<Vec<_>>(), "{told}: in order");
        }
    }
}

/// The next batch; a transient failure is tried again, and a run that ended is followed by the next one.
pub(super) async fn next(
    connector: &dyn Connector,
    peer: &dyn Peer,
    worker: &Worker,
    source: &mut Box<dyn Source>,
) -> SourceBatch {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "no batch came; there are {:?}",
            worker.order
        );
        match timeout(PATIENCE, source.next_batch())
            .await
            .expect("a batch comes in time")
        {
            Ok(Some(batch)) => return batch,
            Ok(None) => {
                assert!(connector.spec().capabilities.scheduled, "the feed ended");
                sleep(Duration::from_millis(20)).await;
                *source = connector.source(context(peer, worker.stored.clone())).unwrap();
            }
            Err(error) if error.is_transient() => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A batch all the way, as a worker does it.
pub(super) async fn take_in(
    peer: &dyn Peer,
    worker: &mut Worker,
    source: &mut Box<dyn Source>,
    batch: &SourceBatch,
) {
    worker.write(peer, batch);
    worker.store(&batch.checkpoint);
    source.ack(&batch.checkpoint).await.unwrap();
}

/// Each second batch dies at `step`; the next reader goes on from what was stored.
async fn a_death_loses_nothing(connector: &dyn Connector, peer: &mut dyn Peer, step: &str) -> usize {
    peer.fresh().await;
    peer.put(0..RECORDS).await;
    let (mut worker, mut kills, mut batches) = (Worker::default(), 0, 0_usize);
    let mut source = connector.source(context(peer, None)).unwrap();
    while !worker.has(0..RECORDS) {
        let batch = next(connector, peer, &worker, &mut source).await;
        batches += 1;
        if batches % 2 == 0 {
            take_in(peer, &mut worker, &mut source, &batch).await;
            continue;
        }
        if step != "read" {
            worker.write(peer, &batch);
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
        source = connector.source(context(peer, worker.stored.clone())).unwrap();
    }
    worker.assert_exactly(0..RECORDS, connector, &format!("killed after {step}"));
    source.stop().await;
    kills
}

async fn what_comes_later_is_read_once(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    let mut worker = Worker::default();
    let mut source = connector.source(context(peer, None)).unwrap();
    for part in 0..3 {
        let to = (part + 1) * RECORDS / 2;
        peer.put(part * RECORDS / 2..to).await;
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
    peer.put(0..RECORDS).await;
    let mut worker = Worker::default();
    let mut source = connector.source(context(peer, None)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    for step in 0_u64.. {
        assert!(Instant::now() < deadline, "there are only {:?}", worker.order);
        if worker.has(0..RECORDS) {
            break;
        }
        // At first shorter than anything takes, later long enough for a connection to be made.
        let wait = Duration::from_micros(step * 337 % 9_000 + step * 100);
        match timeout(wait, source.next_batch()).await {
            Err(_) => {}
            Ok(Ok(Some(batch))) => take_in(peer, &mut worker, &mut source, &batch).await,
            Ok(Ok(None)) => {
                source = connector.source(context(peer, worker.stored.clone())).unwrap();
            }
            Ok(Err(error)) => assert!(error.is_transient(), "{error}"),
        }
    }
    worker.assert_exactly(0..RECORDS, connector, "with dropped calls");
    source.stop().await;
}

async fn a_stopped_source_gives_nothing(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    peer.put(0..RECORDS).await;
    let mut source = connector.source(context(peer, None)).unwrap();
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
}

pub(super) async fn a_damaged_checkpoint_is_refused(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    let damaged = Checkpoint(serde_json::json!({"surely": "not ours"}));
    let judged = connector.check_position(&connector.spec().example, &damaged);
    assert!(matches!(judged, Err(Error::Checkpoint { .. })));
    let refused = connector.source(context(peer, Some(damaged)));
    assert!(matches!(refused, Err(Error::Checkpoint { .. })));
}

async fn check(
    connector: &dyn Connector,
    connection: &Value,
    secrets: &Secrets,
    guard: &Guard,
) -> Vec<CheckResult> {
    let context = CheckContext {
        connection,
        secrets,
        clock: &SystemClock,
        guard,
    };
    let results = timeout(Duration::from_secs(6), connector.check(&context)).await;
    let results = results.expect("checks end within 5 s");
    for result in &results {
        let told = result.status != CheckStatus::Failed || result.remedy.is_some();
        assert!(told, "a failure says what to do: {result:?}");
    }
    assert!(!format!("{results:?}").contains("canary"), "{results:?}");
    results
}

fn failures(results: &[CheckResult]) -> Vec<&str> {
    let failed = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed);
    failed.map(|result| result.name.as_str()).collect()
}

async fn checks_say_what_is_wrong(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    if !peer.forgets() {
        peer.put(0..3).await;
    }
    let (connection, secrets) = (peer.connection(), peer.secrets());
    assert_eq!(validate_connection(connector.spec().type_name, &connection), []);
    let good = check(connector, &connection, &secrets, &loopback()).await;
    assert_eq!(failures(&good), [""; 0], "{good:?}");
    let names = secret_names(&connection);
    if names.is_empty() {
        return;
    }
    let mut wrong = Secrets::none();
    for name in names {
        wrong.insert(name, SecretValue::new("canary-that-is-wrong"));
    }
    let refused = check(connector, &connection, &wrong, &loopback()).await;
    assert_ne!(failures(&refused), [""; 0], "wrong secrets pass: {refused:?}");
    let none = check(connector, &connection, &Secrets::none(), &loopback()).await;
    assert_eq!(failures(&none), ["secrets"], "{none:?}");
}

async fn a_host_that_is_not_allowed_is_not_reached(connector: &dyn Connector, peer: &mut dyn Peer) {
    peer.fresh().await;
    peer.put(0..3).await;
    let public = Guard::new(Policy::default());
    let refused = check(connector, &peer.connection(), &peer.secrets(), &public).await;
    assert_eq!(failures(&refused), ["resolve"], "{refused:?}");
    let mut source = connector
        .source(SourceContext {
            guard: public,
            ..context(peer, None)
        })
        .unwrap();
    let outcome = timeout(PATIENCE, source.next_batch())
        .await
        .expect("it is refused in time");
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
}
