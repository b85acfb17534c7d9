//! The reader: paces itself by the runtime's clock, and counts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::{connector::Connection, payload};
use crate::{BatchLimits, Checkpoint, Error, Lag, Source, SourceBatch, SourceContext, SourceRecord};

/// What the checkpoint holds: the number of the last alert.
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
            sequence,
            began: None,
            stopped: false,
        })
    }

    fn remaining(&self) -> u64 {
        self.connection
            .total
            .map_or(u64::MAX, |total| total.saturating_sub(self.sequence))
    }

    /// When the alert after `made` alerts of this run is due.
    fn due(&self, began: Instant, made: u64) -> Instant {
        began + Duration::from_secs_f64(made as f64 / self.connection.records_per_second)
    }

    fn record(&self, sequence: u64) -> Result<SourceRecord, Error> {
        let steps = sequence.saturating_sub(1) as f64 / self.connection.records_per_second;
        let step = TimeDelta::microseconds((steps * 1e6) as i64);
        let time = self.start.checked_add_signed(step).unwrap_or(self.start);
        let alert = payload::alert(self.connection.seed, sequence, time);
        let bytes = serde_json::to_vec(&alert).map_err(|error| Error::System(error.to_string()))?;
        Ok(SourceRecord {
            bytes: Bytes::from(bytes),
            dedupe_key: Some(payload::key(self.connection.seed, sequence)),
            received_at: self.clock.now(),
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
        let fallen_due = (ran * self.connection.records_per_second) as u64 + 1;
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
        let records = (late.as_secs_f64() * self.connection.records_per_second) as u64;
        Lag {
            records: Some(records.min(self.remaining())),
            age: Some(late),
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
    }
}
