//! The reader that a worker drives: takes a scan's events, keeps the place, and makes batches.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::SecondsFormat;
use tokio::time::{Instant, timeout_at};

use super::{
    Chosen, Format, Object, Pattern, Store,
    choice::Choice,
    position::Position,
    scan::{Event, Plan, Scan},
};
use crate::{Checkpoint, Error, Lag, Source, SourceBatch, SourceContext, SourceRecord};

/// How many bytes of records a batch has, about: one that has as many is full, whatever their number.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A reader of files.
pub(crate) struct FileSource {
    plan: Plan,
    chosen: Chosen,
    names: Pattern,
    context: SourceContext,
    position: Position,
    scan: Option<Scan>,
    /// The scan goes on with a run that another source began: a run of its own follows.
    resumed: bool,
    /// Rows that no batch has yet, the number of the first, and their file.
    rows: VecDeque<Bytes>,
    next_row: u64,
    object: Option<Arc<Object>>,
    /// The batch that is being gathered, and since when.
    gathered: Vec<SourceRecord>,
    bytes: usize,
    since: Option<Instant>,
    failure: Option<Error>,
    ended: bool,
}

impl FileSource {
    /// A reader of what `store` holds. Opens nothing yet.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        chosen: Chosen,
        format: Format,
        context: SourceContext,
    ) -> Result<Self, Error> {
        let position = context.checkpoint.as_ref().map(Position::read).transpose()?;
        let position = position.unwrap_or_default();
        Ok(Self {
            plan: Plan {
                store,
                format: Arc::new(format),
                max_bytes: chosen.max_bytes(),
            },
            names: chosen.names()?,
            chosen,
            ended: context.range.is_some() && position.ended,
            context,
            position,
            scan: None,
            resumed: false,
            rows: VecDeque::new(),
            next_row: 0,
            object: None,
            gathered: Vec::new(),
            bytes: 0,
            since: None,
            failure: None,
        })
    }

    fn begin(&mut self) -> Scan {
        let now = self.context.clock.now().timestamp();
        if self.context.sample {
            return Scan::newest(self.plan.clone(), self.names.clone());
        }
        self.resumed |= self.position.run.is_some();
        let after = self.position.begin(now).after.clone();
        let (names, clock) = (self.names.clone(), Arc::clone(&self.context.clock));
        let choice = Choice::new(&self.chosen, names, self.context.range, clock, &self.position);
        Scan::begin(self.plan.clone(), choice, after)
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= self.context.limits.max_records.max(1) || self.bytes >= BATCH_BYTES
    }

    /// Moves rows into the batch, as many as fit.
    fn gather(&mut self) {
        let Some(object) = self.object.clone() else { return };
        while !self.is_full()
            && let Some(row) = self.rows.pop_front()
        {
            self.bytes += row.len();
            let record = self.record(&object, row);
            self.gathered.push(record);
            self.next_row += 1;
        }
        self.since.get_or_insert_with(Instant::now);
        self.position.rows_done(&object, self.next_row);
    }

    fn record(&self, object: &Object, row: Bytes) -> SourceRecord {
        let place = self.plan.store.place();
        let number = self.next_row;
        let modified = object.modified.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let headers = [
            ("file-place", place.to_owned()),
            ("file-key", object.key.clone()),
            ("file-etag", object.etag.clone()),
            ("file-modified", modified),
            ("file-row", number.to_string()),
        ];
        SourceRecord {
            bytes: row,
            dedupe_key: Some(format!("{place}/{}@{}#{number}", object.key, object.etag)),
            received_at: self.context.clock.now(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    fn batch(&mut self) -> Option<SourceBatch> {
        (self.since, self.bytes) = (None, 0);
        let records = std::mem::take(&mut self.gathered);
        (!records.is_empty()).then(|| SourceBatch {
            records,
            checkpoint: self.position.write(),
        })
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Rows(object, first, rows) => {
                self.object = Some(object);
                self.next_row = first;
                self.rows = rows.into();
            }
            Event::Done(object) => self.position.done(&object, &self.chosen),
            Event::Left(object) => self.position.left(&object),
            Event::Failed(error) => {
                self.scan = None;
                self.failure = Some(error);
            }
            Event::End => {
                self.scan = None;
                self.object = None;
                self.position.end(&self.chosen);
                self.position.ended = self.context.range.is_some();
                // What came while the other source's run was on may be anywhere in the listing.
                let again = self.resumed && self.context.range.is_none() && !self.context.sample;
                self.resumed = false;
                self.ended = !again;
            }
        }
    }

    /// Waits for the scan's next event, though not longer than the batch may be gathered.
    async fn event(&mut self) -> Option<Event> {
        if self.scan.is_none() {
            self.scan = Some(self.begin());
        }
        let lost = || Event::Failed(Error::System("the reading of files broke off".to_owned()));
        let deadline = self.since.map(|since| since + self.context.limits.max_wait);
        let events = &mut self.scan.as_mut()?.events;
        match deadline {
            None => Some(events.recv().await.unwrap_or_else(lost)),
            Some(deadline) => {
                let event = timeout_at(deadline, events.recv()).await.ok()?;
                Some(event.unwrap_or_else(lost))
            }
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        // All that was taken from the scan is in `self`, so a dropped call loses nothing.
        loop {
            if !self.rows.is_empty() {
                self.gather();
            }
            if self.is_full() || self.ended || (self.failure.is_some() && !self.gathered.is_empty()) {
                return Ok(self.batch());
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            match self.event().await {
                Some(event) => self.take(event),
                None => return Ok(self.batch()),
            }
        }
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // What holds the files remembers nothing of who read them.
        Ok(())
    }

    fn lag(&self) -> Lag {
        if self.ended {
            return Lag {
                records: Some(0),
                age: None,
            };
        }
        // How many rows there are is known of no file that was not read.
        let now = self.context.clock.now();
        let age = self.object.as_ref().map(|object| now - object.modified);
        Lag {
            records: None,
            age: age.and_then(|age| age.to_std().ok()),
        }
    }

    async fn stop(&mut self) {
        self.scan = None;
        self.rows.clear();
        self.gathered.clear();
        self.bytes = 0;
        self.failure = None;
        self.ended = true;
    }
}
