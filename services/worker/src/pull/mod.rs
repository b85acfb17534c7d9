//! A source that this worker runs: a keeper that starts it again after failures, and the run itself.

mod backfill;
mod backoff;
mod deliver;
mod run;
mod runs;
pub(crate) mod secrets;

use std::sync::{Arc, atomic::Ordering};

use halcyon_bus::Entry;
use halcyon_domain::{
    assignment::{Assignment, LogLevel},
    backfill::BackfillStatus,
    lifecycle::{Reason, RuntimeStatus},
};
use tokio::{
    sync::{SemaphorePermit, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    board::Board,
    feed::Feed,
    holding::Hold,
    supervisor::{is_to_run, reach_off_thread, tell},
};
use backoff::Backoff;
use run::{End, Run};
use secrets::Opener;

/// The longest pause before secrets are asked for again.
const SECRETS_PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// What the supervisor holds of a source; it is asked to stop, after the batch that is under way, when this is
/// dropped.
pub(crate) struct PullTask {
    hold: Hold,
    assignment: watch::Sender<Arc<Entry<Assignment>>>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl PullTask {
    pub(crate) fn start(
        board: Arc<Board>,
        opener: Arc<Opener>,
        entry: Arc<Entry<Assignment>>,
        hold: Hold,
    ) -> Self {
        tracing::info!(datasource.id = %entry.value.datasource, instance = hold.instance, epoch = hold.epoch,
            "a source runs here");
        let feed = Arc::new(Feed::new(&entry.value, board.threads));
        board.add_source(feed.clone());
        let (assignment, changes) = watch::channel(entry);
        let stop = CancellationToken::new();
        let keeper = Keeper {
            board: board.clone(),
            opener,
            feed: feed.clone(),
            hold,
            changes,
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            let mut leased = board.leased.subscribe();
            tokio::select! {
                () = keeper.keep() => {}
                // Another worker may run it from now on.
                _ = leased.wait_for(|session| *session != Some(hold.session)) => {
                    tracing::warn!(datasource.id = %feed.id, "the source is stopped because the lease was lost");
                }
            }
            board.remove_source(&feed);
        });
        Self {
            hold,
            assignment,
            stop: stop.drop_guard(),
            task,
        }
    }

    /// Whether it has ended by itself: fenced, or because the lease was lost.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Which instance it is, under which epoch.
    pub(crate) const fn hold(&self) -> Hold {
        self.hold
    }

    /// Tells it about its assignment; the same one again changes nothing.
    pub(crate) fn tell(&self, entry: Arc<Entry<Assignment>>) {
        self.assignment.send_if_modified(|known| {
            let changed = known.revision != entry.revision;
            if changed {
                *known = entry;
            }
            changed
        });
    }

    /// Asks it to stop after the batch that is under way; the task ends once that is done.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        let Self { stop, task, .. } = self;
        drop(stop);
        task
    }
}

/// Starts a source again after failures.
struct Keeper {
    board: Arc<Board>,
    opener: Arc<Opener>,
    feed: Arc<Feed>,
    hold: Hold,
    changes: watch::Receiver<Arc<Entry<Assignment>>>,
    stop: CancellationToken,
}

