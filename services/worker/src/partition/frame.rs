//! One frame: its datasources side by side, each mapped and delivered or parked; then the ack.

use std::time::Duration;

use futures::future::join_all;
use halcyon_bus::{Delivery, Error};
use halcyon_domain::{
    assignment::LogLevel,
    error::InputError,
    event::IngestEvent,
    id::DatasourceId,
    lifecycle::{Reason, RuntimeStatus},
};
use halcyon_infra::telemetry;
use tracing::Instrument;

use super::{
    Partition,
    attempts::{Mode, pause},
    backlog::Parking,
    group::by_datasource,
    turns::{Ticket, Turn},
};
use crate::{
    feed::{Feed, Version},
    mapper::{Mapped, dead, tally},
    sink::is_permanent,
    watch::Watched,
};

/// How often the bus is told that a frame is still worked on.
const PROGRESS: Duration = Duration::from_secs(3);
/// How long a frame that nobody can read waits before it is looked at again.
const UNREADABLE: Duration = Duration::from_secs(30);
/// Events that are parked at a time.
const PARKING: usize = 64;

/// Why events are parked.
const UNEXPECTED: &str = "its records are not what is expected";
const SLOW: &str = "its mapping takes too long";

/// What is to be done with a datasource's events now.
pub(super) enum Fate {
    Process(std::sync::Arc<Feed>, std::sync::Arc<Version>),
    /// Why they wait.
    Park(&'static str),
}

/// Why a frame comes again.
#[derive(Debug)]
pub(super) struct Again(Error);

impl Again {
    pub(super) fn into_error(self) -> Error {
        self.0
    }
}

impl Partition {
    /// Processes a frame and acks it; one that could not be processed as a whole comes again. What is published
    /// of it belongs to the trace that the frame came with.
    pub(super) async fn process(&self, frame: Delivery, ticket: Ticket) {
        let span = tracing::info_span!("frame", partition = self.number, sequence = frame.sequence());
        if let Some(traceparent) = frame.traceparent() {
            telemetry::set_parent(&span, &traceparent);
        }
        self.process_in_span(frame, ticket).instrument(span).await;
    }

    async fn process_in_span(&self, frame: Delivery, ticket: Ticket) {
        let delivered = frame.delivered();
        let events = match frame.events() {
            Ok(events) => events,
            Err(error) => {
                // Not to be thrown away: another release of the gateway may have written it.
                tracing::error!(partition = self.number, sequence = frame.sequence(), error = %error,
                    "a frame of accepted events cannot be read");
                return frame.give_back(UNREADABLE);
            }
        };
        let mode = Mode::of(delivered, self.board.settings.max_attempts);
        if mode != Mode::Together {
            tracing::info!(
                partition = self.number,
                sequence = frame.sequence(),
                delivered,
                "a frame is processed event by event"
            );
        }
        let groups = by_datasource(events);
        let datasources: Vec<DatasourceId> = groups.iter().map(|(datasource, _)| *datasource).collect();
        let turns = self.turns.queue(ticket, &datasources).await;
        let groups = groups
            .into_iter()
            .zip(turns)
            .map(|((datasource, group), turn)| self.group(datasource, group, mode, turn));
        match with_progress(&frame, join_all(groups))
            .await
            .into_iter()
            .find_map(Result::err)
        {
            None => {
                if let Err(error) = frame.ack().await {
                    tracing::debug!(error = %error, "an ack was not sent; the frame comes again");
                }
            }
            Some(Again(error)) => {
                tracing::warn!(partition = self.number, delivered, error = %error, "a frame comes again");
                frame.give_back(pause(delivered));
            }
        }
    }

    async fn group(
        &self,
        datasource: DatasourceId,
        events: Vec<IngestEvent>,
        mode: Mode,
        mut turn: Turn,
    ) -> Result<(), Again> {
        let (feed, version) = match self.fate(datasource).await {
            Fate::Process(feed, version) => (feed, version),
            Fate::Park(why) => {
                let parking = self.begin_park(datasource, events.first(), why);
                return self.park(parking, events, &mut turn).await;
            }
        };
        let slice = self.board.settings.park_after.get();
        // What has ended workers is looked at where it is mapped.
        let watched = match mode {
            Mode::Last => Watched::unseen(events),
            _ => self
                .board
                .watch(&feed, &version, events, slice)
                .await
                .map_err(Again)?,
        };
        let mut now = watched.events;
        let mut later = now.split_off(feed.throttle.take(now.len()));
        let why = match watched.differs {
            _ if !later.is_empty() => "it is throttled",
            true => UNEXPECTED,
            false => SLOW,
        };
        later.extend(watched.held);
        // What is later than these must not overtake them meanwhile.
        let parking = (!later.is_empty()).then(|| self.begin_park(datasource, later.first(), why));
        if mode != Mode::OneByOne {
            let batch = if mode == Mode::Last {
                self.board.map_apart(&feed, &version, now).await
            } else {
                self.board.map(&feed, &version, now, slice).await
            };
            let batch = batch.map_err(Again)?;
            self.hand_on(&feed, batch.mapped, batch.took, mode).await?;
            if !batch.rest.is_empty() {
                let differs = mode == Mode::Last && feed.state().reason == Reason::SchemaDrift;
                let why = if differs { UNEXPECTED } else { SLOW };
                let parking = self.begin_park(datasource, batch.rest.first(), why);
                let rest = batch.rest.into_iter().chain(later).collect();
                return self.park(parking, rest, &mut turn).await;
            }
        } else {
            for event in now {
                let batch = self
                    .board
                    .map(&feed, &version, vec![event], Duration::MAX)
                    .await
                    .map_err(Again)?;
                self.hand_on(&feed, batch.mapped, batch.took, mode).await?;
            }
        }
        match parking {
            Some(parking) => self.park(parking, later, &mut turn).await,
            None => Ok(()),
        }
    }

