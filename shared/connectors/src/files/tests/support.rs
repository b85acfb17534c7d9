//! A store in memory, and a worker that reads from it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt, stream};
use halcyon_domain::clock::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::{
    BatchLimits, Checkpoint, Error, Secrets, Share, Source, SourceContext, SourceRecord,
    files::{Chosen, FileSource, Format, Listing, Object, ReadError, Store},
};

/// The moment at which tests begin.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// Files in memory. Each read may fail.
#[derive(Default)]
pub(super) struct Memory {
    files: Mutex<BTreeMap<String, (Object, Bytes)>>,
    /// How many reads are to fail.
    pub(super) failures: AtomicU64,
    pub(super) reads: AtomicU64,
}

impl Memory {
    /// Puts a file as it is at `seconds`.
    pub(super) fn put(&self, key: &str, content: impl Into<Bytes>, seconds: i64) {
        let content = content.into();
        let object = Object {
            key: key.to_owned(),
            etag: format!("{seconds}-{}", content.len()),
            size: content.len() as u64,
            modified: at(seconds),
        };
        self.files
            .lock()
            .unwrap()
            .insert(key.to_owned(), (object, content));
    }

    /// Puts a file of lines, each the number of a record.
    pub(super) fn put_numbers(&self, key: &str, numbers: std::ops::Range<u64>, seconds: i64) {
        let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
        self.put(key, lines, seconds);
    }
}

#[async_trait]
impl Store for Memory {
    fn place(&self) -> &str {
        "memory"
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key
    }

    fn list(self: Arc<Self>, after: Option<String>) -> Listing {
        let files = self.files.lock().unwrap();
        let objects = files.values().map(|(object, _)| object.clone());
        let listed: Vec<_> = objects
            .filter(|object| after.as_ref().is_none_or(|after| object.key > *after))
            .map(Ok)
            .collect();
        stream::iter(listed).boxed()
    }

    async fn read(&self, object: &Object, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let fails = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(Error::transient("as told").into());
        }
        let files = self.files.lock().unwrap();
        match files.get(&object.key) {
            Some((now, content)) if now == object => {
                let offset = usize::try_from(offset).unwrap();
                Ok(content.slice(offset..offset + length))
            }
            _ => Err(ReadError::Changed),
        }
    }
}

/// A worker over a store: each call of [`run`](Self::run) is a run of the schedule.
pub(super) struct Reader {
    pub(super) store: Arc<dyn Store>,
    pub(super) chosen: Value,
    pub(super) format: Value,
    pub(super) context: SourceContext,
    pub(super) clock: ManualClock,
}

impl Reader {
    pub(super) fn new(store: Arc<dyn Store>, format: Value) -> Self {
        let clock = ManualClock::at(at(NOW));
        Self {
            store,
            chosen: json!({}),
            format,
            context: SourceContext {
                connection: Value::Null,
                secrets: Secrets::none(),
                checkpoint: None,
                limits: BatchLimits {
                    max_records: 7,
                    max_wait: Duration::from_secs(5),
                },
                share: Share::WHOLE,
                range: None,
                sample: false,
                clock: Arc::new(clock.clone()),
                guard: crate::compliance::nowhere(),
            },
            clock,
        }
    }

    pub(super) fn source(&self) -> FileSource {
        let chosen: Chosen = serde_json::from_value(self.chosen.clone()).unwrap();
        let format: Format = serde_json::from_value(self.format.clone()).unwrap();
        assert_eq!(chosen.validate(), []);
        assert_eq!(format.validate(), []);
        FileSource::new(Arc::clone(&self.store), chosen, format, self.context.clone()).unwrap()
    }

    /// Stores a checkpoint as a worker does: as text.
    pub(super) fn save(&mut self, checkpoint: &Checkpoint) {
        let text = serde_json::to_string(checkpoint).unwrap();
        self.context.checkpoint = serde_json::from_str(&text).unwrap();
    }

    /// Reads to the end of the run and stores each checkpoint; failures that pass are tried again.
    pub(super) async fn run(&mut self) -> Vec<SourceRecord> {
        let mut source = self.source();
        let mut found = Vec::new();
        loop {
            match source.next_batch().await {
                Ok(Some(batch)) => {
                    assert!(
                        !batch.records.is_empty() && batch.records.len() <= self.context.limits.max_records
                    );
                    self.save(&batch.checkpoint);
                    found.extend(batch.records);
                }
                Ok(None) => return found,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }

    /// The records of a run as texts.
    pub(super) async fn texts(&mut self) -> Vec<String> {
        let records = self.run().await;
        records
            .iter()
            .map(|record| String::from_utf8_lossy(&record.bytes).into_owned())
            .collect()
    }

    /// The numbers of a run's records.
    pub(super) async fn numbers(&mut self) -> Vec<u64> {
        self.run().await.iter().map(number).collect()
    }
}

pub(super) fn number(record: &SourceRecord) -> u64 {
    let record: Value = serde_json::from_slice(&record.bytes).unwrap();
    record["n"].as_u64().unwrap()
}
