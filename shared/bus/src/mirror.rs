//! A bucket's contents in memory, following its changes over every reconnect.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Bus,
    bucket::{Entry, is_deletion},
    connection::random_below,
    subjects::BucketName,
};

type Map<T> = HashMap<String, Arc<Entry<T>>>;

/// A copy of a bucket (or of the keys with a prefix) that follows its changes. It goes on with what it knows while
/// the bus is away, and replays the bucket when it is back. Clones share the copy; it ends with the last one.
pub struct KvMirror<T> {
    shared: Arc<Shared<T>>,
    changes: watch::Receiver<Progress>,
    _stop: Arc<DropGuard>,
}

impl<T> Clone for KvMirror<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            changes: self.changes.clone(),
            _stop: self._stop.clone(),
        }
    }
}

struct Shared<T> {
    map: RwLock<Map<T>>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// Grows with every change.
    version: u64,
    /// How often the bucket was read from its beginning.
    replays: u64,
    /// The newest revision that is taken in, deletions included.
    revision: u64,
}

impl<T: DeserializeOwned + Send + Sync + 'static> KvMirror<T> {
    pub(crate) fn start(bus: &Bus, bucket: BucketName, prefix: &'static str) -> Self {
        let shared = Arc::new(Shared {
            map: RwLock::new(HashMap::new()),
        });
        let (progress, changes) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let follower = Follower {
            bus: bus.clone(),
            bucket,
            prefix,
            shared: shared.clone(),
            progress,
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follower.run() => {}
            }
        });
        Self {
            shared,
            changes,
            _stop: Arc::new(stop.drop_guard()),
        }
    }
}

impl<T> KvMirror<T> {
    /// Waits until the bucket has been read once.
    pub async fn ready(&self) {
        let mut changes = self.changes.clone();
        // The sender lives as long as this mirror.
        let _ = changes.wait_for(|progress| progress.replays > 0).await;
    }

    /// Whether the bucket has been read once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.changes.borrow().replays > 0
    }

    /// How often the bucket was read from its beginning: once at the start, and after each reconnect.
    #[must_use]
    pub fn replays(&self) -> u64 {
        self.changes.borrow().replays
    }

    /// The newest revision that is taken in: what was written up to there is known.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.changes.borrow().revision
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Entry<T>>> {
        self.shared
            .map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    /// All keys (without the prefix) and values.
    #[must_use]
    pub fn snapshot(&self) -> HashMap<String, Arc<Entry<T>>> {
        self.shared
            .map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared
            .map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until something has changed since the last call on this clone. A burst of changes counts once.
    /// It can be cancelled without losing a change.
    pub async fn changed(&mut self) {
        // The sender lives as long as this mirror.
        let _ = self.changes.changed().await;
    }
}

/// The task behind a mirror.
struct Follower<T> {
    bus: Bus,
    bucket: BucketName,
    prefix: &'static str,
    shared: Arc<Shared<T>>,
    progress: watch::Sender<Progress>,
}

impl<T: DeserializeOwned> Follower<T> {
    async fn run(self) {
        let mut failures = 0_u32;
        loop {
            let before = self.progress.borrow().replays;
            let why = self.follow().await;
            failures = if self.progress.borrow().replays > before {
                0
            } else {
                failures + 1
            };
            self.bus
                .counters()
                .consumers_recreated
                .fetch_add(1, Ordering::Relaxed);
            tracing::info!(bucket = self.bucket.as_str(), reason = %why, "a bucket is read again");
            let full = 50_u64 << failures.min(6);
            tokio::time::sleep(Duration::from_millis(full / 2 + random_below(full / 2))).await;
        }
    }

    /// Reads the bucket and follows it until something breaks; returns what.
    async fn follow(&self) -> String {
        let mut connections = self.bus.connections();
        let subject_prefix = self.bucket.subject(self.prefix);
        let config = push::OrderedConfig {
            deliver_subject: self.bus.client().new_inbox(),
            filter_subject: format!("{subject_prefix}>"),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..push::OrderedConfig::default()
        };
        let stream = self.bucket.stream();
        let consumer = match self
            .bus
            .jetstream()
            .create_consumer_on_stream(config, stream)
            .await
        {
            Ok(consumer) => consumer,
            Err(error) => return error.to_string(),
        };
        let mut outstanding = consumer.cached_info().num_pending;
        let mut messages = match consumer.messages().await {
            Ok(messages) => messages,
            Err(error) => return error.to_string(),
        };
        let mut fresh = Some(Map::new());
        let mut newest = 0;
        loop {
            if outstanding == 0
                && let Some(map) = fresh.take()
            {
                self.replace(map, newest);
            }
            let message = tokio::select! {
                message = messages.next() => message,
                Ok(()) = connections.changed() => return "the connection was made again".to_owned(),
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return error.to_string(),
                None => return "the subscription ended".to_owned(),
            };
            let revision = message.info().map_or(0, |info| info.stream_sequence);
            let Some(key) = message.subject.strip_prefix(&subject_prefix) else {
                continue;
            };
            newest = revision;
            let value = self.parse(key, revision, &message);
            match &mut fresh {
                Some(map) => {
                    outstanding = outstanding.saturating_sub(1);
                    apply(map, key, value);
                }
                None => self.change(key, value, revision),
            }
        }
    }

    fn parse(&self, key: &str, revision: u64, message: &async_nats::Message) -> Option<Arc<Entry<T>>> {
        if message.headers.as_ref().is_some_and(is_deletion) {
            return None;
        }
        match serde_json::from_slice(&message.payload) {
            Ok(value) => Some(Arc::new(Entry { value, revision })),
            Err(error) => {
                let bucket = self.bucket.as_str();
                tracing::error!(bucket, key, error = %error, "a bucket's value cannot be read and is left out");
                None
            }
        }
    }

    fn replace(&self, map: Map<T>, revision: u64) {
        *self.shared.map.write().unwrap_or_else(PoisonError::into_inner) = map;
        self.progress.send_modify(|progress| {
            progress.version += 1;
            progress.replays += 1;
            progress.revision = revision;
        });
    }

    fn change(&self, key: &str, value: Option<Arc<Entry<T>>>, revision: u64) {
        apply(
            &mut self.shared.map.write().unwrap_or_else(PoisonError::into_inner),
            key,
            value,
        );
        self.progress.send_modify(|progress| {
            progress.version += 1;
            progress.revision = revision;
        });
    }
}

fn apply<T>(map: &mut Map<T>, key: &str, value: Option<Arc<Entry<T>>>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}
