//! One source for all who follow the same thing in this process: it is opened by the first and closed after the last.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// The items that are kept for a follower who is slow. Whoever falls further behind is told, and dropped.
const KEPT: usize = 256;

/// So many items were lost to a follower who was too slow; nothing comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FellBehind(pub u64);

type Topics<K, V> = Arc<Mutex<HashMap<K, Sender<V>>>>;

/// What is followed, by topic.
pub(crate) struct Fanout<K, V>(Topics<K, V>);

impl<K, V> Default for Fanout<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn locked<K, V>(topics: &Topics<K, V>) -> MutexGuard<'_, HashMap<K, Sender<V>>> {
    // A map is whole after each of its changes, whoever panicked holding it.
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V> Fanout<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Follows a topic; `open` opens its source if nobody follows it yet.
    ///
    /// # Errors
    /// Those of `open`.
    pub(crate) async fn follow<S, E, Fut>(
        &self,
        key: K,
        open: impl FnOnce() -> Fut,
    ) -> Result<BoxStream<'static, Result<V, FellBehind>>, E>
    where
        S: Stream<Item = V> + Send + 'static,
        Fut: Future<Output = Result<S, E>>,
    {
        let known = locked(&self.0).get(&key).map(Sender::subscribe);
        if let Some(receiver) = known {
            return Ok(items(receiver));
        }
        let source = open().await?;
        let (sender, receiver) = {
            let mut topics = locked(&self.0);
            // Somebody else may have been faster; then this source is not needed.
            if let Some(sender) = topics.get(&key) {
                return Ok(items(sender.subscribe()));
            }
            let (sender, receiver) = channel(KEPT);
            topics.insert(key.clone(), sender.clone());
            (sender, receiver)
        };
        tokio::spawn(pump(self.0.clone(), key, sender, source.boxed()));
        Ok(items(receiver))
    }

    /// How many topics are followed.
    #[cfg(test)]
    pub(crate) fn topics(&self) -> usize {
        locked(&self.0).len()
    }
}

fn items<V: Clone + Send + 'static>(receiver: Receiver<V>) -> BoxStream<'static, Result<V, FellBehind>> {
    let items = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Ok(item) => Some((Ok(item), Some(receiver))),
            Err(RecvError::Lagged(lost)) => Some((Err(FellBehind(lost)), None)),
            Err(RecvError::Closed) => None,
        }
    });
    items.boxed()
}

/// Hands on what comes until nobody follows, or nothing comes any more.
async fn pump<K, V>(topics: Topics<K, V>, key: K, sender: Sender<V>, mut source: BoxStream<'static, V>)
where
    K: Eq + Hash,
{
    loop {
        tokio::select! {
            item = source.next() => match item {
                // With nobody left it is lost, and the end comes next.
                Some(item) => drop(sender.send(item)),
                None => {
                    locked(&topics).remove(&key);
                    return;
                }
            },
            () = sender.closed() => {
                let mut topics = locked(&topics);
                // Under the lock: nobody can come in between.
                if sender.receiver_count() == 0 {
                    topics.remove(&key);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::sync::mpsc;

    use super::*;

    fn source(receiver: mpsc::Receiver<u32>) -> impl Stream<Item = u32> + Send {
        stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        })
    }

    #[tokio::test]
    async fn followers_share_a_source_that_closes_after_the_last() {
        let fanout = Fanout::default();
        let opened = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel(8);
        let mut receiver = Some(receiver);
        let mut open = || {
            opened.fetch_add(1, Ordering::SeqCst);
            let receiver = receiver.take().unwrap();
            std::future::ready(Ok::<_, Infallible>(source(receiver)))
        };
        let mut one = fanout.follow("topic", &mut open).await.unwrap();
        let mut two = fanout.follow("topic", &mut open).await.unwrap();
        sender.send(7).await.unwrap();
        assert_eq!((one.next().await, two.next().await), (Some(Ok(7)), Some(Ok(7))));
        assert_eq!((opened.load(Ordering::SeqCst), fanout.topics()), (1, 1));
        drop(one);
        sender.send(8).await.unwrap();
        assert_eq!(two.next().await, Some(Ok(8)));
        drop(two);
        tokio::time::timeout(Duration::from_secs(5), sender.closed())
            .await
            .unwrap();
        assert_eq!(fanout.topics(), 0);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_and_dropped() {
        let fanout = Fanout::default();
        let (sender, receiver) = mpsc::channel(1);
        let open = || std::future::ready(Ok::<_, Infallible>(source(receiver)));
        let slow = fanout.follow("topic", open).await.unwrap();
        for number in 0..400 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        let items: Vec<_> = tokio::time::timeout(Duration::from_secs(5), slow.collect())
            .await
            .unwrap();
        assert!(
            matches!(items.as_slice(), [Err(FellBehind(lost))] if *lost > 0),
            "{items:?}"
        );
    }
}
