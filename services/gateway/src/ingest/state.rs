//! What ingest works with, for as long as the gateway runs.

use std::sync::Arc;

use halcyon_bus::{Bus, FramePublishers, InstanceKey};
use halcyon_domain::{clock::Clock, event::IngestEvent, id::InstanceId, partition::Partitions};
use halcyon_infra::{Check, Metrics};
use tokio::task::JoinHandle;

use super::{feeds::Feeds, follower::Follower};

/// What ingest needs of the gateway.
pub struct IngestContext {
    /// The gateway's connection.
    pub bus: Bus,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// This process, whose public key is registered on the bus.
    pub instance: InstanceId,
    /// This process's key: signing secrets come sealed for it.
    pub key: Arc<InstanceKey>,
    /// Whether ingest is ready: the routes and their signing secrets are there.
    pub check: Check,
}

/// The running ingest.
pub struct IngestState {
    pub(super) feeds: Arc<Feeds>,
    pub(super) publishers: FramePublishers<IngestEvent>,
    pub(super) partitions: Partitions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    follower: JoinHandle<()>,
}

impl IngestState {
    /// Begins to follow the routes and to fetch signing secrets.
    #[must_use]
    pub fn start(context: IngestContext) -> Arc<Self> {
        let feeds = Arc::new(Feeds::default());
        let publishers = context.bus.ingest_publishers();
        let partitions = context.bus.partitions().clone();
        let (clock, metrics) = (context.clock.clone(), context.metrics.clone());
        let follower = tokio::spawn(Follower::new(context, feeds.clone()).run());
        Arc::new(Self {
            feeds,
            publishers,
            partitions,
            clock,
            metrics,
            follower,
        })
    }
}

impl Drop for IngestState {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
