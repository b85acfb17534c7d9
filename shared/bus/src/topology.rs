//! Streams and buckets as `nats/streams.toml` defines them, made on the server.

use std::{collections::HashSet, time::Duration};

use async_nats::jetstream::{
    self,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType},
};
use futures::TryStreamExt;
use halcyon_domain::duration::HumanDuration;
use serde::Deserialize;

use crate::{
    Bus, Error,
    subjects::{BucketName, Stream},
};

const DEFINITION: &str = include_str!("../../../nats/streams.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topology {
    stream: Vec<StreamDefinition>,
    bucket: Vec<BucketDefinition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamDefinition {
    name: String,
    description: String,
    subjects: Vec<String>,
    storage: Storage,
    retention: Retention,
    discard: Discard,
    max_bytes: i64,
    #[serde(default)]
    max_age: Option<HumanDuration>,
    #[serde(default)]
    max_per_subject: Option<i64>,
    #[serde(default)]
    duplicate_window: Option<HumanDuration>,
    /// What happens when it is full, for people.
    #[serde(rename = "when_full")]
    _when_full: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketDefinition {
    name: String,
    description: String,
    storage: Storage,
    max_bytes: i64,
    #[serde(default)]
    marker_ttl: Option<HumanDuration>,
    #[serde(rename = "when_full")]
    _when_full: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Storage {
    File,
    Memory,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Retention {
    Limits,
    Workqueue,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Discard {
    New,
    NewPerSubject,
    Old,
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::File => Self::File,
            Storage::Memory => Self::Memory,
        }
    }
}

impl StreamDefinition {
    fn config(self, replicas: usize) -> Config {
        Config {
            name: self.name,
            description: Some(self.description),
            subjects: self.subjects,
            storage: self.storage.into(),
            retention: match self.retention {
                Retention::Limits => RetentionPolicy::Limits,
                Retention::Workqueue => RetentionPolicy::WorkQueue,
            },
            discard: match self.discard {
                Discard::New | Discard::NewPerSubject => DiscardPolicy::New,
                Discard::Old => DiscardPolicy::Old,
            },
            discard_new_per_subject: self.discard == Discard::NewPerSubject,
            max_bytes: self.max_bytes,
            max_messages: -1,
            max_messages_per_subject: self.max_per_subject.unwrap_or(-1),
            max_age: self.max_age.unwrap_or_default().get(),
            duplicate_window: self
                .duplicate_window
                .unwrap_or(HumanDuration::from_secs(120))
                .get(),
            allow_direct: true,
            num_replicas: replicas,
            ..Config::default()
        }
    }
}

impl BucketDefinition {
    fn config(self, replicas: usize) -> Config {
        let name = self.name;
        Config {
            name: format!("KV_{name}"),
            description: Some(self.description),
            subjects: vec![format!("$KV.{name}.>")],
            storage: self.storage.into(),
            discard: DiscardPolicy::New,
            max_bytes: self.max_bytes,
            max_messages: -1,
            max_messages_per_subject: 1,
            duplicate_window: Duration::from_secs(120),
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            allow_message_ttl: self.marker_ttl.is_some(),
            subject_delete_marker_ttl: self.marker_ttl.map(HumanDuration::get),
            num_replicas: replicas,
            ..Config::default()
        }
    }
}

fn definition(replicas: usize) -> Result<Vec<Config>, Error> {
    let topology: Topology = toml::from_str(DEFINITION).map_err(|error| Error::Setup(error.to_string()))?;
    let streams = topology.stream.into_iter().map(|stream| stream.config(replicas));
    let buckets = topology.bucket.into_iter().map(|bucket| bucket.config(replicas));
    Ok(streams.chain(buckets).collect())
}

/// What nats-server says when a stream is there with another configuration.
const NAME_IN_USE: u64 = 10_058;

impl Bus {
    /// Makes every stream and bucket, and brings those that are there to their definition. Only the registry's
    /// identity may do this.
    ///
    /// # Errors
    /// The server cannot be reached or refuses a definition.
    pub async fn ensure_streams(&self, replicas: u8) -> Result<(), Error> {
        for config in definition(usize::from(replicas.max(1)))? {
            let name = config.name.clone();
            self.ensure_stream(config).await.map_err(|error| match error {
                Error::Refused(why) => Error::Refused(format!("stream {name}: {why}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Makes them again after each reconnect, for ever: those in memory are gone when the server was killed.
    pub async fn keep_streams(&self, replicas: u8) {
        let mut connections = self.connections();
        while connections.changed().await.is_ok() {
            while let Err(error) = self.ensure_streams(replicas).await {
                tracing::warn!(error = %error, "the streams cannot be made again yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        // The connection was closed: there is nothing left to keep.
        std::future::pending().await
    }

    async fn ensure_stream(&self, config: Config) -> Result<(), Error> {
        match self.jetstream().create_stream(config.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(error) if error.error_code().0 == NAME_IN_USE => {}
                CreateStreamErrorKind::JetStream(error) => return Err(Error::refused(error)),
                _ => return Err(Error::unavailable(error)),
            },
        }
        self.jetstream()
            .update_stream(config)
            .await
            .map(|_| ())
            .map_err(Error::refused)
    }

    /// Waits until every stream and bucket is there. What a service that may not make them calls at its start.
    ///
    /// # Errors
    /// They are not all there after `timeout`.
    pub async fn wait_for_streams(&self, timeout: Duration) -> Result<(), Error> {
        let streams = Stream::ALL.iter().map(|stream| stream.as_str().to_owned());
        let buckets = BucketName::ALL.iter().map(|bucket| bucket.stream());
        let mut missing: HashSet<String> = streams.chain(buckets).collect();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            for name in missing.clone() {
                if self.info(&name).await.is_ok() {
                    missing.remove(&name);
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::Unavailable(format!("streams are missing: {missing:?}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn stream_info(&self, stream: Stream) -> Result<Info, Error> {
        self.info(stream.as_str()).await
    }

    async fn info(&self, name: &str) -> Result<Info, Error> {
        let stream = self
            .jetstream()
            .get_stream(name)
            .await
            .map_err(|error| match error.kind() {
                GetStreamErrorKind::JetStream(error) => Error::refused(error),
                _ => Error::unavailable(error),
            })?;
        Ok(stream.cached_info().clone())
    }

    /// How many messages each subject of a filter has.
    pub(crate) async fn subject_counts(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<(String, u64)>, Error> {
        let handle: jetstream::stream::Stream<()> = self
            .jetstream()
            .get_stream_no_info(stream)
            .await
            .map_err(Error::unavailable)?;
        let counts = handle
            .info_with_subjects(filter)
            .await
            .map_err(Error::unavailable)?;
        counts
            .map_ok(|(subject, count)| (subject, count as u64))
            .try_collect()
            .await
            .map_err(Error::unavailable)
    }

    /// Deletes a subject's messages below a sequence; returns how many.
    pub(crate) async fn purge_below(
        &self,
        stream: Stream,
        filter: &str,
        sequence: u64,
    ) -> Result<u64, Error> {
        let handle: jetstream::stream::Stream<()> = self
            .jetstream()
            .get_stream_no_info(stream.as_str())
            .await
            .map_err(Error::unavailable)?;
        let purged = handle
            .purge()
            .filter(filter)
            .sequence(sequence)
            .await
            .map_err(Error::unavailable)?;
        Ok(purged.purged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_names_what_the_code_names() {
        let defined: HashSet<String> = definition(1)
            .unwrap()
            .into_iter()
            .map(|config| config.name)
            .collect();
        let streams = Stream::ALL.iter().map(|stream| stream.as_str().to_owned());
        let buckets = BucketName::ALL.iter().map(|bucket| bucket.stream());
        assert_eq!(defined, streams.chain(buckets).collect());
    }

    #[test]
    fn accepted_events_are_never_thrown_away_by_a_limit() {
        let config = definition(3)
            .unwrap()
            .into_iter()
            .find(|config| config.name == "INGEST")
            .unwrap();
        assert_eq!(config.discard, DiscardPolicy::New);
        assert_eq!(config.storage, StorageType::File);
        assert_eq!(config.retention, RetentionPolicy::Limits);
        assert_eq!(config.max_age, Duration::ZERO);
        assert_eq!(config.num_replicas, 3);
    }
}
