//! The reader: walks the pages of a run, one ahead, and says after each batch where it stands.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use halcyon_domain::clock::{Clock, Timestamp};
use tokio::task::JoinHandle;

use super::{
    body::{Record, mark_of_page},
    client::{Client, Fetched},
    cursor::Kind,
    page::Page,
    plan::Plan,
    position::{Position, Run, Trail},
    request::Ask,
    status::{Failure, Step},
    template::Values,
};
use crate::{
    BatchLimits, Checkpoint, Error, Lag, Source, SourceBatch, SourceContext, SourceRecord, TimeRange,
};

type Fetching = JoinHandle<Result<Fetched, Failure>>;

/// A running reader.
pub(crate) struct PollerSource {
    plan: Arc<Plan>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    limits: BatchLimits,
    range: Option<TimeRange>,
    sample: bool,
    /// After the records that were given.
    position: Position,
    /// The run was begun by another reader; its end is not the end of this one.
    resumed: bool,
    /// The page that is being given.
    page: Option<Open>,
    /// The page that is under way. A task of its own, so a dropped call of `next_batch` does not end it.
    fetching: Option<Fetching>,
    /// The page after the open one, if it has come and has something new.
    ahead: Option<Fetched>,
    pages: u64,
    /// A page was not known any more, and the run was begun again because of it. Once only: an API whose later pages
    /// do not exist would be asked for ever.
    restarted: bool,
    done: bool,
    stopped: bool,
}

/// A page that is being given.
struct Open {
    records: VecDeque<Record>,
    next: Option<Page>,
    /// The run's pages with this one, and those after it that were passed over.
    trail: Trail,
}

/// What a page is to its run.
enum Passed {
    /// One that was not there before.
    New,
    /// One that was there before; the next may be another.
    Again,
    /// One that was not there before, but what it names as the next one was: the run ends with it.
    Last,
    /// The run goes round in circles.
    Circle,
}

impl Drop for PollerSource {
    fn drop(&mut self) {
        self.forget_fetch();
    }
}

impl PollerSource {
    pub(crate) fn new(plan: Plan, context: &SourceContext) -> Result<Self, Error> {
        let position = match &context.checkpoint {
            Some(checkpoint) if !context.sample => checkpoint.read()?,
            _ => Position::default(),
        };
        let plan = Arc::new(plan);
        let client = Client::new(
            Arc::clone(&plan),
            &context.secrets,
            &context.guard,
            Arc::clone(&context.clock),
            plan.timeout,
        )?;
        Ok(Self {
            plan,
            client: Arc::new(client),
            clock: Arc::clone(&context.clock),
            limits: context.limits,
            range: context.range,
            sample: context.sample,
            resumed: position.run.is_some(),
            position,
            page: None,
            fetching: None,
            ahead: None,
            pages: 0,
            restarted: false,
            done: false,
            stopped: false,
        })
    }

    /// Begins a run if none is under way, and asks for its next page if nothing is asked for.
    fn ask(&mut self) {
        if self.fetching.is_some() {
            return;
        }
        if self.position.run.is_none() {
            let began = self.clock.now();
            let run = Run {
                from: first_value(&self.plan, &self.position, began, self.range),
                began,
                page: Page::First,
                max: None,
                trail: Trail::default(),
            };
            self.position.run = Some(run);
        }
        let page = self.position.run.as_ref().map(|run| run.page.clone());
        self.fetch(page.unwrap_or_default());
    }

    fn fetch(&mut self, page: Page) {
        let Some(run) = &self.position.run else {
            return;
        };
        let ask = Ask {
            page,
            from: run.from.clone(),
            began: run.began,
            range: self.range,
        };
        let client = Arc::clone(&self.client);
        self.fetching = Some(tokio::spawn(async move { client.fetch(&ask).await }));
    }

    fn forget_fetch(&mut self) {
        if let Some(fetching) = self.fetching.take() {
            fetching.abort();
        }
    }

