//! The reader: a task reads pages ahead, one at most; the source hands out batches of their rows.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use halcyon_domain::clock::Clock;
use halcyon_egress::Guard;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{
    config::{Kind, Overlap, Settings},
    position::{Position, Start, Stretch, compare, identity, instant, is_ahead},
    session::{Page, Row, Session, open},
};
use crate::{BatchLimits, Checkpoint, Error, Lag, Secrets, Source, SourceBatch, SourceContext, SourceRecord};

/// How long a connection may take, and an answer beyond the statement's own time: a server that says nothing at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// A run over a table or a query.
pub(super) struct SqlSource {
    settings: Settings,
    secrets: Secrets,
    guard: Guard,
    limits: BatchLimits,
    clock: Arc<dyn Clock>,
    stretch: Option<Stretch>,
    /// The last row that was handed out, here or before.
    position: Option<Position>,
    /// While the overlap is read again: where the feed once was.
    high: Option<String>,
    /// Whether this run has handed a row out, or goes on within the overlap of one that was broken off.
    begun: bool,
    /// Rows that are still to be handed out, and whether others come after them.
    rows: VecDeque<Row>,
    more: bool,
    reader: Option<Reader>,
    finished: bool,
    stopped: bool,
}

/// The task, which ends with this.
struct Reader {
    pages: mpsc::Receiver<Result<Page, Error>>,
    _task: JoinSet<()>,
}

impl SqlSource {
    pub(super) fn new(mut settings: Settings, context: SourceContext) -> Result<Self, Error> {
        let position = match &context.checkpoint {
            None => None,
            Some(checkpoint) => {
                let read = Position::read(checkpoint, &settings.cursor)?;
                if settings.kind == Kind::Timestamp && is_ahead(&read.cursor, context.clock.now()) {
                    let detail = format!(
                        "it is ahead of the time, at {}: put it back to where the feed is to go on",
                        read.cursor
                    );
                    return Err(Error::Checkpoint { detail });
                }
                Some(read)
            }
        };
        if context.range.is_some() && settings.kind != Kind::Timestamp {
            return Err(Error::Unsupported {
                connector: super::connector::TYPE,
                operation: "a backfill by a cursor that is no timestamp",
            });
        }
        if context.sample {
            settings.batch = settings.batch.min(context.limits.max_records.max(1));
        }
        if context.range.is_some() {
            settings.overlap = Overlap::None;
        }
        Ok(Self {
            settings,
            secrets: context.secrets,
            guard: context.guard,
            limits: context.limits,
            clock: context.clock,
            stretch: context.range.map(|range| (Some(range.from), range.to)),
            high: position.as_ref().and_then(|position| position.high.clone()),
            begun: position.as_ref().is_some_and(|position| position.high.is_some()),
            position,
            rows: VecDeque::new(),
            more: true,
            reader: None,
            finished: false,
            stopped: false,
        })
    }

    /// Where this run goes on. A run that had ended is followed by one that begins an overlap before its end.
    fn start(&mut self) -> Start {
        let Some(position) = &self.position else {
            return match &self.settings.start {
                Some(from) if self.stretch.is_none() => Start::From(from.clone()),
                _ => Start::Beginning,
            };
        };
        if self.settings.overlap != Overlap::None && !self.begun {
            self.high = Some(position.cursor.clone());
            return Start::Before(position.cursor.clone());
        }
        match &position.key {
            Some(key) => Start::After {
                cursor: position.cursor.clone(),
                key: key.clone(),
            },
            None => Start::From(position.cursor.clone()),
        }
    }

    fn read(&mut self) -> Reader {
        let (sender, pages) = mpsc::channel(1);
        let start = self.start();
        let (settings, secrets) = (self.settings.clone(), self.secrets.clone());
        let (guard, stretch, now) = (self.guard.clone(), self.stretch, self.clock.now());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let outcome = async {
                let mut session = opened(&settings, &secrets, &guard).await?;
                let of_run = (settings.kind == Kind::Timestamp).then_some((None, now + session.ahead()));
                let stretch = stretch.or(of_run);
                pages_of(&settings, session.as_mut(), start, stretch, &sender).await
            };
            if let Err(error) = outcome.await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Reader { pages, _task: task }
    }

