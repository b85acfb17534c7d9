//! The request to stop, and what waits for work in flight.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a drain may take if nothing else is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(20);

/// A request to stop that many parts wait for. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    grace: Duration,
    requested: Arc<OnceLock<Instant>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(DEFAULT_GRACE)
    }
}

impl Shutdown {
    /// `grace` is how long a drain may take from the moment that the stop is requested.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), tasks: TaskTracker::new(), grace, requested: Arc::default() }
    }

    /// Requests the stop. More than once does no harm.
    pub fn trigger(&self) {
        self.requested.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Whether the stop was requested.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns when the stop is requested.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// The token behind it, for what selects on one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task that [`Self::drained`] waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// How much of the grace is left; all of it before the stop is requested.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.requested.get().map_or(self.grace, |since| self.grace.saturating_sub(since.elapsed()))
    }

    /// Waits until every task of [`Self::spawn`] has ended, or the grace is over. False if some still run.
    pub async fn drained(&self) -> bool {
        self.tasks.close();
        tokio::time::timeout(self.remaining(), self.tasks.wait()).await.is_ok()
    }

    /// Requests the stop on SIGTERM or SIGINT.
    ///
    /// # Errors
    /// The handlers cannot be set.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to stop");
            shutdown.trigger();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_the_tasks() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let other = shutdown.clone();
        let task = shutdown.spawn(async move { other.wait().await });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        assert!(shutdown.drained().await);
        assert!(task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_grace() {
        let shutdown = Shutdown::new(Duration::from_millis(10));
        shutdown.spawn(std::future::pending::<()>());
        shutdown.trigger();
        assert!(!shutdown.drained().await);
    }
}
