//! Key-value buckets with typed values.

use std::{marker::PhantomData, time::Duration};

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use halcyon_domain::assignment::{Assignment, IngestRoute, LeaderTerm, PartitionAssignment};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Bus, Error, KvMirror, direct, publish::with_message_id, subjects::BucketName};

/// Keys read in one round trip.
const PAGE: usize = 256;
/// How long the mark stays that a key was deleted which does not come again.
const MARK: Duration = Duration::from_secs(60);

/// A value and the revision it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// Its revision, for compare-and-set.
    pub revision: u64,
}

/// The keys of a bucket that begin with a prefix, with values of one type (JSON).
pub struct Bucket<T> {
    bus: Bus,
    name: BucketName,
    prefix: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Bucket<T> {
    fn clone(&self) -> Self {
        Self {
            bus: self.bus.clone(),
            name: self.name,
            prefix: self.prefix,
            value: PhantomData,
        }
    }
}

impl Bus {
    /// What workers are to do about each datasource. Key: the datasource.
    #[must_use]
    pub fn assignments(&self) -> Bucket<Assignment> {
        Bucket::new(self, BucketName::Assignments, "ds.")
    }

    /// Which worker holds each partition. Key: the partition.
    #[must_use]
    pub fn partition_assignments(&self) -> Bucket<PartitionAssignment> {
        Bucket::new(self, BucketName::Assignments, "partition.")
    }

    /// The term of the registry that leads. Key: [`LEADER_TERM`](crate::subjects::LEADER_TERM).
    #[must_use]
    pub fn leader_terms(&self) -> Bucket<LeaderTerm> {
        Bucket::new(self, BucketName::Assignments, "leader.")
    }

    /// What gateways must know of each datasource. Key: the datasource.
    #[must_use]
    pub fn routes(&self) -> Bucket<IngestRoute> {
        Bucket::new(self, BucketName::Routes, "")
    }

