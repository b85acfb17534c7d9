//! Reading a feed: the side of a connector that a worker drives.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use halcyon_domain::clock::{Clock, Timestamp};
use halcyon_egress::Guard;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Secrets};

/// Where a source is in its feed. What is inside belongs to the connector; to everyone else it is JSON to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(pub Value);

impl Checkpoint {
    /// What a connector keeps in it.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is none of the connector's.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.0).map_err(|error| Error::Checkpoint {
            detail: error.to_string(),
        })
    }
}

/// What a source is built from.
#[derive(Clone)]
pub struct SourceContext {
    /// The version's `connection`.
    pub connection: Value,
    /// The secrets that the connection names.
    pub secrets: Secrets,
    /// Where to go on; `None` starts at the beginning.
    pub checkpoint: Option<Checkpoint>,
    /// How large a batch may be, and how long it may be gathered.
    pub limits: BatchLimits,
    /// Which part of the feed is this source's.
    pub share: Share,
    /// For a backfill: read what the feed has of this time and then end. Only for connectors with
    /// `capabilities.backfill`.
    pub range: Option<TimeRange>,
    /// For a test run: the records are looked at and never acknowledged. The source takes nothing from those that read
    /// the feed (it joins no group of theirs, and locks nothing longer than it must).
    pub sample: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to the hosts that the connection names. No connection is made around it.
    pub guard: Guard,
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the connection: a connection may hold what its author took for harmless.
        f.debug_struct("SourceContext")
            .field("secrets", &self.secrets)
            .field("checkpoint", &self.checkpoint)
            .field("limits", &self.limits)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// A stretch of time: from its first instant up to, and without, its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first instant.
    pub from: Timestamp,
    /// The instant after it.
    pub to: Timestamp,
}

/// A source's part of a feed that several sources share, each in a worker of its own and with a checkpoint of its
/// own. How the feed is divided is the connector's affair: by number, or by what the upstream deals out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which one, from 0.
    pub index: u16,
    /// Of how many; at least 1.
    pub of: u16,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// The bounds of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most records of a batch; at least 1.
    pub max_records: usize,
    /// How long a batch that has a record waits for more.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            max_records: 500,
            max_wait: Duration::from_millis(100),
        }
    }
}

/// One event of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The event as it came.
    pub bytes: Bytes,
    /// The event's identity in its feed: reading it again gives the same key.
    pub dedupe_key: Option<String>,
    /// When it was read.
    pub received_at: Timestamp,
    /// What came along with the event, such as the topic and the key of a message: expressions see it as headers.
    /// Names are lower case.
    pub headers: BTreeMap<String, String>,
}

/// Events, and where the feed stands after them.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// The events, in the feed's order; never empty.
    pub records: Vec<SourceRecord>,
    /// Where a restart goes on once these events are durable.
    pub checkpoint: Checkpoint,
}

/// How far a source is behind its feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records not read yet.
    pub records: Option<u64>,
    /// Age of the oldest record not read yet.
    pub age: Option<Duration>,
}

/// A running reader.
///
/// The caller's order is: `next_batch`, make the records durable downstream, store the checkpoint, `ack`. A crash
/// between any two of these reads the batch again, so nothing is lost; the dedupe key makes that harmless.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next batch; `None` when the source was stopped or there is no more to read: the feed has ended,
    /// or, for connectors with `capabilities.scheduled`, this run. The next run is another source that is made from
    /// the stored checkpoint. Cancel safe: a dropped call loses no record. May be called before the last batch was
    /// acknowledged.
    ///
    /// # Errors
    /// By class, see [`Error`]; after a transient one the same source may be asked again.
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error>;

    /// Everything up to `checkpoint` is durable and the checkpoint is stored: the upstream may forget it.
    ///
    /// # Errors
    /// By class, see [`Error`].
    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// In a backfill, up to which time all that it has to read was given out; nothing if it cannot tell.
    fn reached(&self) -> Option<Timestamp> {
        None
    }

    /// How far the source is behind, as far as it knows.
    fn lag(&self) -> Lag;

    /// Lets go of the upstream. Afterwards `next_batch` gives `None`.
    async fn stop(&mut self);
}
