//! Records that could not be mapped: seen, and processed anew.

use std::collections::{HashMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    clock::Timestamp,
    config::VersionConfig,
    datasource::{Datasource, DatasourceEventKind},
    error::InputError,
    event::{EventId, IngestEvent, RecordId},
    id::DatasourceId,
};
use halcyon_store::{AllTenants, LedgerRow};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Change},
    services::{Lanes, StoredDeadLetter},
    views::{DeadLetterView, List, ReplayReport, ReplayView},
};

/// The most dead letters that one request names.
const MAX_IDS: usize = 1_000;
/// The most events that one request processes anew; the answer says where to go on.
const MAX_EVENTS: usize = 10_000;
/// Dead letters that are read at a time: a body may have a megabyte.
const PAGE: usize = 64;

/// Which dead letters to list, the oldest first.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListDeadLetters {
    /// The most objects to give: 1 to 200, 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl ListDeadLetters {
    fn limit(&self) -> Result<usize> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=200 => Ok(limit as usize),
            _ => Err(Error::Query(InputError::new(
                "/limit",
                "out_of_range",
                "1 to 200 objects",
            ))),
        }
    }

    fn from(&self) -> Result<u64> {
        let invalid = || Error::Query(InputError::new("/cursor", "invalid", "not one of ours"));
        self.cursor
            .as_ref()
            .map_or(Ok(1), |cursor| cursor.parse().map_err(|_| invalid()))
    }
}

/// Which dead letters to process anew: named ones, or those of a time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayDeadLetters {
    /// These: up to 1,000.
    #[schemars(length(max = 1_000))]
    pub ids: Option<Vec<String>>,
    /// Those that failed at or after this time.
    pub from: Option<Timestamp>,
    /// Those that failed before this time.
    pub to: Option<Timestamp>,
    /// Go on at this place: the `next_cursor` of the answer before.
    pub cursor: Option<String>,
    /// Only count.
    pub dry_run: bool,
}

/// What a request for a replay names.
enum Selection {
    Named(Vec<u64>),
    Range {
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        start: u64,
    },
}

impl ReplayDeadLetters {
    fn selection(&self) -> Result<Selection> {
        let range = self.from.is_some() || self.to.is_some();
        match &self.ids {
            Some(_) if range || self.cursor.is_some() => Err(Error::field(
                "/ids",
                "not_together",
                "name dead letters or give a time, not both",
            )),
            Some(ids) if ids.is_empty() || ids.len() > MAX_IDS => {
                Err(Error::field("/ids", "out_of_range", "1 to 1,000 identifiers"))
            }
            Some(ids) => {
                let mut named = ids
                    .iter()
                    .enumerate()
                    .map(|(index, id)| sequence(id, &format!("/ids/{index}")));
                let mut named = named.by_ref().collect::<Result<Vec<u64>>>()?;
                named.sort_unstable();
                named.dedup();
                Ok(Selection::Named(named))
            }
            // An empty body would process everything anew by mistake.
            None if !range => Err(Error::field("", "required", "give `ids`, `from` or `to`")),
            None => Ok(Selection::Range {
                from: self.from,
                to: self.to,
                start: match &self.cursor {
                    Some(cursor) => sequence(cursor, "/cursor")?,
                    None => 1,
                },
            }),
        }
    }

    fn told(&self) -> String {
        let time = |time: Option<Timestamp>| time.map_or_else(|| "...".to_owned(), |time| time.to_rfc3339());
        match &self.ids {
            Some(ids) => format!("processing {} dead letters anew", ids.len()),
            None => format!(
                "processing dead letters of {} to {} anew",
                time(self.from),
                time(self.to)
            ),
        }
    }
}

fn sequence(text: &str, pointer: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::field(pointer, "invalid", "not an identifier of a dead letter"))
}

/// What became of events, as the ledger knows it.
#[derive(Default)]
struct Ledger {
    attempts: HashMap<EventId, u32>,
    records: HashMap<(EventId, u32), LedgerRow>,
}

impl Ledger {
    fn new(rows: Vec<LedgerRow>) -> Self {
        let mut ledger = Self::default();
        for row in rows {
            let newest = ledger.attempts.entry(row.event.clone()).or_default();
            *newest = row.attempt.max(*newest);
            let key = (row.event.clone(), row.record);
            if ledger
                .records
                .get(&key)
                .is_none_or(|kept| kept.attempt < row.attempt)
            {
                ledger.records.insert(key, row);
            }
        }
        ledger
    }

