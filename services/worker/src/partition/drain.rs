//! Draining what is parked, oldest first, once its datasource runs again.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_bus::{Error, parked::ParkedEvent};
use halcyon_domain::{assignment::LogLevel, error::InputError, event::IngestEvent, id::DatasourceId};
use tokio_util::sync::CancellationToken;

use super::{Partition, attempts::Mode};
use crate::{
    feed::{Feed, Version},
    mapper::dead,
};

/// Events that are drained at a time.
const PAGE: usize = 128;
/// How long to wait after the bus has failed.
const PAUSE: Duration = Duration::from_millis(500);

impl Partition {
    /// Whether what is parked of a datasource can go on. Of one that nobody knows it can: into the dead letters,
    /// in due course.
    pub(super) fn may_drain(&self, datasource: DatasourceId) -> bool {
        self.board
            .feed(datasource)
            .is_none_or(|feed| feed.runnable().is_some())
    }

    /// Drains a datasource until nothing is parked, it no longer runs, or `stop`.
    pub(super) async fn drain(&self, datasource: DatasourceId, stop: &CancellationToken) {
        while !stop.is_cancelled() && self.may_drain(datasource) {
            let arrivals = self.backlog.arrivals(datasource);
            match self.drain_page(datasource).await {
                Ok(Step::More) => {}
                Ok(Step::Wait(pause)) => {
                    if stop
                        .run_until_cancelled(tokio::time::sleep(pause))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
                Ok(Step::Later) => return,
                Ok(Step::Empty) => {
                    if self.backlog.clear(datasource, arrivals) {
                        self.show(datasource);
                        return;
                    }
                    // A group is being parked right now.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    tracing::warn!(partition = self.number, datasource.id = %datasource, error = %error,
                        "what is parked cannot be drained yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn drain_page(&self, datasource: DatasourceId) -> Result<Step, Error> {
        let Some(feed) = self.board.feed(datasource) else {
            self.board.look_for(datasource);
            return self.drain_orphans(datasource).await;
        };
        self.backlog.known(datasource);
        let Some(version) = feed.runnable() else {
            return Ok(Step::Later);
        };
        let page = self.page(datasource).await?;
        if page.is_empty() {
            return Ok(Step::Empty);
        }
        match feed.throttle.take(page.len()) {
            0 => Ok(Step::Wait(feed.throttle.wait().max(Duration::from_millis(10)))),
            granted => self.drain_events(&feed, &version, page, granted).await,
        }
    }

    /// The oldest of what is parked. Empty only if nothing is: a copy of the stream that lags behind may say so
    /// too early, so its leader is asked as well.
    async fn page(&self, datasource: DatasourceId) -> Result<Vec<ParkedEvent>, Error> {
        let bus = &self.board.bus;
        let page = bus.parked(self.number, datasource, PAGE).await?;
        if page.is_empty() && bus.parked_count(self.number, datasource).await? > 0 {
            return Err(Error::Unavailable("what is parked cannot be seen yet".to_owned()));
        }
        Ok(page)
    }

    async fn drain_events(
        &self,
        feed: &Feed,
        version: &Arc<Version>,
        mut page: Vec<ParkedEvent>,
        granted: usize,
    ) -> Result<Step, Error> {
        page.truncate(granted);
        let (sequences, events): (Vec<u64>, Vec<IngestEvent>) = page
            .into_iter()
            .map(|parked| (parked.sequence, parked.event))
            .unzip();
        // The first page after the partition has changed hands is mapped apart: deliveries are not counted here, and
        // an event that kills the worker would do so for ever.
        let batch = if self.backlog.is_inherited(feed.id) {
            self.board.map_apart(feed, version, events).await?
        } else {
            let slice = self.board.settings.park_after.get();
            let watched = self.board.watch(feed, version, events, slice).await?;
            self.board.map(feed, version, watched.events, slice).await?
        };
        let done = batch.mapped.len();
        if done == 0 {
            // The first of them is not what is expected.
            return Ok(Step::Later);
        }
        // There is no counting of attempts here: what cannot be published now never can.
        if let Err(again) = self.hand_on(feed, batch.mapped, batch.took, Mode::Last).await {
            return Err(again.into_error());
        }
        self.unpark(feed.id, &sequences, done).await?;
        Ok(Step::More)
    }

    /// Removes the first `done` of the parked events.
    async fn unpark(&self, datasource: DatasourceId, sequences: &[u64], done: usize) -> Result<(), Error> {
        let Some(last) = done.checked_sub(1).and_then(|last| sequences.get(last)) else {
            return Ok(());
        };
        self.board
            .bus
            .unpark_through(self.number, datasource, *last)
            .await?;
        self.backlog.drained(datasource, done as u64);
        self.show(datasource);
        Ok(())
    }

    /// Events of a datasource that nobody knows: it was deleted, or its assignment is still on its way. What
    /// has waited long enough is dead-lettered.
    async fn drain_orphans(&self, datasource: DatasourceId) -> Result<Step, Error> {
        let page = self.page(datasource).await?;
        if page.is_empty() {
            return Ok(Step::Empty);
        }
        // However old an event is: that nobody told of its datasource for a moment is no reason.
        if self.backlog.unknown(datasource) < self.board.settings.orphan_after.get() {
            return Ok(Step::Later);
        }
        let patience = TimeDelta::from_std(self.board.settings.orphan_after.get()).unwrap_or(TimeDelta::MAX);
        let oldest = self.board.clock.now() - patience;
        let (mut sequences, mut mapped) = (Vec::new(), Vec::new());
        for parked in page
            .into_iter()
            .take_while(|parked| parked.event.received_at <= oldest)
        {
            let failure = InputError::new(
                "",
                "datasource_gone",
                "no worker is told of this datasource any more",
            );
            sequences.push(parked.sequence);
            mapped.push(dead(parked.event, 0, failure));
        }
        let Some(first) = mapped.first() else {
            return Ok(Step::Later);
        };
        let place = (first.event.organization, datasource);
        if let Some((_, error)) = self
            .board
            .sink
            .deliver(self.number, &mut mapped)
            .await
            .into_iter()
            .next()
        {
            return Err(error);
        }
        let message = format!(
            "{} events of a datasource that is gone are dead-lettered",
            mapped.len()
        );
        self.board
            .logs
            .say(place, LogLevel::Error, "parking", message, None);
        self.unpark(datasource, &sequences, mapped.len()).await?;
        Ok(Step::More)
    }
}

/// How a page went.
enum Step {
    /// There may be more.
    More,
    /// Its pace does not allow more for so long.
    Wait(Duration),
    /// Nothing more can be done now.
    Later,
    /// Nothing is parked.
    Empty,
}
