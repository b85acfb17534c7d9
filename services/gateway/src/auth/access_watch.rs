//! Whether anybody's rights have changed: one small query a second for a whole process, however many streams are
//! open, and at once when another process hints that something was written.

use std::time::Duration;

use halcyon_store::{AccessEpochs, AllTenants, Store};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// How long rights count as unchanged while the database cannot be asked.
const BLIND: Duration = Duration::from_secs(5);
/// How many streams look anew for their rights at a time.
const AT_ONCE: usize = 16;

/// What was seen last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// The counters; none before the first look.
    pub(crate) epochs: Option<AccessEpochs>,
    /// When the database was last able to say so.
    seen_at: Instant,
}

impl Sight {
    /// Whether the database has not answered for so long that rights may have been taken unseen.
    pub(crate) fn is_blind(&self) -> bool {
        self.seen_at.elapsed() > BLIND
    }
}

/// Looks whether rights have changed.
pub struct AccessWatch {
    sight: watch::Sender<Sight>,
    permits: Semaphore,
}

impl Default for AccessWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl AccessWatch {
    /// Without having looked yet.
    #[must_use]
    pub fn new() -> Self {
        let sight = Sight {
            epochs: None,
            seen_at: Instant::now(),
        };
        Self {
            sight: watch::Sender::new(sight),
            permits: Semaphore::new(AT_ONCE),
        }
    }

    /// What is seen, from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// Leave to look for one's rights in the database: everybody does at once when something changed.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }

    /// Looks once, and tells everybody, also that nothing is new: time passes, too.
    pub(crate) async fn look(&self, store: &Store) {
        let reason = AllTenants::because("the counters of changed rights are one for all");
        let found = store.read().sessions().epochs(reason).await;
        self.sight.send_modify(|sight| match found {
            Ok(epochs) => {
                *sight = Sight {
                    epochs: Some(epochs),
                    seen_at: Instant::now(),
                }
            }
            Err(error) => tracing::debug!(error = %error, "whether rights have changed cannot be seen now"),
        });
    }
}