    /// A page has come: what is new of it is to be given, while the one after it is fetched.
    fn open(&mut self, fetched: Fetched) -> Result<(), Error> {
        let run = self.position.run.as_ref();
        let known = run
            .and_then(|run| run.max.as_ref())
            .or(self.position.cursor.as_ref());
        if known.is_none() {
            // Once one was read, a record without one only moves nothing.
            self.plan.can_move_on(&fetched.records)?;
        }
        let mut trail = run.map(|run| run.trail.clone()).unwrap_or_default();
        let passed = pass(&mut trail, &fetched);
        let Fetched {
            mut records,
            mut next,
            ..
        } = fetched;
        self.pages += 1;
        let mut here = HashSet::new();
        records.retain(|record| {
            self.inside(record) && !self.position.recent.has(record) && here.insert(record.key.clone())
        });
        if matches!(passed, Passed::Again | Passed::Circle) {
            records.clear();
        }
        if self.sample || matches!(passed, Passed::Last | Passed::Circle) {
            next = None;
        }
        self.page = Some(Open {
            records: records.into(),
            next,
            trail,
        });
        self.fetch_ahead();
        Ok(())
    }

    fn fetch_ahead(&mut self) {
        let next = self.page.as_ref().and_then(|page| page.next.clone());
        if let Some(next) = next
            && self.pages < self.plan.max_pages
        {
            self.fetch(next);
        }
    }

    /// Before a page's last batch: passes over the pages after it that have nothing new, such as those of the overlap.
    /// A checkpoint comes with records only, so the batch has to say where the feed stands after those pages as well.
    async fn look_ahead(&mut self) {
        while let (Some(page), None, Some(fetching)) = (&mut self.page, &self.ahead, &mut self.fetching) {
            if page.records.is_empty() || page.records.len() > self.limits.max_records.max(1) {
                return;
            }
            let outcome = fetching.await;
            self.fetching = None;
            // What failed is asked for again once the batch is out.
            let Ok(Ok(fetched)) = outcome else {
                return;
            };
            let known: HashSet<&str> = page.records.iter().map(|record| record.key.as_str()).collect();
            let new =
                |record: &Record| !self.position.recent.has(record) && !known.contains(record.key.as_str());
            let mut trail = page.trail.clone();
            let next = match pass(&mut trail, &fetched) {
                Passed::Again => fetched.next,
                Passed::Circle => None,
                Passed::New | Passed::Last if fetched.records.iter().any(new) => {
                    self.ahead = Some(fetched);
                    return;
                }
                Passed::New => fetched.next,
                Passed::Last => None,
            };
            self.pages += 1;
            (page.next, page.trail) = (next, trail);
            self.fetch_ahead();
        }
    }

    /// Whether a record is in the stretch of time that is read, where the other side was not told its end.
    fn inside(&self, record: &Record) -> bool {
        let (Some(range), false) = (self.range, self.plan.tells_end()) else {
            return true;
        };
        let kind = self.plan.cursor.as_ref().map(|cursor| &cursor.kind);
        let time = match (kind, &record.cursor) {
            (Some(Kind::Timestamp(format)), Some(value)) => format.read(value),
            _ => None,
        };
        time.is_none_or(|time| time < range.to)
    }

    /// What of the open page fits a batch; closes a page that has been given.
    fn batch(&mut self) -> Option<SourceBatch> {
        let page = self.page.as_mut()?;
        let count = page.records.len().min(self.limits.max_records.max(1));
        let records: Vec<Record> = page.records.drain(..count).collect();
        let given = page.records.is_empty();
        for record in &records {
            self.position.gave(record, self.plan.cursor.as_ref());
        }
        if given {
            self.close();
        }
        if records.is_empty() {
            return None;
        }
        let received_at = self.clock.now();
        let records = records
            .into_iter()
            .map(|record| SourceRecord {
                bytes: record.bytes,
                dedupe_key: Some(record.key),
                received_at,
                headers: BTreeMap::new(),
            })
            .collect();
        Some(SourceBatch {
            records,
            checkpoint: self.position.checkpoint(),
        })
    }

