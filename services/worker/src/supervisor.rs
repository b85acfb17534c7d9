//! Follows the assignments: holds the partitions that are this worker's, keeps the datasources whose events may
//! come in at the version that is wanted, and runs the sources that are placed here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream};
use halcyon_bus::{Entry, KvMirror};
use halcyon_domain::{
    assignment::{Assignment, LogLevel, PartitionAssignment},
    id::{DatasourceId, InstanceId, WorkerId},
    lifecycle::{DesiredState, Reason},
};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    board::Board,
    feed::{Feed, FeedState, Version, reach},
    partition,
    pull::secrets::Opener,
    sources::Sources,
};

/// How often to look for what has ended by itself, besides on every change.
const LOOK: Duration = Duration::from_secs(5);
/// Versions that are compiled at a time.
const COMPILES: usize = 4;

/// What a worker does, and by which assignments.
pub(crate) struct Supervisor {
    board: Arc<Board>,
    worker: WorkerId,
    assignments: KvMirror<Assignment>,
    holders: KvMirror<PartitionAssignment>,
    partitions: HashMap<u16, Running>,
    /// Partitions that were given up and finish what is under way.
    closing: Vec<(u16, JoinHandle<()>)>,
    sources: Sources,
    /// The assignment that each feed has reached, by its revision.
    reached: HashMap<DatasourceId, u64>,
}

/// A partition at work; it is given up when this is dropped.
struct Running {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub(crate) fn new(board: Arc<Board>, worker: WorkerId, instance: InstanceId, opener: Opener) -> Self {
        tracing::info!(worker.id = %worker, worker.instance = %instance, "the worker waits for assignments");
        Self {
            assignments: board.bus.assignments().mirror(),
            holders: board.bus.partition_assignments().mirror(),
            board,
            worker,
            sources: Sources::new(worker, opener),
            partitions: HashMap::new(),
            closing: Vec::new(),
            reached: HashMap::new(),
        }
    }

    /// Follows the assignments until it is dropped. Sources run only while the lease is held.
    pub(crate) async fn follow(&mut self) {
        self.assignments.ready().await;
        self.holders.ready().await;
        let board = self.board.clone();
        let mut leased = self.board.leased.subscribe();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let session = *leased.borrow_and_update();
            self.compare(session).await;
            tokio::select! {
                () = self.assignments.changed() => {}
                () = self.sources.let_go(&board) => {}
                () = self.holders.changed() => {}
                () = board.strayed() => {}
                _ = leased.changed() => {}
                _ = look.tick() => {}
            }
        }
    }

    /// Stops everything; what is under way is finished within `deadline`.
    pub(crate) async fn stop(mut self, deadline: Duration) {
        let mut tasks: Vec<_> = self.closing.drain(..).map(|(_, task)| task).collect();
        for (_, Running { stop, task }) in self.partitions.drain() {
            drop(stop);
            tasks.push(task);
        }
        let board = self.board.clone();
        let work = async { tokio::join!(futures::future::join_all(tasks), self.sources.drain(&board)) };
        if tokio::time::timeout(deadline, work).await.is_err() {
            tracing::warn!("not all work in flight could be finished; it is done again elsewhere");
        }
    }

    /// Brings what runs to what is assigned. Versions are there before the frames that need them.
    async fn compare(&mut self, session: Option<u64>) {
        let held = self.held();
        self.give_up(&held);
        // Asked before what is known is looked at: no less than that.
        let revision = self.assignments.revision();
        let assignments = self.assignments.snapshot();
        let assignments: Vec<Arc<Entry<Assignment>>> = assignments.into_values().collect();
        // What is under way on a partition that was given up still needs its versions.
        let closing = self.closing.iter().map(|(number, _)| *number);
        let worked_on: HashSet<u16> = held.iter().copied().chain(closing).collect();
        self.compare_feeds(&assignments, &worked_on).await;
        for number in held {
            self.partitions.entry(number).or_insert_with(|| {
                let stop = CancellationToken::new();
                let task = tokio::spawn(partition::run(self.board.clone(), number, stop.clone()));
                Running {
                    stop: stop.drop_guard(),
                    task,
                }
            });
        }
        self.board
            .partitions
            .store(self.partitions.len(), Ordering::Relaxed);
        self.sources.compare(&self.board, &assignments, session);
        self.board.hold(|holds| holds.reached = revision);
    }

    /// Tells the partitions that are no longer held to finish.
    fn give_up(&mut self, held: &HashSet<u16>) {
        let partitions = std::mem::take(&mut self.partitions);
        for (number, running) in partitions {
            if !held.contains(&number) {
                let Running { stop, task } = running;
                drop(stop);
                self.closing.push((number, task));
            } else if !running.task.is_finished() {
                // One whose task has ended without being told to is begun anew.
                self.partitions.insert(number, running);
            }
        }
        self.closing.retain(|(_, task)| !task.is_finished());
    }

    /// The partitions that are this worker's.
    fn held(&self) -> HashSet<u16> {
        let holders = self.holders.snapshot();
        let mine = holders
            .values()
            .filter(|entry| entry.value.worker == Some(self.worker));
        mine.map(|entry| entry.value.partition)
            .filter(|number| self.board.bus.partitions().contains(*number))
            .collect()
    }

    /// Whether events of a datasource may come in on a partition that is held.
    fn concerns(&self, assignment: &Assignment, held: &HashSet<u16>) -> bool {
        let runtime = |field: &str| assignment.wanted.config.pointer(&format!("/runtime/{field}"));
        let slots = runtime("parallelism")
            .and_then(|value| value.as_u64())
            .and_then(|slots| u16::try_from(slots).ok())
            .unwrap_or(1)
            .max(1);
        let partitions = self.board.bus.partitions();
        let pool = runtime("worker_labels/0")
            .and_then(|value| value.as_str())
            .filter(|pool| partitions.has_pool(pool));
        (0..slots).any(|slot| {
            let number = partitions.of(pool, assignment.datasource, slot);
            number.is_some_and(|number| held.contains(&number))
        })
    }

    async fn compare_feeds(&mut self, assignments: &[Arc<Entry<Assignment>>], held: &HashSet<u16>) {
        let concerned: Vec<_> = assignments
            .iter()
            // A backfill's events come by no partition.
            .filter(|entry| entry.value.backfill.is_none())
            .filter(|entry| {
                self.concerns(&entry.value, held) || self.board.is_looked_for(entry.value.datasource)
            })
            .collect();
        let kept: HashSet<DatasourceId> = concerned.iter().map(|entry| entry.value.datasource).collect();
        for gone in self
            .board
            .feeds()
            .into_iter()
            .filter(|feed| !kept.contains(&feed.id))
        {
            self.reached.remove(&gone.id);
            self.board.remove_feed(gone.id);
        }
        let due = concerned.into_iter().filter(|entry| {
            self.reached
                .get(&entry.value.datasource)
                .is_none_or(|revision| *revision != entry.revision)
        });
        let due: Vec<_> = due.cloned().collect();
        let board = &self.board;
        let reached: Vec<(DatasourceId, u64)> = stream::iter(due)
            .map(|entry| async move {
                update(board, &entry.value).await;
                (entry.value.datasource, entry.revision)
            })
            .buffer_unordered(COMPILES)
            .collect()
            .await;
        self.reached.extend(reached);
    }
}

