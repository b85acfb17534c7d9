//! A bounded place for work that uses the CPU: a few threads, a deadline, and a panic that stays inside.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::error::Error;

/// The place. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    permits: Arc<Semaphore>,
}

impl Sandbox {
    /// A place for so many pieces of work at a time.
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency.max(1))),
        }
    }

    /// Does a piece of work within `limit`, the wait for a place included. A thread that does not end in time
    /// keeps its place until it does, so late work can never use more threads than there are places.
    ///
    /// # Errors
    /// No place was free, it took too long, or it panicked.
    pub(crate) async fn run<T, W>(&self, limit: Duration, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let permit = tokio::time::timeout(limit, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(Error::Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Error::Crashed),
            Err(_) => Err(Error::Timeout(limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_late_thread_keeps_its_place_and_a_panic_gives_it_back() {
        let sandbox = Sandbox::new(1);
        let (end, ended) = mpsc::channel::<()>();
        let late = sandbox
            .run(Duration::from_millis(20), move || ended.recv().is_ok())
            .await;
        assert!(matches!(late, Err(Error::Timeout(_))));
        let refused = sandbox.run(Duration::from_millis(20), || ()).await;
        assert!(matches!(refused, Err(Error::Busy)));
        end.send(()).unwrap();
        sandbox.run(Duration::from_secs(5), || ()).await.unwrap();
        let broken: Result<(), _> = sandbox.run(Duration::from_secs(5), || panic!("inside")).await;
        assert!(matches!(broken, Err(Error::Crashed)));
        sandbox.run(Duration::from_secs(5), || ()).await.unwrap();
    }
}