    /// What became of a record after the attempt that a dead letter tells of.
    fn replay_of(&self, event: &EventId, index: u32, attempt: u32) -> Option<ReplayView> {
        let row = self.records.get(&(event.clone(), index))?;
        (row.attempt > attempt).then_some(ReplayView {
            attempt: row.attempt,
            version: row.version,
            verdict: row.verdict,
            at: row.at,
        })
    }

    /// The event for its next attempt: above all that the ledger has seen, so that its effects count.
    fn raised(&self, mut event: IngestEvent) -> IngestEvent {
        let newest = self.attempts.get(&event.id).copied().unwrap_or_default();
        event.attempt = event.attempt.max(newest) + 1;
        event
    }
}

impl App {
    /// The records of a datasource that could not be mapped.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_dead_letters(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListDeadLetters,
    ) -> Result<List<DeadLetterView>> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let (from, limit) = (query.from()?, query.limit()?);
        let letters = self
            .services
            .dead_letters(datasource.organization, id, from, limit)
            .await?;
        let cursors: Vec<_> = letters
            .iter()
            .map(|letter| (letter.sequence + 1).to_string())
            .collect();
        let next_cursor = cursors.last().filter(|_| letters.len() == limit).cloned();
        let ledger = self.ledger_of(id, &letters).await?;
        Ok(List {
            items: letters.into_iter().map(|letter| view(letter, &ledger)).collect(),
            next_cursor,
            cursors,
        })
    }

    /// Processes the events of dead letters anew, with the version that is in effect then. All records of such an
    /// event are mapped again; what was delivered before comes out as the object it was.
    ///
    /// # Errors
    /// There is no such datasource, it takes no events, nothing is named, or the bus cannot be reached.
    pub async fn replay_dead_letters(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: ReplayDeadLetters,
    ) -> Result<ReplayReport> {
        let datasource = self.datasource(context, id, Action::REPLAY).await?;
        let selection = input.selection()?;
        let lanes = self.replay_lanes(context, &datasource).await?;
        if !input.dry_run {
            // Before the first event goes out: a replay that breaks off is in the trail, too.
            let tx = self.store.begin().await?;
            let change = Change {
                action: Action::REPLAY,
                kind: DatasourceEventKind::DeadLettersReplayed,
                datasource: &datasource,
                version: datasource.current_version,
                diff: None,
                message: input.told(),
            };
            self.record(&tx, context, change).await?;
            self.commit(tx).await?;
        }
        let mut replay = Replay {
            app: self,
            datasource: &datasource,
            lanes: (!input.dry_run).then_some(lanes),
            seen: HashSet::new(),
            report: ReplayReport {
                dry_run: input.dry_run,
                ..ReplayReport::default()
            },
        };
        match selection {
            Selection::Named(ids) => replay.named(ids).await?,
            Selection::Range { from, to, start } => replay.range(from, to, start).await?,
        }
        Ok(replay.report)
    }

    /// On which partitions the datasource's events travel.
    async fn replay_lanes(&self, context: &RequestContext, datasource: &Datasource) -> Result<Lanes> {
        let closed = || Error::Conflict {
            code: "not_accepting",
            detail: "the datasource is disabled or was never published; enable or publish it first"
                .to_owned(),
        };
        let number = datasource
            .current_version
            .filter(|_| datasource.status.accepts_events());
        let number = number.ok_or_else(closed)?;
        let version = self.version(context, datasource.id, number).await?;
        let runtime = VersionConfig::parse(&version.config)?.runtime;
        // What is replayed of a source travels as what is pushed to a feed of no pool.
        let push =
            find_connector(&datasource.connector).is_some_and(|connector| connector.spec().capabilities.push);
        Ok(Lanes {
            parallelism: runtime.parallelism,
            pool: runtime.worker_labels.into_iter().next().filter(|_| push),
        })
    }

    async fn ledger_of(&self, id: DatasourceId, letters: &[StoredDeadLetter]) -> Result<Ledger> {
        let events: HashSet<&str> = letters
            .iter()
            .map(|stored| stored.letter.event.id.as_str())
            .collect();
        let events: Vec<&str> = events.into_iter().collect();
        let reason =
            AllTenants::because("the ledger has no tenants, only feeds; the datasource is the caller's");
        let rows = self
            .store
            .read()
            .ontology()
            .ledger_of(reason, id, &events)
            .await?;
        Ok(Ledger::new(rows))
    }
}

/// A replay under way.
struct Replay<'a> {
    app: &'a App,
    datasource: &'a Datasource,
    /// On which partitions the events travel; nothing if they are only counted.
    lanes: Option<Lanes>,
    seen: HashSet<EventId>,
    report: ReplayReport,
}