/// Brings a feed to its assignment: the new version is compiled while the old one runs, and takes its place at once.
async fn update(board: &Arc<Board>, assignment: &Assignment) {
    let feed = board.feed(assignment.datasource).unwrap_or_else(|| {
        let feed = Arc::new(Feed::new(assignment, board.threads));
        board.add_feed(feed.clone());
        feed
    });
    let before = feed.state();
    let after = reach_off_thread(board, &before, assignment).await;
    tell(board, &feed, &before, &after);
    feed.change(|state| *state = after);
    board.changed();
}

/// What an assignment makes of a state; compiling takes its time, and not that of an async thread.
pub(crate) async fn reach_off_thread(
    board: &Board,
    before: &FeedState,
    assignment: &Assignment,
) -> FeedState {
    let (state, wanted, scripts) = (before.clone(), assignment.clone(), board.scripts.clone());
    let job = tokio::task::spawn_blocking(move || {
        reach(&state, &wanted, |version| {
            Version::compile(version, &wanted.connector, wanted.datasource, scripts.as_ref())
        })
    });
    job.await.unwrap_or_else(|_| before.clone())
}

/// Says in the datasource's log what has changed.
pub(crate) fn tell(board: &Board, feed: &Feed, before: &FeedState, after: &FeedState) {
    crate::watch::accept(feed, before, after);
    let number = |state: &FeedState| state.version.as_ref().map(|version| version.number);
    let place = (feed.organization, feed.id);
    if let Some(message) = after
        .message
        .as_ref()
        .filter(|message| before.message.as_ref() != Some(message))
    {
        let level = if after.reason == Reason::VersionRejected {
            LogLevel::Warn
        } else {
            LogLevel::Error
        };
        board.logs.say(place, level, "task", message.clone(), None);
    }
    match (number(before), number(after)) {
        (before, Some(after)) if before != Some(after) => {
            board.logs.say(
                place,
                LogLevel::Info,
                "task",
                format!("version {after} runs"),
                None,
            );
        }
        (Some(before), None) => {
            board.logs.say(
                place,
                LogLevel::Info,
                "task",
                format!("version {before} is stopped"),
                None,
            );
        }
        _ => {}
    }
}

/// Whether a source is to run.
pub(crate) fn is_to_run(assignment: &Assignment) -> bool {
    assignment.desired == DesiredState::Running
}
