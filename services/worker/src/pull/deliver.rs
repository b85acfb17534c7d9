//! The records of a batch: to events, to outcomes, to the bus; again until all are stored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use halcyon_connectors::SourceRecord;
use halcyon_domain::{
    error::InputError,
    event::{EventId, IngestEvent},
    partition::slot,
};

use super::run::{End, Run};
use crate::{
    feed::Version,
    mapper::{Batch, Mapped, dead, tally},
    partition::say_dead_letters,
    sink::is_permanent,
};

/// The first pause after the bus has failed, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The code of what cannot be published as what it became.
const UNDELIVERABLE: &str = "undeliverable";

/// Whether an event was made a dead letter because it cannot be published: it is not made one again.
fn is_given_up(mapped: &Mapped) -> bool {
    let mut failures = mapped
        .outcome
        .records
        .iter()
        .filter_map(|record| record.failure.as_ref());
    failures.any(|failure| failure.code == UNDELIVERABLE)
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    pub(super) records: u64,
    pub(super) dead_lettered: u64,
}

impl Run {
    /// Maps records and publishes what they became; returns what that was once all of it is stored. A new assignment
    /// is taken up meanwhile: the rest goes on with its version, or is left to be read again.
    pub(super) async fn deliver(
        &mut self,
        version: &mut Arc<Version>,
        records: Vec<SourceRecord>,
    ) -> Result<Delivered, End> {
        let mut delivered = Delivered::default();
        let mut left: Vec<IngestEvent> = records.into_iter().map(|record| self.event(record)).collect();
        // Before anything of the batch goes on: what is not acked upstream is read again as a whole.
        let mut watched = version.clone();
        left = self.watch(&watched, left).await?;
        while !left.is_empty() {
            if !Arc::ptr_eq(&watched, version) {
                watched = version.clone();
                left = self.watch(&watched, left).await?;
            }
            let now = self.paced(version, &mut left).await?;
            let batch = self.map(version, now).await?;
            left.splice(0..0, batch.rest);
            let tally = tally(&batch.mapped, batch.took);
            let stored = self.publish(version, batch.mapped).await?;
            if self.feed.backfill.is_none() {
                self.board.captures.look(self.feed.id, &stored);
            }
            self.feed
                .throttle
                .charge(tally.records().saturating_sub(tally.events) as usize);
            self.feed.stats.add(&tally, self.board.clock.now());
            delivered.records += tally.records();
            delivered.dead_lettered += tally.dead_lettered;
            if tally.dead_lettered > 0 {
                say_dead_letters(&self.board, &self.feed, &stored);
            }
            if !left.is_empty() && self.changes.has_changed().unwrap_or(false) {
                self.hear(version).await?;
            }
        }
        Ok(delivered)
    }

    /// Compares events with what a version expects.
    async fn watch(
        &self,
        version: &Arc<Version>,
        mut events: Vec<IngestEvent>,
    ) -> Result<Vec<IngestEvent>, End> {
        let slice = self.board.settings.park_after.get();
        let mut seen = Vec::with_capacity(events.len());
        while !events.is_empty() {
            let watched = self.board.watch(&self.feed, version, events, slice).await;
            let watched = watched.map_err(|_| End::Stopped)?;
            if watched.differs {
                return Err(End::Drifted);
            }
            seen.extend(watched.events);
            events = watched.held;
        }
        Ok(seen)
    }

    /// Maps events. Expressions can only fail when the worker ends; a script can want a process that is not to be had
    /// just now. All are handed back if there is another version meanwhile.
    async fn map(&mut self, version: &mut Arc<Version>, events: Vec<IngestEvent>) -> Result<Batch, End> {
        let slice = self.board.settings.park_after.get();
        if version.mapping.script().is_none() {
            let batch = self.board.map(&self.feed, version, events, slice).await;
            return batch.map_err(|_| End::Stopped);
        }
        let before = version.clone();
        loop {
            match self.board.map(&self.feed, version, events.clone(), slice).await {
                Ok(batch) => return Ok(batch),
                Err(error) => {
                    tracing::warn!(datasource.id = %self.feed.id, error = %error, "a script cannot be run yet");
                    self.pause(version, PAUSE.1).await?;
                    if !Arc::ptr_eq(&before, version) {
                        let rest = events;
                        return Ok(Batch {
                            rest,
                            ..Batch::default()
                        });
                    }
                }
            }
        }
    }

