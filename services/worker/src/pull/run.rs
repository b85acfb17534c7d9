//! A source at work: batch, map, publish, acks, checkpoint, upstream ack; and the same again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use halcyon_bus::{Entry, Error as BusError, checkpoint::CheckpointWriter};
use halcyon_connectors::{
    BatchLimits, Checkpoint, Connector, Error as SourceError, Share, Source, SourceBatch, SourceContext,
    TimeRange,
};
use halcyon_domain::{assignment::Assignment, config::VersionConfig, id::BackfillId, lifecycle::Reason};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{deliver::Delivered, secrets::Opener};
use crate::{
    board::Board,
    feed::{Feed, Version},
    holding::Hold,
    supervisor::{is_to_run, reach_off_thread, tell},
};

/// How much of its pace a batch holds at most: so long a stop or a new version may find one under way.
const PACED: u32 = 5;
/// How long a source may take to let go of its upstream.
const STOP: Duration = Duration::from_secs(5);

/// Why a run has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to stop, or another worker has the datasource.
    Stopped,
    /// A new assignment cannot be taken up in the middle of a run.
    Changed,
    /// There is nothing more to read.
    Finished,
    /// Its records are not what is expected, and the state says so.
    Drifted,
    /// The configuration is at fault: no use in trying again.
    Config(String),
    /// Worth another attempt.
    Failed {
        reason: Reason,
        message: String,
        retry_after: Option<Duration>,
    },
}

/// One run of a source.
pub(super) struct Run {
    pub(super) board: Arc<Board>,
    pub(super) opener: Arc<Opener>,
    pub(super) feed: Arc<Feed>,
    pub(super) hold: Hold,
    /// How many instances share the feed since the source was made.
    pub(super) shares: u16,
    pub(super) changes: watch::Receiver<Arc<Entry<Assignment>>>,
    pub(super) stop: CancellationToken,
    /// The secrets' revision when the source was made.
    pub(super) secrets_revision: u64,
    /// How many records the source reads at a time at most since it was made.
    pub(super) most: usize,
}

impl Run {
    pub(super) async fn go(mut self) -> End {
        match self.run().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn run(&mut self) -> Result<End, End> {
        let Some(mut version) = self.feed.runnable() else {
            return Ok(End::Changed);
        };
        let by = {
            let assignment = &self.changes.borrow().value;
            self.shares = assignment.shares();
            self.secrets_revision = assignment.secrets_revision;
            let held = assignment.instances.get(usize::from(self.hold.instance));
            let worker = held.and_then(|instance| instance.worker);
            worker.map_or_else(|| "a worker".to_owned(), |worker| format!("worker {worker}"))
        };
        let now = self.board.clock.now();
        let (instance, epoch) = (self.hold.instance, self.hold.epoch);
        let checkpoints = self.board.bus.checkpoints();
        let claim = checkpoints.claim(self.feed.work, instance, epoch, &by, now).await;
        let (mut writer, position) = claim.map_err(|error| self.lost(error))?;
        if self.feed.backfill.is_some() {
            return self.backfill(&mut version, &mut writer, position).await;
        }
        if self.is_scheduled() {
            return self.by_schedule(&mut version, &mut writer, position).await;
        }
        self.read(&mut version, &mut writer, position, &mut Delivered::default())
            .await
    }

    /// Reads on from a position until the source ends, or something else ends that. Adds what was read to `read`.
    pub(super) async fn read(
        &mut self,
        version: &mut Arc<Version>,
        writer: &mut CheckpointWriter,
        position: Value,
        read: &mut Delivered,
    ) -> Result<End, End> {
        let mut source = self.source(&version.config, position).await?;
        loop {
            let batch = tokio::select! {
                () = self.stop.cancelled() => {
                    let_go(source.as_mut()).await;
                    return Ok(End::Stopped);
                }
                Ok(()) = self.changes.changed() => {
                    match self.change(version).await {
                        Some(next) => *version = next,
                        None => {
                            let_go(source.as_mut()).await;
                            return Ok(End::Changed);
                        }
                    }
                    continue;
                }
                batch = source.next_batch() => batch.map_err(failed)?,
            };
            let Some(batch) = batch else {
                return Ok(End::Finished);
            };
            let taken = self.take_in(version, batch, source.as_mut(), writer).await;
            if let Err(End::Stopped | End::Changed) = taken {
                let_go(source.as_mut()).await;
            }
            let delivered = taken?;
            read.records += delivered.records;
            read.dead_lettered += delivered.dead_lettered;
            if self.is_outgrown(version) {
                let_go(source.as_mut()).await;
                return Ok(End::Changed);
            }
        }
    }

    /// A batch all the way: nothing is acked upstream before its effects and then the checkpoint are durable.
    async fn take_in(
        &mut self,
        version: &mut Arc<Version>,
        batch: SourceBatch,
        source: &mut dyn Source,
        writer: &mut CheckpointWriter,
    ) -> Result<Delivered, End> {
        let SourceBatch {
            records,
            checkpoint: Checkpoint(position),
        } = batch;
        let delivered = self.deliver(version, records).await?;
        let now = self.board.clock.now();
        let saved = if self.feed.backfill.is_some() {
            let progress = self.progressed(delivered, source.reached());
            writer.save_progress(position.clone(), progress, now).await
        } else {
            writer.save(position.clone(), now).await
        };
        saved.map_err(|error| self.lost(error))?;
        source.ack(&Checkpoint(position)).await.map_err(failed)?;
        Ok(delivered)
    }

    /// Whether the source reads as little at a time as a slower pace than today's allowed, and loses nothing if it is
    /// made anew.
    fn is_outgrown(&self, version: &Version) -> bool {
        let now = limits(&version.config, self.feed.rate(&version.config));
        now.max_records > self.most
            && self
                .connector()
                .is_some_and(|it| it.spec().capabilities.resumable)
    }

    fn connector(&self) -> Option<&'static dyn Connector> {
        halcyon_connectors::find(&self.changes.borrow().value.connector)
    }

