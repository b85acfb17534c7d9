//! The order in which groups park. Frames are worked on side by side, and what they park must lie in the order in
//! which it was accepted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use halcyon_domain::id::DatasourceId;
use tokio::sync::{OwnedMutexGuard, oneshot};

/// So many datasources are remembered before those that have no group under way are forgotten.
const REMEMBERED: usize = 1_024;

/// A frame's place behind the frame before it.
pub(super) struct Ticket {
    before: Option<oneshot::Receiver<()>>,
    queued: oneshot::Sender<()>,
}

/// Gives out tickets in the order of the frames.
#[derive(Default)]
pub(super) struct Tickets(Option<oneshot::Receiver<()>>);

impl Tickets {
    pub(super) fn next(&mut self) -> Ticket {
        let (queued, next) = oneshot::channel();
        Ticket {
            before: self.0.replace(next),
            queued,
        }
    }
}

/// The groups under way, by datasource, in the order of their frames.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<DatasourceId, Arc<tokio::sync::Mutex<()>>>>);

/// A group's turn, which comes when the groups before it are done. It is over when this is dropped.
pub(super) enum Turn {
    Waiting(BoxFuture<'static, OwnedMutexGuard<()>>),
    Come { _guard: OwnedMutexGuard<()> },
}

impl Turns {
    /// Queues the groups of a frame, once those of the frame before it are queued.
    pub(super) async fn queue(&self, ticket: Ticket, datasources: &[DatasourceId]) -> Vec<Turn> {
        if let Some(before) = ticket.before {
            // An error says that the frame before it could not be read: it has no groups.
            let _ = before.await;
        }
        let turns = datasources
            .iter()
            .map(|datasource| self.queue_one(*datasource))
            .collect();
        // Nobody listens after the last frame.
        let _ = ticket.queued.send(());
        turns
    }

    fn queue_one(&self, datasource: DatasourceId) -> Turn {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.len() >= REMEMBERED {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        let lock = locks.entry(datasource).or_default().clone();
        // The lock is fair, in the order in which it was first asked for: that is now.
        let mut waiting = lock.lock_owned().boxed();
        match (&mut waiting).now_or_never() {
            Some(guard) => Turn::Come { _guard: guard },
            None => Turn::Waiting(waiting),
        }
    }
}

impl Turn {
    /// Waits until the turn has come.
    pub(super) async fn come(&mut self) {
        if let Self::Waiting(waiting) = self {
            let guard = waiting.await;
            *self = Self::Come { _guard: guard };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_the_frames() {
        let (turns, mut tickets) = (Turns::default(), Tickets::default());
        let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
        let (first, second, third) = (tickets.next(), tickets.next(), tickets.next());
        // The third has to wait for the second to be queued, and that one could not be read.
        let both = [one, other];
        let mut third = Box::pin(turns.queue(third, &both));
        assert!((&mut third).now_or_never().is_none());
        let first = turns.queue(first, &[one]).await;
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        let mut third = third.await;
        let mut others = third.pop().unwrap();
        let mut ones = third.pop().unwrap();
        others.come().await;
        assert!(ones.come().now_or_never().is_none(), "the first one is not done");
        drop(first);
        ones.come().await;
    }
}
