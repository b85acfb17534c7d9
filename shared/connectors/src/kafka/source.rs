//! The reader: records of our partitions, whose offsets are committed once they are durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use halcyon_domain::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use super::{
    config::Connection,
    consumer::{Job, start},
    dial::Dialer,
    record::Shaper,
    registry::Schemas,
    relay::Relay,
    shared::{Item, Next, Offsets, Shared},
    starts::Known,
};
use crate::{
    BatchLimits, Checkpoint, Error, Lag, Secrets, Share, Source, SourceBatch, SourceContext, SourceRecord,
    TimeRange,
};

/// How long a broker may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the group may take to let us go.
const LEAVE: Duration = Duration::from_secs(4);

/// What the checkpoint holds. The group's committed offsets decide where reading goes on (see `starts`); these are
/// what was read, for people, for backfills and for a group that has lost its offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The next offset of each partition.
    offsets: Offsets,
    /// Where an operator wants partitions to be read from, whatever the group has committed.
    #[serde(default, skip_serializing_if = "Offsets::is_empty")]
    seek: Offsets,
    /// The cluster that the offsets are of, if it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

impl Position {
    /// Offsets of another cluster mean nothing in this one.
    fn settle(&mut self, cluster: Option<String>) {
        if self.cluster != cluster {
            if self.cluster.is_some() && cluster.is_some() {
                self.offsets.clear();
            }
            self.cluster = cluster.or_else(|| self.cluster.take());
        }
    }
}

/// The library at work.
struct Running {
    shared: Arc<Shared>,
    end: oneshot::Receiver<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// A batch that the worker has.
struct Given {
    position: Position,
    /// Epoch and next offset by partition.
    claims: Claims,
}

type Claims = BTreeMap<(Arc<str>, i32), (u64, i64)>;

/// A running reader.
pub(super) struct KafkaSource {
    connection: Connection,
    dialer: Dialer,
    limits: BatchLimits,
    share: Share,
    range: Option<TimeRange>,
    sample: bool,
    clock: Arc<dyn Clock>,
    shaper: Shaper,
    running: Option<Running>,
    position: Position,
    /// An item that is being turned into a record.
    item: Option<Item>,
    records: Vec<SourceRecord>,
    claims: Claims,
    due: Option<Instant>,
    given: VecDeque<Given>,
    ended: bool,
    stopped: bool,
}

impl KafkaSource {
    pub(super) fn new(connection: Connection, context: SourceContext) -> Result<Self, Error> {
        let position = match &context.checkpoint {
            None => Position::default(),
            Some(checkpoint) => checkpoint.read()?,
        };
        let schemas = match &connection.schema_registry {
            Some(registry) => Some(Schemas::new(
                registry.clone(),
                context.secrets.clone(),
                context.guard.clone(),
            )?),
            None => None,
        };
        Ok(Self {
            dialer: dialer(&connection, context.secrets, context.guard, PATIENCE),
            shaper: Shaper {
                format: connection.format,
                tombstones: connection.tombstones,
                schemas,
            },
            connection,
            limits: context.limits,
            share: context.share,
            range: context.range,
            sample: context.sample,
            clock: context.clock,
            running: None,
            position,
            item: None,
            records: Vec::new(),
            claims: Claims::new(),
            due: None,
            given: VecDeque::new(),
            ended: false,
            stopped: false,
        })
    }

    fn in_group(&self) -> bool {
        self.range.is_none() && !self.sample
    }

    async fn run(&mut self) -> Result<Arc<Shared>, Error> {
        if let Some(running) = &self.running {
            return Ok(Arc::clone(&running.shared));
        }
        let relay = Relay::new(self.dialer.clone());
        let mut bootstrap = Vec::new();
        for broker in self.connection.endpoints() {
            let place = relay.place(&broker).await;
            let place = place.map_err(|error| Error::System(format!("no port could be opened: {error}")))?;
            bootstrap.push(place);
        }
        let shared = Arc::new(Shared::default());
        let end = start(Job {
            connection: self.connection.clone(),
            share: self.share,
            range: self.range,
            sample: self.sample,
            known: Known {
                seek: self.position.seek.clone(),
                offsets: self.position.offsets.clone(),
                cluster: self.position.cluster.clone(),
            },
            bootstrap,
            relay: Arc::new(relay),
            shared: Arc::clone(&shared),
        })?;
        self.running = Some(Running {
            shared: Arc::clone(&shared),
            end,
        });
        Ok(shared)
    }

