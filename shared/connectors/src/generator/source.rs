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
use crate::{
    BatchLimits, Checkpoint, Error, Lag, Share, Source, SourceBatch, SourceContext, SourceRecord, TimeRange,
};

/// Alerts of each source that shares the feed have numbers of their own, from this times the source's index on. A
/// feed has at most 10^12 alerts.
const NUMBERS: u64 = 1 << 40;

/// What the checkpoint holds: the number of the last alert of this source.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
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
    /// The number of the last alert before this run.
    first: u64,
    /// In a backfill: the range, and the number of its last alert.
    range: Option<(TimeRange, u64)>,
    stopped: bool,
}

impl GeneratorSource {
    pub(crate) fn new(
        connection: Connection,
        start: Timestamp,
        context: &SourceContext,
    ) -> Result<Self, Error> {
        let kept = match &context.checkpoint {
            None => None,
            Some(checkpoint) => Some(checkpoint.read::<Position>()?.sequence),
        };
        let clock = Arc::clone(&context.clock);
        let mut source = Self {
            connection,
            start,
            limits: context.limits,
            clock,
            share: context.share,
            sequence: 0,
            began: None,
            first: 0,
            range: None,
            stopped: false,
        };
        let mut first = 0;
        if let Some(range) = context.range {
            first = source.before(range.from);
            source.range = Some((range, source.before(range.to)));
        }
        source.sequence = kept.map_or(first, |kept| kept.max(first));
        source.first = source.sequence;
        Ok(source)
    }

    /// How many of this source's alerts are of a time before `end`.
    fn before(&self, end: Timestamp) -> u64 {
        let passed = (end - self.start).num_microseconds().unwrap_or(i64::MAX);
        let mut count = (passed.max(0) as f64 / 1e6 * self.rate()).ceil() as u64;
        // What rounding has done is put right: the alerts' own times count.
        while count > 0 && self.time(count) >= end {
            count -= 1;
        }
        while self.time(count + 1) < end {
            count += 1;
        }
        count
    }

    /// The time of an alert of this source.
    fn time(&self, sequence: u64) -> Timestamp {
        let steps = sequence.saturating_sub(1) as f64 / self.rate();
        let step = TimeDelta::microseconds((steps * 1e6) as i64);
        self.start.checked_add_signed(step).unwrap_or(self.start)
    }

    /// This source's part of the rate.
    fn rate(&self) -> f64 {
        self.connection.records_per_second / f64::from(self.share.of.max(1))
    }

    fn remaining(&self) -> u64 {
        let (index, of) = (u64::from(self.share.index), u64::from(self.share.of.max(1)));
        let all = self.connection.total.map_or(u64::MAX, |total| {
            let part = total / of + u64::from(index < total % of);
            part.saturating_sub(self.sequence)
        });
        match (self.range, self.connection.records_per_run) {
            (Some((_, last)), _) => all.min(last.saturating_sub(self.sequence)),
            (None, Some(run)) => all.min((self.first + run).saturating_sub(self.sequence)),
            (None, None) => all,
        }
    }

    /// When the alert after `made` alerts of this run is due.
    fn due(&self, began: Instant, made: u64) -> Instant {
        began + Duration::from_secs_f64(made as f64 / self.rate())
    }

    fn record(&self, sequence: u64) -> Result<SourceRecord, Error> {
        let time = self.time(sequence);
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

impl GeneratorSource {
    /// The next alerts, so many.
    fn batch(&mut self, count: u64) -> Result<SourceBatch, Error> {
        let numbers = self.sequence + 1..=self.sequence + count;
        let records: Result<Vec<_>, _> = numbers.map(|number| self.record(number)).collect();
        let records = records?;
        self.sequence += count;
        let checkpoint = Checkpoint(json!(Position {
            sequence: self.sequence
        }));
        Ok(SourceBatch { records, checkpoint })
    }
}

#[async_trait]
impl Source for GeneratorSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        if self.stopped || self.remaining() == 0 {
            return Ok(None);
        }
        if self.range.is_some() {
            // What is past is there: whoever asks paces it.
            let most = u64::try_from(self.limits.max_records.max(1)).unwrap_or(u64::MAX);
            return self.batch(most.min(self.remaining())).map(Some);
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
        self.batch(count).map(Some)
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // Nothing upstream remembers what was read.
        Ok(())
    }

    fn reached(&self) -> Option<Timestamp> {
        let (range, last) = self.range?;
        Some(if self.sequence >= last {
            range.to
        } else {
            self.time(self.sequence + 1)
        })
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

    #[tokio::test]
    async fn a_range_gives_the_alerts_of_its_time_and_ends_wherever_it_is_cut_off() {
        let connection: Connection =
            serde_json::from_value(json!({"records_per_second": 3.0, "seed": 3})).unwrap();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds| start + TimeDelta::seconds(seconds);
        let context = |checkpoint| SourceContext {
            connection: json!({}),
            secrets: Secrets::none(),
            checkpoint,
            limits: BatchLimits {
                max_records: 7,
                ..BatchLimits::default()
            },
            share: Share::WHOLE,
            range: Some(TimeRange {
                from: at(10),
                to: at(20),
            }),
            sample: false,
            clock: Arc::new(ManualClock::at(start)),
            guard: crate::compliance::nowhere(),
        };
        let (mut keys, mut checkpoint) = (HashSet::new(), None);
        loop {
            // A new source for each batch: the worker is killed after each.
            let mut source =
                GeneratorSource::new(connection.clone(), start, &context(checkpoint.clone())).unwrap();
            let Some(batch) = source.next_batch().await.unwrap() else {
                break;
            };
            for record in batch.records {
                let alert: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
                let time: Timestamp = alert["time"].as_str().unwrap().parse().unwrap();
                assert!(time >= at(10) && time < at(20), "{time}");
                assert!(keys.insert(record.dedupe_key.unwrap()));
            }
            assert!(source.reached().unwrap() > at(10));
            checkpoint = Some(batch.checkpoint);
        }
        assert_eq!(keys.len(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_and_the_next_one_goes_on() {
        let connection: Connection =
            serde_json::from_value(json!({"records_per_second": 1000.0, "records_per_run": 5, "total": 12}))
                .unwrap();
        let (mut checkpoint, mut runs) = (None, Vec::new());
        for _ in 0..4 {
            let context = SourceContext {
                connection: json!({}),
                secrets: Secrets::none(),
                checkpoint: checkpoint.clone(),
                limits: BatchLimits::default(),
                share: Share::WHOLE,
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
                checkpoint = Some(batch.checkpoint);
            }
            runs.push(made);
        }
        assert_eq!(runs, [5, 5, 2, 0]);
    }
}
