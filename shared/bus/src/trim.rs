//! Upkeep of the ingest stream: deletes what every consumer has acked, by age or when the stream fills up.

use std::time::Duration;

use async_nats::jetstream::consumer;
use futures::TryStreamExt;
use halcyon_domain::{clock::Timestamp, duration::HumanDuration};
use serde::{Deserialize, Serialize};

use crate::{
    Bus, Error, direct,
    subjects::{Stream, Subject},
};

/// When to delete what is acked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrimPolicy {
    /// Acked events older than this are deleted.
    pub max_age: HumanDuration,
    /// Above this part of the stream's size (0 to 1) acked events are deleted, oldest first...
    pub high_fill: f64,
    /// ...until about this part is left.
    pub low_fill: f64,
}

impl Default for TrimPolicy {
    fn default() -> Self {
        Self {
            max_age: HumanDuration(Duration::from_secs(7 * 24 * 3_600)),
            high_fill: 0.8,
            low_fill: 0.6,
        }
    }
}

/// What a trim found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrimReport {
    /// Frames deleted.
    pub deleted: u64,
    /// How full the stream was before (0 to 1).
    pub fill: f64,
}

impl Bus {
    /// Deletes acked frames of the ingest stream that are too old or in the way. What is not acked is never
    /// touched. Only the registry's identity may do this.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn trim_ingest(&self, policy: &TrimPolicy, now: Timestamp) -> Result<TrimReport, Error> {
        let info = self.stream_info(Stream::Ingest).await?;
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let fill = info.state.bytes as f64 / info.config.max_bytes.max(1) as f64;
        // Sizes of frames are alike enough over a whole stream to count sequences for bytes.
        let by_fill = if info.config.max_bytes > 0 && fill > policy.high_fill {
            let surplus = (fill - policy.low_fill) / fill;
            first + ((last + 1).saturating_sub(first) as f64 * surplus) as u64
        } else {
            0
        };
        let oldest = chrono::TimeDelta::from_std(policy.max_age.get())
            .ok()
            .and_then(|age| now.checked_sub_signed(age));
        let consumers = self.ingest_consumers().await?;
        let mut report = TrimReport { deleted: 0, fill };
        for (partition, _) in self.partitions().all() {
            let subject = Subject::Ingest(partition).to_string();
            let Some(floor) = ack_floor(&consumers, &subject, last) else {
                continue;
            };
            let by_age = match oldest {
                Some(oldest) => self.first_since(&subject, oldest).await?.unwrap_or(last + 1),
                None => 0,
            };
            let below = by_age.max(by_fill).min(floor + 1);
            if below > first {
                report.deleted += self.purge_below(Stream::Ingest, &subject, below).await?;
            }
        }
        Ok(report)
    }

    async fn ingest_consumers(&self) -> Result<Vec<consumer::Info>, Error> {
        let stream = self.jetstream().get_stream_no_info(Stream::Ingest.as_str()).await;
        stream
            .map_err(Error::unavailable)?
            .consumers()
            .try_collect()
            .await
            .map_err(Error::unavailable)
    }

    /// The sequence of a subject's first message since a time.
    async fn first_since(&self, subject: &str, time: Timestamp) -> Result<Option<u64>, Error> {
        let page = self
            .read(Stream::Ingest.as_str(), subject, direct::From::Time(time), 1)
            .await?;
        Ok(page
            .first()
            .filter(|read| read.time >= time)
            .map(|read| read.sequence))
    }
}

/// The sequence up to which all consumers of a subject have acked; nothing if it has no consumer, for nobody has
/// read it then. `last` is the stream's last sequence from before the consumers were looked at.
fn ack_floor(consumers: &[consumer::Info], subject: &str, last: u64) -> Option<u64> {
    consumers
        .iter()
        .filter(|info| info.config.filter_subject == subject)
        .map(|info| {
            // A consumer that has read everything keeps the floor of its own last message.
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                last
            } else {
                info.ack_floor.stream_sequence
            }
        })
        .min()
}