    /// The position moves past the open page.
    fn close(&mut self) {
        let closed = self.page.take().and_then(|page| Some((page.next?, page.trail)));
        match closed {
            Some(place) => {
                if let Some(run) = &mut self.position.run {
                    (run.page, run.trail) = place;
                }
                // The next reader goes on there.
                self.done = self.pages >= self.plan.max_pages;
            }
            None => {
                self.position.end_run(self.plan.cursor.as_ref());
                // What came since another reader began that run is read by one more.
                self.done = !self.resumed || self.sample || self.range.is_some();
                self.resumed = false;
            }
        }
    }

    /// A page that is not known any more begins the run again, once.
    fn failed(&mut self, failure: Failure) -> Result<(), Error> {
        let stored = match &mut self.position.run {
            Some(run) if failure.step == Step::Page && run.page != Page::First && !self.restarted => run,
            _ => return Err(failure.error),
        };
        (stored.page, stored.trail) = (Page::First, Trail::default());
        self.restarted = true;
        Ok(())
    }
}

/// Goes on to a page.
///
/// A number is answered with a page of before in two ways: the list has no end that the API would tell, or it grew by a
/// page while it was read. The second does not happen to two pages in a row, except to very short ones.
fn pass(trail: &mut Trail, fetched: &Fetched) -> Passed {
    let again = trail.pass(&fetched.mark);
    match &fetched.next {
        Some(next @ (Page::Token(_) | Page::Url(_))) if trail.has(&mark_of_page(next, &[])) => {
            // At the end of what there is, some name a place of before, to be asked later.
            if !fetched.records.is_empty() {
                tracing::warn!("a page names one of before as the next one: the run ends with it");
            }
            Passed::Last
        }
        Some(Page::Number(_)) if again > 1 => Passed::Circle,
        Some(Page::Number(_)) if again == 1 => Passed::Again,
        _ => Passed::New,
    }
}

/// From where on a new run asks.
pub(crate) fn first_value(
    plan: &Plan,
    position: &Position,
    began: Timestamp,
    range: Option<TimeRange>,
) -> Option<String> {
    if let Some(range) = range {
        return Some(plan.time_format.write(range.from));
    }
    let cursor = plan.cursor.as_ref()?;
    let Some(value) = &position.cursor else {
        let values = Values {
            from: None,
            to: began,
            began,
            format: &plan.time_format,
        };
        return cursor.initial.as_ref()?.fill(&values);
    };
    let value = cursor.kind.back(value, cursor.overlap);
    match (&cursor.kind, &cursor.param_format) {
        (Kind::Timestamp(format), Some(other)) => match format.read(&value) {
            Some(time) => Some(other.write(time)),
            None => Some(value),
        },
        _ => Some(value),
    }
}

#[async_trait]
impl Source for PollerSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        loop {
            if self.stopped {
                return Ok(None);
            }
            self.look_ahead().await;
            if let Some(batch) = self.batch() {
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            if self.page.is_some() {
                continue;
            }
            if let Some(fetched) = self.ahead.take() {
                self.open(fetched)?;
                continue;
            }
            self.ask();
            let Some(fetching) = &mut self.fetching else {
                return Ok(None);
            };
            let outcome = fetching.await;
            self.fetching = None;
            match outcome {
                Ok(Ok(fetched)) => self.open(fetched)?,
                Ok(Err(failure)) => self.failed(failure)?,
                Err(error) => return Err(Error::System(format!("a page's task ended: {error}"))),
            }
        }
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // Nothing upstream remembers what was read.
        Ok(())
    }

    fn lag(&self) -> Lag {
        // How much more there is, nobody says; after a run's end there was nothing more.
        let ended = self.done && self.position.run.is_none();
        Lag {
            records: ended.then_some(0),
            age: ended.then_some(Duration::ZERO),
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.forget_fetch();
    }
}