impl Replay<'_> {
    async fn named(&mut self, ids: Vec<u64>) -> Result<()> {
        let mut page = Vec::with_capacity(PAGE);
        for id in ids {
            let found = self
                .read(id, 1)
                .await?
                .pop()
                .filter(|stored| stored.sequence == id);
            match found {
                Some(stored) => page.push(stored),
                None => self.report.unknown.push(id.to_string()),
            }
            if page.len() == PAGE {
                self.take(std::mem::take(&mut page)).await?;
            }
        }
        self.take(page).await
    }

    async fn range(&mut self, from: Option<Timestamp>, to: Option<Timestamp>, start: u64) -> Result<()> {
        let mut next = start;
        loop {
            let page = self.read(next, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            next = last.sequence + 1;
            let fits = |stored: &StoredDeadLetter| {
                let at = stored.letter.failed_at;
                from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to)
            };
            self.take(page.into_iter().filter(fits).collect()).await?;
            if self.seen.len() >= MAX_EVENTS {
                self.report.next_cursor = Some(next.to_string());
                return Ok(());
            }
        }
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredDeadLetter>> {
        let (organization, id) = (self.datasource.organization, self.datasource.id);
        self.app
            .services
            .dead_letters(organization, id, from, limit)
            .await
    }

    /// Counts a page of letters and sends their events on their way, each event once.
    async fn take(&mut self, letters: Vec<StoredDeadLetter>) -> Result<()> {
        self.report.dead_letters += letters.len() as u64;
        let ledger = match &self.lanes {
            Some(_) => self.app.ledger_of(self.datasource.id, &letters).await?,
            None => Ledger::default(),
        };
        let mut events = Vec::new();
        for stored in letters {
            let event = stored.letter.event;
            if self.seen.insert(event.id.clone()) {
                events.push(ledger.raised(event));
            }
        }
        self.report.events += events.len() as u64;
        match &self.lanes {
            Some(lanes) => self.app.services.replay(lanes, events).await,
            None => Ok(()),
        }
    }
}

fn view(stored: StoredDeadLetter, ledger: &Ledger) -> DeadLetterView {
    let letter = stored.letter;
    let event = letter.event;
    let (payload, payload_base64) = match std::str::from_utf8(&event.payload) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(&event.payload))),
    };
    DeadLetterView {
        replay: ledger.replay_of(&event.id, letter.index, event.attempt),
        id: stored.sequence.to_string(),
        record: RecordId {
            event: event.id.clone(),
            index: letter.index,
        }
        .to_string(),
        event_id: event.id.to_string(),
        attempt: event.attempt,
        version: letter.version,
        reason: letter.failure,
        received_at: event.received_at,
        failed_at: letter.failed_at,
        content_type: event.content_type,
        headers: event.headers,
        payload,
        payload_base64,
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::event::Verdict;

    use super::*;

    fn row(event: &str, record: u32, attempt: u32, verdict: Verdict) -> LedgerRow {
        LedgerRow {
            datasource: DatasourceId::generate(),
            event: EventId::from(event.to_owned()),
            record,
            attempt,
            version: attempt + 1,
            verdict,
            reason: None,
            at: Timestamp::default(),
        }
    }

    #[test]
    fn what_a_replay_became_is_the_newest_attempt_after_the_letter() {
        let ledger = Ledger::new(vec![
            row("a", 0, 1, Verdict::DeadLettered),
            row("a", 0, 2, Verdict::Delivered),
            row("a", 0, 0, Verdict::DeadLettered),
        ]);
        let event = EventId::from("a".to_owned());
        let replay = ledger.replay_of(&event, 0, 0).unwrap();
        assert_eq!((replay.attempt, replay.verdict), (2, Verdict::Delivered));
        assert!(ledger.replay_of(&event, 0, 2).is_none());
        assert!(ledger.replay_of(&event, 1, 0).is_none());
    }

    #[test]
    fn a_request_names_letters_or_a_time() {
        let code = |input: ReplayDeadLetters| match input.selection() {
            Err(Error::Invalid(errors)) => errors[0].code.clone(),
            Err(other) => panic!("{other}"),
            Ok(_) => String::new(),
        };
        let ids = |ids: &[&str]| ReplayDeadLetters {
            ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            ..ReplayDeadLetters::default()
        };
        assert_eq!(code(ReplayDeadLetters::default()), "required");
        assert_eq!(code(ids(&[])), "out_of_range");
        assert_eq!(code(ids(&["1", "x"])), "invalid");
        assert_eq!(code(ids(&["1", "2"])), "");
        let both = ReplayDeadLetters {
            from: Some(Timestamp::default()),
            ..ids(&["1"])
        };
        assert_eq!(code(both), "not_together");
    }
}