    /// Tickets of test runs (registry only); write them with a time to live. A ticket is used up by deleting it at
    /// the revision it was read at: only one of two who try succeeds.
    #[must_use]
    pub fn tickets<T: Serialize + DeserializeOwned + Send + Sync + 'static>(&self) -> Bucket<T> {
        Bucket::new(self, BucketName::Tickets, "")
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Bucket<T> {
    pub(crate) fn new(bus: &Bus, name: BucketName, prefix: &'static str) -> Self {
        Self {
            bus: bus.clone(),
            name,
            prefix,
            value: PhantomData,
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The bus cannot be reached, or the value is no `T`.
    pub async fn get(&self, key: &str) -> Result<Option<Entry<T>>, Error> {
        match self.raw(key).await? {
            (Some(bytes), revision) => {
                let value = serde_json::from_slice(&bytes).map_err(Error::malformed)?;
                Ok(Some(Entry { value, revision }))
            }
            (None, _) => Ok(None),
        }
    }

    /// Writes a value, whatever was there; returns its revision.
    ///
    /// # Errors
    /// The bus cannot be reached or the bucket is full.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, Error> {
        self.write(key, value, None, None).await
    }

    /// Writes a value that vanishes after `ttl` (whole seconds).
    ///
    /// # Errors
    /// The bus cannot be reached or the bucket is full.
    pub async fn put_with_ttl(&self, key: &str, value: &T, ttl: Duration) -> Result<u64, Error> {
        self.write(key, value, None, Some(ttl)).await
    }

    /// Writes a value where there is none; returns its revision.
    ///
    /// # Errors
    /// `Conflict` if there is one.
    pub async fn create(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<u64, Error> {
        match self.write(key, value, Some(0), ttl).await {
            Err(Error::Conflict) => {}
            other => return other,
        }
        match self.raw(key).await? {
            (None, marker) => self.write(key, value, Some(marker), ttl).await,
            (Some(_), _) => Err(Error::Conflict),
        }
    }

    /// Writes a value if the key is still at `revision`; returns the new revision.
    ///
    /// # Errors
    /// `Conflict` if it is not.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, Error> {
        self.write(key, value, Some(revision), None).await
    }

    /// As [`Bucket::update`], for a value that vanishes after `ttl` (whole seconds).
    ///
    /// # Errors
    /// `Conflict` if the key is not at `revision`.
    pub async fn update_with_ttl(
        &self,
        key: &str,
        value: &T,
        revision: u64,
        ttl: Duration,
    ) -> Result<u64, Error> {
        self.write(key, value, Some(revision), Some(ttl)).await
    }

    /// Deletes a key, if it is still at `revision` where one is given. A key that is not there is fine.
    ///
    /// # Errors
    /// `Conflict` if it is at another revision.
    pub async fn delete(&self, key: &str, revision: Option<u64>) -> Result<(), Error> {
        self.mark_deleted(key, revision, None).await
    }

    /// As [`Bucket::delete`], for a key that does not come again: the mark that it was deleted goes, too. Only for
    /// buckets with a `marker_ttl`.
    pub(crate) async fn forget(&self, key: &str, revision: u64) -> Result<(), Error> {
        self.mark_deleted(key, Some(revision), Some(MARK)).await
    }

    async fn mark_deleted(
        &self,
        key: &str,
        revision: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let mut headers = self.headers(revision, ttl);
        headers.insert("KV-Operation", "DEL");
        let subject = self.subject(key)?;
        self.bus
            .publish_until_stored(subject, headers, Bytes::new())
            .await
            .map(|_| ())
    }

    /// All keys (without the prefix) that have a value or a mark that it was deleted.
    pub(crate) async fn keys(&self) -> Result<Vec<String>, Error> {
        let prefix = self.name.subject(self.prefix);
        let counts = self
            .bus
            .subject_counts(&self.name.stream(), &format!("{prefix}>"))
            .await?;
        let keys = counts.into_iter();
        Ok(keys
            .filter_map(|(subject, _)| Some(subject.strip_prefix(&prefix)?.to_owned()))
            .collect())
    }

    /// All keys (without the prefix) and values, as they are now. [`Bucket::mirror`] follows their changes.
    ///
    /// # Errors
    /// The bus cannot be reached, or a value is no `T`.
    pub async fn entries(&self) -> Result<Vec<(String, Entry<T>)>, Error> {
        self.entries_of("").await
    }

    /// As [`Bucket::entries`], of the keys that begin with `first` and a dot.
    ///
    /// # Errors
    /// The bus cannot be reached, or a value is no `T`.
    pub async fn entries_below(&self, first: &str) -> Result<Vec<(String, Entry<T>)>, Error> {
        self.entries_of(&format!("{first}.")).await
    }

    async fn entries_of(&self, first: &str) -> Result<Vec<(String, Entry<T>)>, Error> {
        let prefix = self.name.subject(&format!("{}{first}", self.prefix));
        let (mut entries, mut from) = (Vec::new(), 1);
        loop {
            let page = self
                .bus
                .read(
                    &self.name.stream(),
                    &format!("{prefix}>"),
                    direct::From::Sequence(from),
                    PAGE,
                )
                .await?;
            let Some(last) = page.last() else {
                return Ok(entries);
            };
            from = last.sequence + 1;
            for read in page.into_iter().filter(|read| !is_deletion(&read.headers)) {
                let Some(key) = read.subject.strip_prefix(&prefix) else {
                    continue;
                };
                let value = serde_json::from_slice(&read.payload).map_err(Error::malformed)?;
                entries.push((
                    key.to_owned(),
                    Entry {
                        value,
                        revision: read.sequence,
                    },
                ));
            }
        }
    }

    /// A copy of the bucket in memory that follows its changes.
    #[must_use]
    pub fn mirror(&self) -> KvMirror<T> {
        KvMirror::start(&self.bus, self.name, self.prefix)
    }

    async fn write(
        &self,
        key: &str,
        value: &T,
        revision: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Error> {
        let payload = serde_json::to_vec(value).map_err(Error::malformed)?;
        let headers = self.headers(revision, ttl);
        let stored = self
            .bus
            .publish_until_stored(self.subject(key)?, headers, payload.into())
            .await?;
        Ok(stored.sequence)
    }

    /// The message id makes a write that is sent again count once, so that it does not conflict with itself.
    fn headers(&self, revision: Option<u64>, ttl: Option<Duration>) -> HeaderMap {
        let mut headers = with_message_id(&Uuid::now_v7().to_string());
        if let Some(revision) = revision {
            headers.insert(
                header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
                revision.to_string().as_str(),
            );
        }
        if let Some(ttl) = ttl {
            headers.insert(
                header::NATS_MESSAGE_TTL,
                ttl.as_secs().max(1).to_string().as_str(),
            );
        }
        headers
    }

    /// The value, if there is one, and the revision of it or of the mark that it was deleted.
    async fn raw(&self, key: &str) -> Result<(Option<Bytes>, u64), Error> {
        let subject = self.subject(key)?;
        let Some(read) = self.bus.read_last(&self.name.stream(), &subject).await? else {
            return Ok((None, 0));
        };
        let value = (!is_deletion(&read.headers)).then_some(read.payload);
        Ok((value, read.sequence))
    }

    fn subject(&self, key: &str) -> Result<String, Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.".contains(&byte);
        if key.is_empty() || !key.bytes().all(fits) || key.starts_with('.') || key.ends_with('.') {
            return Err(Error::Setup(format!("`{key}` cannot be a key")));
        }
        Ok(self.name.subject(&format!("{}{key}", self.prefix)))
    }
}

/// Whether a message of a bucket says that its key is gone: deleted, purged or run out.
pub(crate) fn is_deletion(headers: &HeaderMap) -> bool {
    let operation = headers.get("KV-Operation").map(async_nats::HeaderValue::as_str);
    matches!(operation, Some("DEL" | "PURGE")) || headers.get(header::NATS_MARKER_REASON).is_some()
}
