//! Stopping in order: intake ends, what is in flight is finished within a deadline.

use std::{io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tells everything that belongs together to stop, and waits for it. Clones are the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A shutdown that was not asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown of a part: it is triggered with this one, and can be triggered on its own.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// Asks everything to stop.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until stopping is asked for.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// Runs a future that is dropped when stopping is asked for; nothing then.
    pub async fn unless_triggered<F: Future>(&self, future: F) -> Option<F::Output> {
        self.token.run_until_cancelled(future).await
    }

    /// Spawns a task that [`Shutdown::drain`] waits for. The task must notice the shutdown itself.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(future)
    }

    /// Waits for every spawned task. Returns whether all ended within `deadline`.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }

    /// Triggers the shutdown on SIGTERM or SIGINT.
    ///
    /// # Errors
    /// The signals cannot be listened to.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            shutdown.trigger();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_stops_with_the_whole_and_alone() {
        let whole = Shutdown::new();
        let (one, other) = (whole.part(), whole.part());
        one.trigger();
        assert!(!whole.is_triggered() && !other.is_triggered());
        let waits = other.clone();
        other.spawn(async move { waits.triggered().await });
        assert!(
            !other.drain(Duration::from_millis(1)).await,
            "the task still runs"
        );
        whole.trigger();
        assert!(other.drain(Duration::from_secs(5)).await);
    }
}