    /// The events whose turn it is; waits until the pace allows at least one. None if there is another version: it may
    /// expect something else of them.
    async fn paced(
        &mut self,
        version: &mut Arc<Version>,
        left: &mut Vec<IngestEvent>,
    ) -> Result<Vec<IngestEvent>, End> {
        let before = version.clone();
        loop {
            match self.feed.throttle.take(left.len()) {
                0 => {
                    let wait = self.feed.throttle.wait().max(Duration::from_millis(10));
                    self.pause(version, wait).await?;
                    if !Arc::ptr_eq(&before, version) {
                        return Ok(Vec::new());
                    }
                }
                granted => {
                    let later = left.split_off(granted);
                    return Ok(std::mem::replace(left, later));
                }
            }
        }
    }

    /// Publishes until everything is stored. Each event travels on the partition of its slot, as pushed ones do.
    async fn publish(&mut self, version: &mut Arc<Version>, mapped: Vec<Mapped>) -> Result<Vec<Mapped>, End> {
        let mut groups: BTreeMap<u16, Vec<Mapped>> = BTreeMap::new();
        for item in mapped {
            let slot = slot(&item.event.id, version.config.runtime.parallelism);
            // Outcomes go to no worker: the pool does not matter.
            let partition = self
                .board
                .bus
                .partitions()
                .of(None, self.feed.id, slot)
                .unwrap_or_default();
            groups.entry(partition).or_default().push(item);
        }
        let mut stored = Vec::new();
        for (partition, mut group) in groups {
            let mut pause = PAUSE.0;
            loop {
                let failed = self.board.sink.deliver(partition, &mut group).await;
                let Some((place, error)) = failed.into_iter().next() else {
                    break;
                };
                self.feed.stats.add_error();
                let culprit = group.get_mut(place).filter(|_| is_permanent(&error));
                match culprit.filter(|culprit| !is_given_up(culprit)) {
                    Some(culprit) => {
                        let detail = format!("what it became cannot be published: {error}");
                        let failure = InputError::new("", UNDELIVERABLE, detail);
                        *culprit = dead(culprit.event.clone(), culprit.outcome.version, failure);
                    }
                    None => {
                        tracing::warn!(datasource.id = %self.feed.id, error = %error, "outcomes cannot be published yet");
                        self.pause(version, pause).await?;
                        pause = (pause * 2).min(PAUSE.1);
                    }
                }
            }
            stored.extend(group);
        }
        Ok(stored)
    }

    /// Waits for so long, or until a new assignment is taken up.
    async fn pause(&mut self, version: &mut Arc<Version>, pause: Duration) -> Result<(), End> {
        tokio::select! {
            () = self.stop.cancelled() => Err(End::Stopped),
            Ok(()) = self.changes.changed() => self.hear(version).await,
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Takes up a new assignment in the middle of a batch. What of the batch was published is read again with the rest
    /// if the source cannot go on, and has the same identities then.
    async fn hear(&mut self, version: &mut Arc<Version>) -> Result<(), End> {
        *version = self.change(version).await.ok_or(End::Changed)?;
        Ok(())
    }

    fn event(&self, record: SourceRecord) -> IngestEvent {
        let id = match &record.dedupe_key {
            Some(key) => EventId::from_key(self.feed.id, key),
            None => EventId::generate(),
        };
        IngestEvent {
            id,
            organization: self.feed.organization,
            datasource: self.feed.id,
            received_at: record.received_at,
            content_type: None,
            headers: record.headers,
            attempt: 0,
            replay: None,
            payload: record.bytes,
        }
    }
}
