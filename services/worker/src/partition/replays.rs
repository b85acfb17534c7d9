//! The lane of replays: events of dead letters, processed anew at their own pace. Live events neither wait for them
//! nor are parked behind them; both share the datasource's part of the processors.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use halcyon_bus::{Error, replays::ReplayFrame};
use halcyon_domain::{assignment::LogLevel, event::IngestEvent, id::DatasourceId};
use halcyon_infra::telemetry;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{LOOK, PAUSE, Partition};
use crate::{
    feed::{Feed, Version},
    mapper::Mapped,
};

/// Events that are mapped at a time: live ones get their turn in between.
const AT_ONCE: usize = 16;

/// What is known of the datasources that wait in the lane.
#[derive(Default)]
struct Lane {
    running: HashSet<DatasourceId>,
    /// Since when nobody tells this worker of a datasource.
    unknown: HashMap<DatasourceId, Instant>,
    /// What waited when the partition was taken over: the holder before may have died of it.
    inherited: Option<HashSet<DatasourceId>>,
}

impl Partition {
    /// Works on the partition's lane of replays until `stop`, then finishes what is under way.
    pub(super) async fn replay(self: Arc<Self>, stop: CancellationToken) {
        let mut lane = Lane::default();
        let mut drains = JoinSet::new();
        let mut changes = self.board.changes();
        let mut look = tokio::time::interval(LOOK);
        let mut pokes = None;
        while !stop.is_cancelled() {
            if pokes.is_none() {
                pokes = self.board.bus.replay_pokes(self.number).await.ok();
            }
            let poked = async {
                match &mut pokes {
                    Some(pokes) => pokes.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = drains.join_next() => {
                    match done {
                        Ok(datasource) => {
                            lane.running.remove(&datasource);
                        }
                        // Whose it was is not known. A frame that is taken twice changes nothing.
                        Err(error) => {
                            tracing::error!(partition = self.number, error = %error, "a replay failed");
                            lane.running.clear();
                        }
                    }
                    continue;
                }
                () = poked => {}
                Ok(()) = changes.changed() => {
                    // Only what is known to wait is worth a look at each change of whatever feed.
                    if lane.unknown.is_empty() && lane.inherited.is_some() {
                        continue;
                    }
                }
                _ = look.tick() => {}
            }
            match self.board.bus.replaying(self.number).await {
                Ok(waiting) => self.start_replays(&mut lane, waiting, &mut drains, &stop).await,
                Err(error) => {
                    tracing::debug!(partition = self.number, error = %error, "what is to be replayed cannot be read now");
                }
            }
        }
        while drains.join_next().await.is_some() {}
    }

    async fn start_replays(
        self: &Arc<Self>,
        lane: &mut Lane,
        waiting: Vec<DatasourceId>,
        drains: &mut JoinSet<DatasourceId>,
        stop: &CancellationToken,
    ) {
        let inherited = lane
            .inherited
            .get_or_insert_with(|| waiting.iter().copied().collect());
        lane.unknown.retain(|datasource, _| waiting.contains(datasource));
        for datasource in waiting {
            if lane.running.contains(&datasource) {
                continue;
            }
            if self.board.feed(datasource).is_none() {
                let since = *lane.unknown.entry(datasource).or_insert_with(Instant::now);
                self.unknown_replay(datasource, since).await;
                continue;
            }
            lane.unknown.remove(&datasource);
            lane.running.insert(datasource);
            let (partition, stop) = (self.clone(), stop.clone());
            let apart = inherited.remove(&datasource);
            drains.spawn(async move {
                partition.replay_all(datasource, apart, &stop).await;
                datasource
            });
        }
    }

    /// A datasource that nobody knows was deleted, or its assignment is on its way. After a while its replays are
    /// given up: their dead letters are still there.
    async fn unknown_replay(&self, datasource: DatasourceId, since: Instant) {
        self.board.look_for(datasource);
        if since.elapsed() < self.board.settings.orphan_after.get() {
            return;
        }
        tracing::warn!(partition = self.number, datasource.id = %datasource,
            "replays of a datasource that is gone are given up");
        if let Err(error) = self
            .board
            .bus
            .replayed_through(self.number, datasource, u64::MAX - 1)
            .await
        {
            tracing::debug!(error = %error, "replays could not be given up yet");
        }
    }

    /// Processes a datasource's frames, the oldest first, until none is left, it no longer runs, or `stop`.
    async fn replay_all(&self, datasource: DatasourceId, mut apart: bool, stop: &CancellationToken) {
        let mut from = 1;
        while !stop.is_cancelled() {
            let Some(feed) = self.board.feed(datasource) else {
                return;
            };
            let Some(version) = feed.runnable() else { return };
            match self.replay_frame(&feed, &version, from, apart, stop).await {
                Ok(Some(done)) => {
                    from = done + 1;
                    apart = false;
                }
                Ok(None) => return,
                Err(error) => {
                    feed.stats.add_error();
                    tracing::warn!(partition = self.number, datasource.id = %datasource, error = %error,
                        "a replay cannot go on yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Processes the next frame; returns its sequence, or nothing if there is none or `stop` came first.
    async fn replay_frame(
        &self,
        feed: &Arc<Feed>,
        version: &Arc<Version>,
        from: u64,
        apart: bool,
        stop: &CancellationToken,
    ) -> Result<Option<u64>, Error> {
        let frame = self.board.bus.next_replay(self.number, feed.id, from).await?;
        let Some(ReplayFrame {
            sequence,
            events,
            traceparent,
        }) = frame
        else {
            return Ok(None);
        };
        let span = tracing::info_span!("replay", partition = self.number, sequence);
        if let Some(traceparent) = traceparent {
            telemetry::set_parent(&span, &traceparent);
        }
        let work = self.replay_events(feed, version, events, apart, stop);
        if !work.instrument(span).await? {
            return Ok(None);
        }
        self.board
            .bus
            .replayed_through(self.number, feed.id, sequence)
            .await?;
        Ok(Some(sequence))
    }

    /// Returns whether all events were processed; if not, the frame is begun anew later, which changes nothing.
    async fn replay_events(
        &self,
        feed: &Arc<Feed>,
        version: &Arc<Version>,
        mut left: Vec<IngestEvent>,
        apart: bool,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        let limit = self.board.settings.replays_per_second.max(1);
        let own = version.config.runtime.throttle.as_ref();
        let rate = own.map_or(limit, |own| own.records_per_second.min(limit));
        feed.replays.set_rate(Some(rate));
        while !left.is_empty() {
            let granted = feed.replays.take(left.len().min(AT_ONCE));
            if granted == 0 {
                let pause = tokio::time::sleep(feed.replays.wait().max(Duration::from_millis(10)));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Ok(false);
                }
                continue;
            }
            let later = left.split_off(granted);
            let now = std::mem::replace(&mut left, later);
            let batch = if apart {
                self.board.map_apart(feed, version, now).await?
            } else {
                let slice = self.board.settings.park_after.get();
                self.board.map(feed, version, now, slice).await?
            };
            left.splice(0..0, batch.rest);
            self.replayed(feed, batch.mapped, batch.took).await?;
        }
        Ok(true)
    }

    /// Publishes what replayed events became. There is no counting of attempts here: what cannot be published now
    /// never can.
    async fn replayed(&self, feed: &Feed, mut mapped: Vec<Mapped>, took: Duration) -> Result<(), Error> {
        let failed = self.board.sink.deliver(self.number, &mut mapped).await;
        let failed = self.bury(&mut mapped, failed).await;
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
        let failed_again = mapped
            .iter()
            .flat_map(|mapped| &mapped.outcome.records)
            .filter(|record| record.failure.is_some())
            .count();
        self.board.logs.say(
            (feed.organization, feed.id),
            LogLevel::Info,
            "replay",
            format!(
                "{} events were processed anew; {failed_again} records failed again",
                mapped.len()
            ),
            None,
        );
        self.count_replayed(feed, &mapped, took);
        Ok(())
    }

    fn count_replayed(&self, feed: &Feed, mapped: &[Mapped], took: Duration) {
        let mut tally = crate::mapper::tally(mapped, took);
        // How old they are says nothing of how far behind the feed is.
        tally.newest = None;
        self.meter.add(mapped.len(), took);
        feed.stats.add(&tally, self.board.clock.now());
    }
}
