//! The reader: paces itself by the runtime's clock, and counts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::{connector::Connection, payload};
use crate::{BatchLimits, Checkpoint, Error, Lag, Share, Source, SourceBatch, SourceContext, SourceRecord};

/// Alerts of each source that shares the feed have numbers of their own, from this times the source's index on. A
/// feed has at most 10^12 alerts.
const NUMBERS: u64 = 1 << 40;

/// What the checkpoint holds: the number of the last alert of this source.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    sequence: u64,
}

/// A running generator.
pub(crate) struct GeneratorSource {
    connection: Connection,
    start: Timestamp,
    limits: BatchLimits,
    clock: Arc<dyn Clock>,
    share: Share,
    /// The number of the last alert that was made.
    sequence: u64,
    /// The number of the last alert before this run, and when the run's pace began: at the first call.
    began: Option<(u64, Instant)>,
    stopped: bool,
}

impl GeneratorSource {
    pub(crate) fn new(
        connection: Connection,
        start: Timestamp,
        context: &SourceContext,
    ) -> Result<Self, Error> {
        let sequence = match &context.checkpoint {
            None => 0,
            Some(Checkpoint(value)) => {
                let position = Position::deserialize(value);
                position
                    .map_err(|error| Error::Checkpoint {
                        detail: error.to_string(),
                    })?
                    .sequence
            }
        };
        let clock = Arc::clone(&context.clock);
        Ok(Self {
            connection,
            start,
            limits: context.limits,
            clock,
            share: context.share,
            sequence,
            began: None,
            stopped: false,
        })
    }

    /// This source's part of the rate.
    fn rate(&self) -> f64 {
        self.connection.records_per_second / f64::from(self.share.of.max(1))
    }

    fn remaining(&self) -> u64 {
        let (index, of) = (u64::from(self.share.index), u64::from(self.share.of.max(1)));
        self.connection.total.map_or(u64::MAX, |total| {
            let part = total / of + u64::from(index < total % of);
            part.saturating_sub(self.sequence)
        })
    }

    /// When the alert after `made` alerts of this run is due.
    fn due(&self, began: Instant, made: u64) -> Instant {
        began + Duration::from_secs_f64(made as f64 / self.rate())
    }

    fn record(&self, sequence: u64) -> Result<SourceRecord, Error> {
        let steps = sequence.saturating_sub(1) as f64 / self.rate();
        let step = TimeDelta::microseconds((steps * 1e6) as i64);
        let time = self.start.checked_add_signed(step).unwrap_or(self.start);
        let number = u64::from(self.share.index) * NUMBERS + sequence;
        let alert = payload::alert(self.connection.seed, number, time);
        let bytes = serde_json::to_vec(&alert).map_err(|error| Error::System(error.to_string()))?;
        Ok(SourceRecord {
            bytes: Bytes::from(bytes),
            dedupe_key: Some(payload::key(self.connection.seed, number)),
            received_at: self.clock.now(),
            headers: BTreeMap::new(),
        })
    }
}

#[async_trait]
impl Source for GeneratorSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        if self.stopped || self.remaining() == 0 {
            return Ok(None);
        }
        let (before, began) = *self.began.get_or_insert_with(|| (self.sequence, Instant::now()));
        let made = self.sequence - before;
        // Wait for the first alert, then gather what falls due within the batch's wait. Nothing is counted before
        // the last wait is over, so a dropped call loses nothing.
        tokio::time::sleep_until(self.due(began, made)).await;
        let most = u64::try_from(self.limits.max_records.max(1))
            .unwrap_or(u64::MAX)
            .min(self.remaining());
        let full = self.due(began, made + most - 1);
        let last_call = Instant::now() + self.limits.max_wait;
        tokio::time::sleep_until(full.min(last_call)).await;

        let ran = Instant::now().saturating_duration_since(began).as_secs_f64();
        let fallen_due = (ran * self.rate()) as u64 + 1;
        let count = fallen_due.saturating_sub(made).clamp(1, most);
        let records: Result<Vec<_>, _> = (self.sequence + 1..=self.sequence + count)
            .map(|number| self.record(number))
            .collect();
        let records = records?;
        self.sequence += count;
        let checkpoint = Checkpoint(json!(Position {
            sequence: self.sequence
        }));
        Ok(Some(SourceBatch { records, checkpoint }))
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // Nothing upstream remembers what was read.
        Ok(())
    }

    fn lag(&self) -> Lag {
        let Some((before, began)) = self.began else {
            return Lag::default();
        };
        let due = self.due(began, self.sequence - before);
        let late = Instant::now().saturating_duration_since(due);
        let records = (late.as_secs_f64() * self.rate()) as u64;
        Lag {
            records: Some(records.min(self.remaining())),
            age: Some(late),
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use halcyon_domain::clock::ManualClock;

    use super::*;
    use crate::Secrets;

    #[tokio::test(start_paused = true)]
    async fn sources_that_share_a_feed_make_it_together() {
        let connection: Connection =
            serde_json::from_value(json!({"records_per_second": 1000.0, "total": 100, "seed": 3})).unwrap();
        let mut keys = HashSet::new();
        for (index, expected) in [(0, 34), (1, 33), (2, 33)] {
            let context = SourceContext {
                connection: json!({}),
                secrets: Secrets::none(),
                checkpoint: None,
                limits: BatchLimits::default(),
                share: Share { index, of: 3 },
                range: None,
                sample: false,
                clock: Arc::new(ManualClock::at(Timestamp::default())),
                guard: crate::compliance::nowhere(),
            };
            let mut source =
                GeneratorSource::new(connection.clone(), Timestamp::default(), &context).unwrap();
            let mut made = 0;
            while let Some(batch) = source.next_batch().await.unwrap() {
                made += batch.records.len();
                keys.extend(batch.records.into_iter().map(|record| record.dedupe_key.unwrap()));
            }
            assert_eq!(made, expected);
        }
        assert_eq!(keys.len(), 100);
    }
}