    /// The position after the rows that were just taken, of which this is the last.
    fn advance(&mut self, row: &Row) -> Position {
        let kind = self.settings.kind;
        self.begun = true;
        let ended = self.rows.is_empty() && !self.more;
        // Within the overlap as long as there is something of it to come.
        let passed = |high: &String| compare(kind, &row.cursor, high) == Ordering::Greater;
        self.high = self.high.take().filter(|high| !passed(high));
        let (cursor, key, high) = match self.high.clone() {
            // The next run goes back from where this feed once was, also if that row is gone.
            Some(high) if ended => (high, None, None),
            high => (row.cursor.clone(), Some(row.key.clone()), high),
        };
        Position {
            column: self.settings.cursor.clone(),
            cursor,
            key,
            high,
        }
    }

    fn record(&self, row: Row) -> SourceRecord {
        let mut headers = BTreeMap::from([
            ("cursor".to_owned(), row.cursor.clone()),
            ("key".to_owned(), row.key.clone()),
        ]);
        if let Some(table) = &self.settings.table {
            headers.insert("table".to_owned(), table.clone());
        }
        SourceRecord {
            dedupe_key: Some(identity(&row.key, &row.cursor)),
            bytes: Bytes::from(row.json),
            received_at: self.clock.now(),
            headers,
        }
    }
}

fn silent() -> Error {
    Error::transient("the database does not answer")
}

/// A connection that knows the columns.
async fn opened(settings: &Settings, secrets: &Secrets, guard: &Guard) -> Result<Box<dyn Session>, Error> {
    let opened = timeout(PATIENCE, open(settings, secrets, guard)).await;
    let mut session = opened.map_err(|_| silent())?.map_err(|unopened| unopened.error)?;
    let described = timeout(settings.timeout + PATIENCE, session.describe()).await;
    described.map_err(|_| silent())??;
    Ok(session)
}

async fn pages_of(
    settings: &Settings,
    session: &mut dyn Session,
    mut start: Start,
    stretch: Option<Stretch>,
    sender: &mpsc::Sender<Result<Page, Error>>,
) -> Result<(), Error> {
    let most = settings.timeout + PATIENCE;
    let mut limit = settings.batch;
    loop {
        let page = timeout(most, session.page(&start, stretch, limit)).await;
        let page = page.map_err(|_| silent())??;
        let (more, taken) = (page.more, page.rows.len());
        if let Some(last) = page.rows.last() {
            start = Start::After {
                cursor: last.cursor.clone(),
                key: last.key.clone(),
            };
        }
        if sender.send(Ok(page)).await.is_err() || !more {
            return Ok(());
        }
        // A page that was full of bytes before it was of rows: the next is not asked for more than fits.
        limit = if taken < limit {
            taken.max(1)
        } else {
            (limit * 2).min(settings.batch)
        };
    }
}

#[async_trait]
impl Source for SqlSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        while self.rows.is_empty() {
            if self.stopped || self.finished {
                return Ok(None);
            }
            if self.reader.is_none() {
                self.reader = Some(self.read());
            }
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            match reader.pages.recv().await {
                Some(Ok(page)) => {
                    self.more = page.more;
                    self.rows = page.rows.into();
                    self.finished = !self.more && self.rows.is_empty();
                }
                Some(Err(error)) => {
                    self.reader = None;
                    return Err(error);
                }
                None => self.finished = true,
            }
        }
        let most = self.limits.max_records.max(1).min(self.rows.len());
        let taken: Vec<Row> = self.rows.drain(..most).collect();
        self.finished = self.rows.is_empty() && !self.more;
        let Some(last) = taken.last() else {
            return Ok(None);
        };
        let position = self.advance(last);
        let checkpoint = Checkpoint(json!(position));
        self.position = Some(position);
        let records = taken.into_iter().map(|row| self.record(row)).collect();
        Ok(Some(SourceBatch { records, checkpoint }))
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // The database keeps its rows.
        Ok(())
    }

    fn lag(&self) -> Lag {
        if self.finished {
            return Lag {
                records: Some(0),
                age: Some(Duration::ZERO),
            };
        }
        let cursor = self
            .position
            .as_ref()
            .filter(|_| self.settings.kind == Kind::Timestamp);
        let reached = cursor.and_then(|position| instant(&position.cursor));
        Lag {
            records: None,
            age: reached.and_then(|reached| (self.clock.now() - reached).to_std().ok()),
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.rows.clear();
        self.reader = None;
    }
}