    /// What is to be done with a datasource's events now. Waits a while for a version that is being compiled.
    pub(super) async fn fate(&self, datasource: DatasourceId) -> Fate {
        if self.backlog.holds(datasource) {
            return Fate::Park("earlier events are parked");
        }
        self.runnable(datasource).await
    }

    async fn runnable(&self, datasource: DatasourceId) -> Fate {
        let feed = self
            .board
            .settled(datasource, self.board.settings.park_after.get())
            .await;
        let Some(feed) = feed else {
            return Fate::Park("it is not known here");
        };
        match feed.runnable() {
            Some(version) => Fate::Process(feed, version),
            None => Fate::Park(match feed.state().status {
                RuntimeStatus::Stopped => "it is stopped",
                RuntimeStatus::Error => "it cannot run",
                _ => "it is starting",
            }),
        }
    }

    /// Publishes what events became; counts it.
    pub(super) async fn hand_on(
        &self,
        feed: &Feed,
        mut mapped: Vec<Mapped>,
        took: Duration,
        mode: Mode,
    ) -> Result<(), Again> {
        let mut failed = self.board.sink.deliver(self.number, &mut mapped).await;
        if mode == Mode::Last {
            failed = self.bury(&mut mapped, failed).await;
        }
        if let Some((_, error)) = failed.into_iter().next() {
            feed.stats.add_error();
            return Err(Again(error));
        }
        self.count(feed, &mapped, took);
        self.board.captures.look(feed.id, &mapped);
        Ok(())
    }

    /// Dead-letters the events that cannot be published as what they became.
    pub(super) async fn bury(
        &self,
        mapped: &mut [Mapped],
        failed: Vec<(usize, Error)>,
    ) -> Vec<(usize, Error)> {
        let mut left = Vec::new();
        for (place, error) in failed {
            let Some(culprit) = mapped.get_mut(place).filter(|_| is_permanent(&error)) else {
                left.push((place, error));
                continue;
            };
            let failure = InputError::new(
                "",
                "undeliverable",
                format!("what it became cannot be published: {error}"),
            );
            *culprit = dead(culprit.event.clone(), culprit.outcome.version, failure);
            let again = self
                .board
                .sink
                .deliver(self.number, std::slice::from_mut(culprit))
                .await;
            left.extend(again.into_iter().map(|(_, error)| (place, error)));
        }
        left
    }

    fn count(&self, feed: &Feed, mapped: &[Mapped], took: Duration) {
        let tally = tally(mapped, took);
        self.meter.add(mapped.len(), took);
        feed.throttle
            .charge(tally.records().saturating_sub(tally.events) as usize);
        feed.stats.add(&tally, self.board.clock.now());
        if tally.dead_lettered > 0 {
            say_dead_letters(&self.board, feed, mapped);
        }
    }

    /// From now on the datasource's later events park, too.
    fn begin_park(
        &self,
        datasource: DatasourceId,
        first: Option<&IngestEvent>,
        why: &'static str,
    ) -> Parking<'_> {
        if let Some(first) = first.filter(|_| !self.backlog.holds(datasource)) {
            let message = format!("events are parked because {why}");
            let place = (first.organization, datasource);
            self.board
                .logs
                .say(place, LogLevel::Warn, "parking", message, None);
        }
        self.backlog.begin_park(datasource)
    }

    /// Parks events in their order, behind those of earlier frames; done when all are durable.
    async fn park(
        &self,
        mut parking: Parking<'_>,
        events: Vec<IngestEvent>,
        turn: &mut Turn,
    ) -> Result<(), Again> {
        turn.come().await;
        let mut failure = None;
        for chunk in events.chunks(PARKING) {
            let results = join_all(chunk.iter().map(|event| self.board.sink.park(self.number, event))).await;
            parking.count += results.iter().filter(|result| result.is_ok()).count() as u64;
            failure = results.into_iter().find_map(Result::err);
            if failure.is_some() {
                break;
            }
        }
        let datasource = parking.datasource;
        drop(parking);
        self.show(datasource);
        failure.map_or(Ok(()), |error| Err(Again(error)))
    }
}

/// Tells a datasource's log about its dead letters.
pub(crate) fn say_dead_letters(board: &crate::board::Board, feed: &Feed, mapped: &[Mapped]) {
    for Mapped { event, outcome } in mapped {
        for record in &outcome.records {
            let Some(failure) = &record.failure else { continue };
            let message = format!(
                "record {} is dead-lettered: {}: {failure}",
                record.index, failure.code
            );
            let place = (feed.organization, feed.id);
            board.logs.say(
                place,
                LogLevel::Error,
                "mapping",
                message,
                Some(event.id.to_string()),
            );
        }
    }
}

/// Waits for `work`, and tells the bus from time to time that the frame is still worked on.
async fn with_progress<T>(frame: &Delivery, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(PROGRESS, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                if let Err(error) = frame.in_progress().await {
                    tracing::debug!(error = %error, "the bus could not be told of progress");
                }
            }
        }
    }
}