    /// Gathers a batch; what was gathered stays when the call is dropped.
    async fn gather(&mut self, shared: &Shared) -> Result<(), Error> {
        let most = self.limits.max_records.max(1);
        while self.records.len() < most {
            if self.item.is_none() {
                match shared.pop() {
                    Next::Item(item) => {
                        self.position.settle(shared.cluster());
                        self.item = Some(item);
                    }
                    Next::End => {
                        self.ended = true;
                        return Ok(());
                    }
                    Next::Fault(error, ended) => return self.fault(error, ended),
                    Next::Nothing => {
                        let due = self.due;
                        tokio::select! {
                            () = shared.arrived.notified() => continue,
                            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return Ok(()),
                        }
                    }
                }
            }
            let Some(item) = &self.item else {
                continue;
            };
            let record = self.shaper.shape(item, self.clock.now()).await;
            match record {
                Ok(record) => self.add(record),
                // The item is tried again by the next call.
                Err(error) if self.records.is_empty() => return Err(error),
                Err(_) => return Ok(()),
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn add(&mut self, record: Option<SourceRecord>) {
        let Some(item) = self.item.take() else {
            return;
        };
        let next = item.offset + 1;
        let offsets = self.position.offsets.entry(item.topic.to_string()).or_default();
        offsets.insert(item.partition, next);
        if let Some(seek) = self.position.seek.get_mut(&*item.topic) {
            seek.remove(&item.partition);
            self.position.seek.retain(|_, partitions| !partitions.is_empty());
        }
        self.claims
            .insert((item.topic, item.partition), (item.epoch, next));
        if let Some(record) = record {
            self.records.push(record);
            self.due
                .get_or_insert_with(|| Instant::now() + self.limits.max_wait);
        }
    }

    fn fault(&mut self, error: Error, ended: bool) -> Result<(), Error> {
        if ended {
            self.running = None;
            self.item = None;
        }
        if self.records.is_empty() {
            return Err(error);
        }
        // What was gathered is as good as it was. The library says it again if it lasts.
        Ok(())
    }

    fn batch(&mut self, shared: &Shared) -> SourceBatch {
        self.due = None;
        if self.in_group() {
            // Others tell where partitions stand that have gone to them.
            shared.keep_ours(&mut self.position.offsets);
        }
        let position = self.position.clone();
        let claims = std::mem::take(&mut self.claims);
        let checkpoint = Checkpoint(json!(position));
        self.given.push_back(Given { position, claims });
        SourceBatch {
            records: std::mem::take(&mut self.records),
            checkpoint,
        }
    }
}

/// How the brokers of a connection are connected to.
pub(super) fn dialer(
    connection: &Connection,
    secrets: Secrets,
    guard: halcyon_egress::Guard,
    patience: Duration,
) -> Dialer {
    Dialer {
        guard,
        secrets,
        tls: connection.tls.clone(),
        sasl: connection.sasl.clone(),
        patience,
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        loop {
            if self.stopped || (self.ended && self.records.is_empty()) {
                return Ok(None);
            }
            let shared = self.run().await?;
            if !self.ended {
                self.gather(&shared).await?;
            }
            if !self.records.is_empty() {
                return Ok(Some(self.batch(&shared)));
            }
        }
    }

    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Ok(position) = Position::deserialize(&checkpoint.0) else {
            return Ok(());
        };
        let Some(place) = self.given.iter().position(|given| given.position == position) else {
            return Ok(());
        };
        let mut durable = Claims::new();
        for given in self.given.drain(..=place) {
            durable.extend(given.claims);
        }
        if let (Some(running), true) = (&self.running, self.in_group()) {
            let offsets = durable.iter();
            let offsets =
                offsets.map(|((topic, partition), (epoch, next))| (&**topic, *partition, *epoch, *next));
            running.shared.commit(offsets);
        }
        Ok(())
    }

    fn lag(&self) -> Lag {
        let told = self.running.as_ref().and_then(|running| running.shared.behind());
        let here = self.records.len() as u64 + u64::from(self.item.is_some());
        Lag {
            records: told.map(|told| told + here),
            age: None,
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.records.clear();
        if let Some(mut running) = self.running.take() {
            running.shared.stop();
            // The thread ends by itself, if later.
            let _ = timeout(LEAVE, &mut running.end).await;
        }
    }
}