impl Keeper {
    async fn keep(mut self) {
        let board = self.board.clone();
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            self.reach().await;
            let Some(version) = self.feed.runnable() else {
                // Stopped, or no version can run: nothing to do before the next assignment.
                self.idle();
                self.wait(None).await;
                continue;
            };
            backoff.configure(&version.config.runtime.retry);
            let Some(lane) = self.lane(&board).await else {
                continue;
            };
            let began = Instant::now();
            let end = self.run_once().await;
            drop(lane);
            if backoff.has_run(began.elapsed()) {
                tracing::info!(datasource.id = %self.feed.id, "the circuit of the source was closed");
            }
            match end {
                End::Changed => backoff.reset(),
                End::Stopped => return,
                End::Finished => {
                    self.finished();
                    self.wait(None).await;
                }
                End::Drifted => {
                    self.drifted();
                    self.wait(None).await;
                }
                End::Config(message) => {
                    self.fail(Reason::InvalidConfig, message, None);
                    self.wait(None).await;
                }
                End::Failed {
                    reason,
                    message,
                    retry_after,
                } => {
                    let failure = (reason, message, retry_after);
                    if self.failed(failure, &mut backoff).await {
                        backoff.reset();
                    }
                }
            }
        }
    }

    /// A turn, of a backfill: only so many read at a time. Nothing if its assignment has changed meanwhile.
    async fn lane<'b>(&mut self, board: &'b Board) -> Option<Option<SemaphorePermit<'b>>> {
        if self.feed.backfill.is_none() {
            return Some(None);
        }
        tokio::select! {
            biased;
            permit = board.lanes.acquire() => permit.ok().map(Some),
            _ = self.wait(None) => None,
        }
    }

    /// What is said of a source that does not run.
    fn idle(&self) {
        // Whoever starts it again wants to see it run.
        self.feed.at_once.store(true, Ordering::Relaxed);
        self.feed.change(|state| {
            if let Some(schedule) = state.schedule.as_mut() {
                schedule.next_run_at = None;
            }
        });
        if self.feed.backfill.is_some() {
            let why = self.feed.state().message;
            self.feed.conclude(BackfillStatus::Failed, why);
            self.board.changed();
        }
    }

    /// A backfill does not wait for what its version expects to change.
    fn drifted(&self) {
        if self.feed.backfill.is_some() {
            let why = "its records are not what the version expects of them".to_owned();
            self.feed.conclude(BackfillStatus::Failed, Some(why));
            self.board.changed();
        }
    }

    fn finished(&self) {
        if self.feed.backfill.is_some() {
            self.feed.conclude(BackfillStatus::Done, None);
            self.board.changed();
        } else {
            self.say(LogLevel::Info, "the feed has ended".to_owned());
        }
    }

    /// Waits for the next attempt after a failure; whether a new assignment came before it. A backfill is given up
    /// when the circuit opens.
    async fn failed(
        &mut self,
        (reason, message, retry_after): (Reason, String, Option<std::time::Duration>),
        backoff: &mut Backoff,
    ) -> bool {
        let was_open = backoff.is_open();
        let mut pause = backoff.next().max(retry_after.unwrap_or_default());
        if reason == Reason::SecretsUnavailable {
            // Asking costs the feed's vendor nothing, and whoever waits sees it run soon after.
            pause = pause.min(SECRETS_PAUSE);
        }
        if backoff.is_open() && self.feed.backfill.is_some() {
            self.fail(reason, message.clone(), None);
            let failures = backoff.failures();
            let message = format!("given up after {failures} failures in a row: {message}");
            self.feed.conclude(BackfillStatus::Failed, Some(message));
            self.board.changed();
            return self.wait(None).await;
        }
        if backoff.is_open() && !was_open {
            tracing::warn!(datasource.id = %self.feed.id, "the circuit of the source is open");
        }
        self.fail(reason, explained(message, backoff), Some(pause));
        let changed = self.wait(Some(pause)).await;
        self.feed.change(|state| state.restarts += 1);
        changed
    }

    /// Runs the source on a task of its own, so that a panic ends only that.
    async fn run_once(&self) -> End {
        let run = Run {
            board: self.board.clone(),
            opener: self.opener.clone(),
            feed: self.feed.clone(),
            hold: self.hold,
            shares: 1,
            changes: self.changes.clone(),
            stop: self.stop.clone(),
            secrets_revision: 0,
            most: 0,
        };
        ended(tokio::spawn(run.go())).await
    }

    /// Brings the state to the newest assignment.
    async fn reach(&mut self) {
        let entry = self.changes.borrow_and_update().clone();
        let before = self.feed.state();
        let after = reach_off_thread(&self.board, &before, &entry.value).await;
        if self.feed.backfill.is_none() {
            tell(&self.board, &self.feed, &before, &after);
        }
        if !is_to_run(&entry.value) {
            tracing::info!(datasource.id = %self.feed.id, "the source is stopped");
        }
        self.feed.change(|state| *state = after);
        self.board.changed();
    }

    /// Waits for a new assignment (true), the end of `pause`, or the request to stop.
    async fn wait(&mut self, pause: Option<std::time::Duration>) -> bool {
        let asleep = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = asleep => false,
            changed = self.changes.changed() => {
                if changed.is_err() {
                    self.stop.cancel();
                }
                self.changes.mark_changed();
                true
            }
        }
    }

    fn fail(&self, reason: Reason, message: String, pause: Option<std::time::Duration>) {
        self.feed.stats.add_error();
        let next = pause
            .and_then(|pause| chrono::TimeDelta::from_std(pause).ok())
            .map(|pause| self.board.clock.now() + pause);
        tracing::warn!(datasource.id = %self.feed.id, reason = %reason, error = message, "the source failed");
        self.say(LogLevel::Error, message.clone());
        let is_final = reason == Reason::InvalidConfig;
        self.feed.change(|state| {
            if let Some(report) = state.backfill.as_mut() {
                report.progress.errors += 1;
                report.message = Some(message.clone());
                if is_final {
                    report.status = BackfillStatus::Failed;
                }
            }
            state.status = RuntimeStatus::Error;
            state.reason = reason;
            state.message = Some(message);
            state.next_attempt_at = next;
        });
        self.board.changed();
    }

    fn say(&self, level: LogLevel, message: String) {
        self.board.logs.say(
            (self.feed.organization, self.feed.id),
            level,
            if self.feed.backfill.is_some() {
                "backfill"
            } else {
                "source"
            },
            message,
            None,
        );
    }
}

/// What is told of a failure, and that only probes are made from now on.
fn explained(message: String, backoff: &Backoff) -> String {
    if !backoff.is_open() {
        return message;
    }
    let failures = backoff.failures();
    format!(
        "{message} (the circuit is open after {failures} failures in a row; one probe is made after each pause)"
    )
}

/// How a run has ended; a panic is a failure like any other.
async fn ended(task: JoinHandle<End>) -> End {
    let mut task = AbortOnDrop(task);
    (&mut task.0).await.unwrap_or_else(|error| End::Failed {
        reason: Reason::TaskFailed,
        message: format!("the task failed: {error}"),
        retry_after: None,
    })
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<End>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_source_is_worth_another_attempt() {
        let end = ended(tokio::spawn(async { panic!("a fault") })).await;
        let End::Failed { reason, .. } = end else {
            panic!("{end:?}")
        };
        assert_eq!(reason, Reason::TaskFailed);
    }
}
