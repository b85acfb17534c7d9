//! A partition that this worker holds: frames come in, outcomes go out, a frame is acked once all of its events
//! are accounted for. Effects are not fenced: for a moment two workers may hold a partition (invariant 2).

mod attempts;
mod backlog;
mod drain;
mod frame;
mod group;
mod replays;
mod turns;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use halcyon_bus::Delivery;
use halcyon_domain::id::DatasourceId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{board::Board, meter::Meter};
use backlog::Backlog;
pub(crate) use frame::say_dead_letters;
use turns::{Ticket, Tickets, Turns};

/// How often to look whether what is parked can go on, besides on every change.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait after the bus has failed.
const PAUSE: Duration = Duration::from_millis(500);

/// A partition at work.
pub(crate) struct Partition {
    board: Arc<Board>,
    number: u16,
    backlog: Arc<Backlog>,
    turns: Turns,
    meter: Arc<Meter>,
}

/// Works on a partition until `stop`; then finishes the frames that are under way.
pub(crate) async fn run(board: Arc<Board>, number: u16, stop: CancellationToken) {
    let backlog = Arc::new(Backlog::default());
    let partition = Arc::new(Partition {
        meter: board.meter(number),
        board,
        number,
        backlog,
        turns: Turns::default(),
    });
    if stop.run_until_cancelled(partition.load_backlog()).await.is_some() {
        partition.work(&stop).await;
    }
    partition.board.forget_partition(number);
    tracing::info!(partition = number, "the partition is given up");
}

impl Partition {
    /// Learns what is parked: nothing may be processed before, lest it overtake what waits.
    async fn load_backlog(&self) {
        loop {
            match self.board.bus.parked_datasources(self.number).await {
                Ok(parked) => {
                    for (datasource, count) in parked {
                        self.backlog.add(datasource, count);
                        self.show(datasource);
                    }
                    tracing::info!(partition = self.number, "the partition is held");
                    return;
                }
                Err(error) => {
                    tracing::warn!(partition = self.number, error = %error, "what is parked cannot be read yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Finds what is parked and not known here: the worker that held the partition before may have parked it
    /// after this one had looked.
    async fn look_again(&self) {
        match self.board.bus.parked_datasources(self.number).await {
            Ok(parked) => {
                for (datasource, count) in parked {
                    if self.backlog.find(datasource, count) {
                        self.show(datasource);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(partition = self.number, error = %error, "what is parked cannot be read now");
            }
        }
    }

    async fn work(self: &Arc<Self>, stop: &CancellationToken) {
        let mut consumer = self.board.bus.ingest_consumer(self.number);
        let limit = self.board.settings.frames_in_flight.max(1);
        let mut frames = FuturesUnordered::new();
        let mut tickets = Tickets::default();
        let mut drains = JoinSet::new();
        // Ends with the work on frames, and what it has under way is finished then.
        let replaying = CancellationToken::new();
        let replays = tokio::spawn(self.clone().replay(replaying.clone()));
        let mut changes = self.board.changes();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let room = limit - frames.len();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = frames.next() => {}
                batch = consumer.next_batch(room), if room > 0 => {
                    frames.extend(batch.into_iter().map(|frame| Self::start(self.clone(), frame, tickets.next())));
                }
                Ok(()) = changes.changed() => self.start_drains(&mut drains, stop),
                () = self.backlog.grown() => self.start_drains(&mut drains, stop),
                _ = look.tick() => {
                    self.start_drains(&mut drains, stop);
                    let partition = self.clone();
                    drains.spawn(async move { partition.look_again().await });
                }
                Some(_) = drains.join_next() => {}
            }
        }
        // What was fetched and not begun goes back at once.
        drop(consumer);
        replaying.cancel();
        while frames.next().await.is_some() {}
        while drains.join_next().await.is_some() {}
        if let Err(error) = replays.await {
            tracing::error!(partition = self.number, error = %error, "the lane of replays failed");
        }
    }

    /// A frame on a task of its own, so that frames use all processors.
    fn start(self: Arc<Self>, frame: Delivery, ticket: Ticket) -> impl Future<Output = ()> {
        tokio::spawn(async move { self.process(frame, ticket).await }).map(|ended| {
            if let Err(error) = ended {
                // The frame was dropped, and with that given back.
                tracing::error!(error = %error, "the processing of a frame failed");
            }
        })
    }

    /// Starts to drain what is parked, where it can go on.
    fn start_drains(self: &Arc<Self>, drains: &mut JoinSet<()>, stop: &CancellationToken) {
        for datasource in self.backlog.waiting() {
            if self.may_drain(datasource) && self.backlog.begin_drain(datasource) {
                let (partition, stop) = (self.clone(), stop.clone());
                drains.spawn(async move {
                    partition.drain(datasource, &stop).await;
                    partition.backlog.end_drain(datasource);
                });
            }
        }
    }

    /// Shows how much of a datasource is parked.
    fn show(&self, datasource: DatasourceId) {
        self.board
            .set_parked(self.number, datasource, self.backlog.count(datasource));
    }
}