    async fn source(&mut self, config: &VersionConfig, position: Value) -> Result<Box<dyn Source>, End> {
        let connector = self.connector();
        let connector = connector.ok_or_else(|| End::Config("there is no such connector".to_owned()))?;
        let limits = limits(config, self.feed.rate(config));
        self.most = limits.max_records;
        let feed = &self.feed;
        let backfill = feed.backfill.map(|_| BackfillId(feed.work.0));
        let opened = self
            .opener
            .open(feed.organization, feed.id, backfill, &config.connection)
            .await;
        let secrets = opened.map_err(no_secrets)?;
        let context = SourceContext {
            connection: config.connection.clone(),
            secrets,
            checkpoint: (!position.is_null()).then_some(Checkpoint(position)),
            limits,
            share: Share {
                index: self.hold.instance,
                of: self.shares.max(1),
            },
            range: self.feed.backfill.map(|task| TimeRange {
                from: task.from,
                to: task.to,
            }),
            sample: false,
            clock: self.board.clock.clone(),
            guard: self.board.guard.clone(),
        };
        connector.source(context).map_err(failed)
    }

    /// Takes up a new assignment. The version to go on with, unless the source must be made anew.
    pub(super) async fn change(&mut self, running: &Arc<Version>) -> Option<Arc<Version>> {
        let entry = self.changes.borrow_and_update().clone();
        if !is_to_run(&entry.value) {
            // The keeper takes it up.
            self.changes.mark_changed();
            return None;
        }
        let before = self.feed.state();
        let after = reach_off_thread(&self.board, &before, &entry.value).await;
        let next = after.runnable().cloned();
        if self.feed.backfill.is_none() {
            tell(&self.board, &self.feed, &before, &after);
        }
        // A restart is a new generation of the same version.
        let restart = next.as_ref().is_some_and(|next| next.number == running.number)
            && after.generation != before.generation
            && after.reason == Reason::AsDesired;
        if restart {
            self.feed.at_once.store(true, Ordering::Relaxed);
        }
        self.feed.change(|state| *state = after);
        self.board.changed();
        let same_source = |next: &Arc<Version>| {
            next.config.connection == running.config.connection
                && next.config.schedule == running.config.schedule
                && next.config.runtime.batch == running.config.runtime.batch
        };
        let same_secrets = entry.value.secrets_revision == self.secrets_revision;
        let same_share = entry.value.shares() == self.shares;
        next.filter(|next| !restart && same_secrets && same_share && same_source(next))
    }

    /// The checkpoint could not be claimed or written: fenced, or the bus is away.
    pub(super) fn lost(&self, error: BusError) -> End {
        if matches!(error, BusError::Conflict) {
            tracing::warn!(datasource.id = %self.feed.id, "another worker has the datasource; the source is stopped");
            return End::Stopped;
        }
        End::Failed {
            reason: Reason::SourceFailed,
            message: format!("the checkpoint cannot be kept: {error}"),
            retry_after: None,
        }
    }
}

/// The registry says which secret has expired; all else may pass by itself.
fn no_secrets(error: BusError) -> End {
    match error {
        BusError::Remote(remote) if remote.code == "secret_expired" => End::Failed {
            reason: Reason::SecretExpired,
            message: remote.message,
            retry_after: None,
        },
        error => End::Failed {
            reason: Reason::SecretsUnavailable,
            message: format!("the secrets cannot be had: {error}"),
            retry_after: None,
        },
    }
}

/// The bounds of a batch that is delivered at `rate` records a second.
fn limits(config: &VersionConfig, rate: Option<u32>) -> BatchLimits {
    let batch = &config.runtime.batch;
    let paced = rate.map_or(u32::MAX, |rate| rate.saturating_mul(PACED).max(1));
    BatchLimits {
        max_records: batch.max_records.min(paced) as usize,
        max_wait: batch.max_wait.get(),
    }
}

async fn let_go(source: &mut dyn Source) {
    if tokio::time::timeout(STOP, source.stop()).await.is_err() {
        tracing::warn!("a source did not let go of its upstream in time");
    }
}

/// A source's error by class: whose it is to put right.
fn failed(error: SourceError) -> End {
    match error {
        SourceError::Config(errors) => {
            let detail = errors.first().map_or_else(String::new, ToString::to_string);
            End::Config(format!("the configuration is not valid: {detail}"))
        }
        SourceError::Unsupported { .. } | SourceError::Checkpoint { .. } | SourceError::Refused { .. } => {
            End::Config(error.to_string())
        }
        SourceError::Secret { .. } => End::Failed {
            reason: Reason::SecretsUnavailable,
            message: error.to_string(),
            retry_after: None,
        },
        SourceError::Transient { message, retry_after } => End::Failed {
            reason: Reason::SourceFailed,
            message,
            retry_after,
        },
        SourceError::System(message) => End::Failed {
            reason: Reason::SourceFailed,
            message,
            retry_after: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_a_few_seconds_of_its_pace() {
        let config = VersionConfig::default();
        for (rate, most) in [(None, 500), (Some(1_000), 500), (Some(20), 100), (Some(1), 5)] {
            assert_eq!(limits(&config, rate).max_records, most, "{rate:?}");
        }
    }
}
