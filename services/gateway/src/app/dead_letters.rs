//! Records that could not be mapped, seen: in pages, one by one, and counted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::TimeDelta;
use halcyon_bus::dead_letters::Place;
use halcyon_domain::{
    access::Permission,
    datasource::Datasource,
    event::{EventId, RecordId, Verdict},
    id::{DatasourceId, ReplayId},
};
use halcyon_store::{AllTenants, LedgerRow, Replay, ReplayedRecord};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, target_of, tenant},
    dead_letter_filter::{Bounds, LetterFilter, ListDeadLetters, Walk, cursor_behind},
    dead_letter_views::{DeadLetterCount, DeadLetterSummary, DeadLetterView, ReplayView},
    services::StoredDeadLetter,
    views::List,
};

/// What one page looks at, and a summary.
const PAGE: Bounds = Bounds {
    letters: 5_000,
    bytes: 16 * 1024 * 1024,
    time: Duration::from_secs(3),
};
const SUMMARY: Bounds = Bounds {
    letters: 20_000,
    // Nothing of them is kept.
    bytes: usize::MAX,
    time: Duration::from_secs(5),
};
/// What the search for a record's next dead letter looks at.
const NEXT: Bounds = Bounds {
    letters: 1_000,
    bytes: usize::MAX,
    time: Duration::from_secs(2),
};
/// A record's next dead letter was stored not much before its verdict was written.
const NEXT_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// What became of records: what replays sent on their way, and what the ledger knows.
#[derive(Default)]
pub(super) struct History {
    /// The highest attempt of each event, of both.
    attempts: HashMap<EventId, u32>,
    /// The newest verdict of each record.
    verdicts: HashMap<(EventId, u32), LedgerRow>,
    /// The newest replay of each record.
    replayed: HashMap<(EventId, u32), ReplayedRecord>,
    replays: HashMap<ReplayId, Replay>,
}

impl History {
    fn new(ledger: Vec<LedgerRow>, records: Vec<ReplayedRecord>, replays: HashMap<ReplayId, Replay>) -> Self {
        let mut history = Self {
            replays,
            ..Self::default()
        };
        for row in ledger {
            history.saw(&row.event, row.attempt);
            let key = (row.event.clone(), row.record);
            let known = history.verdicts.get(&key);
            if known.is_none_or(|kept| kept.attempt < row.attempt) {
                history.verdicts.insert(key, row);
            }
        }
        for record in records {
            history.saw(&record.event, record.attempt);
            let key = (record.event.clone(), record.record);
            let known = history.replayed.get(&key);
            if known.is_none_or(|kept| kept.attempt < record.attempt) {
                history.replayed.insert(key, record);
            }
        }
        history
    }

    fn saw(&mut self, event: &EventId, attempt: u32) {
        let newest = self.attempts.entry(event.clone()).or_default();
        *newest = attempt.max(*newest);
    }

    /// The next attempt of an event: above all that was seen, so that its effects count.
    pub(super) fn next_attempt(&self, event: &EventId, attempt: u32) -> u32 {
        let newest = self.attempts.get(event).copied().unwrap_or_default();
        attempt.max(newest) + 1
    }

    /// What became of a record after the attempt that a dead letter tells of.
    fn replay_of(&self, event: &EventId, index: u32, attempt: u32) -> Option<ReplayView> {
        let key = (event.clone(), index);
        let replayed = self.replayed.get(&key).filter(|record| record.attempt > attempt);
        let verdict = self.verdicts.get(&key).filter(|row| row.attempt > attempt);
        let newest = replayed
            .map(|record| record.attempt)
            .max(verdict.map(|row| row.attempt))?;
        // Of a replay that is on its way there is no verdict yet.
        let verdict = verdict.filter(|row| row.attempt == newest);
        let replay = replayed
            .filter(|record| record.attempt == newest)
            .and_then(|record| self.replays.get(&record.replay));
        Some(ReplayView {
            id: replay.map(|replay| replay.id),
            attempt: newest,
            replayed_at: replay.map(|replay| replay.created_at),
            replayed_by: replay.map(|replay| replay.created_by.name.clone()),
            trace_id: replay.and_then(|replay| replay.trace_id.clone()),
            version: verdict.map(|row| row.version),
            verdict: verdict.map(|row| row.verdict),
            at: verdict.map(|row| row.at),
            dead_letter: None,
        })
    }
}

impl App {
    /// The records of a datasource that could not be mapped. Their bodies and headers are for those who may see them.
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
        let (place, limit) = (query.place()?, query.limit()?);
        let open = may_see_payloads(context, &datasource);
        let bounds = Bounds {
            // Bodies that are not shown are not kept.
            bytes: if open { PAGE.bytes } else { usize::MAX },
            ..PAGE
        };
        let mut walk = Walk::new(self, &datasource, query.filter(), place, bounds);
        let mut letters = Vec::new();
        while let Some(page) = walk.next(limit - letters.len()).await? {
            letters.extend(page.into_iter().map(|stored| Shown::new(stored, open)));
        }
        let cursors = letters.iter().map(|shown| cursor_behind(place, &shown.stored));
        let cursors = cursors.collect();
        let events = letters.iter().map(|shown| &shown.stored.letter.event.id);
        let history = self.history_of(context, id, events).await?;
        Ok(List {
            items: letters.into_iter().map(|shown| shown.view(&history)).collect(),
            next_cursor: walk.cursor(),
            cursors,
        })
    }

    /// A dead letter, and what became of its record since.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_dead_letter(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        letter: &str,
    ) -> Result<DeadLetterView> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let unknown = || Error::NotFound("dead letter");
        let sequence = letter.parse::<u64>().map_err(|_| unknown())?;
        let stored = self
            .dead_letter(&datasource, sequence)
            .await?
            .ok_or_else(unknown)?;
        let event = stored.letter.event.id.clone();
        let history = self.history_of(context, id, [&event].into_iter()).await?;
        let index = stored.letter.index;
        let open = may_see_payloads(context, &datasource);
        let mut view = Shown::new(stored, open).view(&history);
        if let Some(replay) = view.replay.as_mut() {
            replay.dead_letter = self.next_letter(&datasource, &event, index, replay).await?;
        }
        Ok(view)
    }

    /// How many dead letters there are of each reason and version.
    ///
    /// # Errors
    /// There is no such datasource, or the bus cannot be reached.
    pub async fn dead_letter_summary(
        &self,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<DeadLetterSummary> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let total = self
            .services
            .dead_letter_count(datasource.organization, id)
            .await?;
        let place = Place::Before(u64::MAX);
        let mut walk = Walk::new(self, &datasource, LetterFilter::default(), place, SUMMARY);
        let mut counts: BTreeMap<(String, u32), DeadLetterCount> = BTreeMap::new();
        while let Some(page) = walk.next(usize::MAX).await? {
            for stored in page {
                let letter = stored.letter;
                let key = (letter.failure.code.clone(), letter.version);
                let count = counts.entry(key).or_insert_with(|| DeadLetterCount {
                    code: letter.failure.code,
                    version: letter.version,
                    count: 0,
                    oldest: letter.failed_at,
                    newest: letter.failed_at,
                    example: stored.sequence.to_string(),
                });
                count.count += 1;
                count.oldest = count.oldest.min(letter.failed_at);
                count.newest = count.newest.max(letter.failed_at);
            }
        }
        let mut counts: Vec<DeadLetterCount> = counts.into_values().collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        let counted = walk.looked_at() as u64;
        Ok(DeadLetterSummary {
            total: total.max(counted),
            counted,
            exact: walk.cursor().is_none(),
            counts,
        })
    }

    /// One dead letter of a datasource.
    pub(super) async fn dead_letter(
        &self,
        datasource: &Datasource,
        sequence: u64,
    ) -> Result<Option<StoredDeadLetter>> {
        let (organization, id) = (datasource.organization, datasource.id);
        let found = self
            .services
            .dead_letters(organization, id, Place::From(sequence), 1)
            .await?;
        Ok(found.into_iter().find(|stored| stored.sequence == sequence))
    }

    /// The dead letter that a record became when it failed again.
    async fn next_letter(
        &self,
        datasource: &Datasource,
        event: &EventId,
        index: u32,
        replay: &ReplayView,
    ) -> Result<Option<String>> {
        let (Some(Verdict::DeadLettered), Some(at)) = (replay.verdict, replay.at) else {
            return Ok(None);
        };
        let filter = LetterFilter {
            event: Some(event.to_string()),
            to: Some(at + NEXT_MARGIN),
            ..LetterFilter::default()
        };
        let place = Place::Since(at - NEXT_MARGIN);
        let mut walk = Walk::new(self, datasource, filter, place, NEXT);
        while let Some(page) = walk.next(usize::MAX).await? {
            let next = page
                .into_iter()
                .find(|stored| stored.letter.index == index && stored.letter.event.attempt == replay.attempt);
            if let Some(next) = next {
                return Ok(Some(next.sequence.to_string()));
            }
        }
        Ok(None)
    }

    /// What became of the records of some events.
    pub(super) async fn history_of<'e>(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        events: impl Iterator<Item = &'e EventId> + Send,
    ) -> Result<History> {
        let events: HashSet<&str> = events.map(EventId::as_str).collect();
        let events: Vec<&str> = events.into_iter().collect();
        let reason =
            AllTenants::because("the ledger has no tenants, only feeds; the datasource is the caller's");
        let read = self.store.read();
        let ledger = read.ontology().ledger_of(reason, id, &events).await?;
        let (records, replays) = read.replays().of_events(tenant(context), id, &events).await?;
        Ok(History::new(ledger, records, replays))
    }
}

/// Whether the caller may see what was sent.
fn may_see_payloads(context: &RequestContext, datasource: &Datasource) -> bool {
    let target = target_of(datasource);
    context.principal.may(Permission::DeadLetterPayload, &target)
}

/// A letter with what the caller may see of it.
struct Shown {
    stored: StoredDeadLetter,
    /// Bytes of the body, shown or not.
    size: u64,
    open: bool,
}

impl Shown {
    fn new(mut stored: StoredDeadLetter, open: bool) -> Self {
        let event = &mut stored.letter.event;
        let size = event.payload.len() as u64;
        if !open {
            event.payload = Bytes::new();
            event.headers = BTreeMap::new();
        }
        Self { stored, size, open }
    }

    fn view(self, history: &History) -> DeadLetterView {
        let letter = self.stored.letter;
        let event = letter.event;
        let (payload, payload_base64) = match std::str::from_utf8(&event.payload) {
            _ if !self.open => (None, None),
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&event.payload))),
        };
        DeadLetterView {
            replay: history.replay_of(&event.id, letter.index, event.attempt),
            id: self.stored.sequence.to_string(),
            record: RecordId {
                event: event.id.clone(),
                index: letter.index,
            }
            .to_string(),
            event_id: event.id.to_string(),
            attempt: event.attempt,
            replay_id: event.replay.map(|replay| replay.mark.id),
            version: letter.version,
            reason: letter.failure,
            received_at: event.received_at,
            failed_at: letter.failed_at,
            content_type: event.content_type,
            size: self.size,
            complete: letter.complete,
            withheld: !self.open,
            headers: event.headers,
            payload,
            payload_base64,
        }
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{
        audit::{Actor, ActorKind},
        clock::Timestamp,
    };

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
        let ledger = vec![
            row("a", 0, 1, Verdict::DeadLettered),
            row("a", 0, 2, Verdict::Delivered),
            row("a", 0, 0, Verdict::DeadLettered),
        ];
        let history = History::new(ledger, Vec::new(), HashMap::new());
        let event = EventId::from("a".to_owned());
        let replay = history.replay_of(&event, 0, 0).unwrap();
        assert_eq!((replay.attempt, replay.verdict), (2, Some(Verdict::Delivered)));
        assert!(history.replay_of(&event, 0, 2).is_none());
        assert!(history.replay_of(&event, 1, 0).is_none());
        assert_eq!(history.next_attempt(&event, 0), 3);
    }

    #[test]
    fn a_replay_on_its_way_has_no_verdict_and_its_attempt_is_taken() {
        let event = EventId::from("a".to_owned());
        let replay = Replay {
            id: ReplayId::generate(),
            datasource: DatasourceId::generate(),
            trace_id: Some("t".to_owned()),
            summary: String::new(),
            created_by: Actor {
                kind: ActorKind::User,
                id: None,
                name: "ann".to_owned(),
            },
            created_at: Timestamp::default(),
        };
        let record = ReplayedRecord {
            event: event.clone(),
            record: 0,
            attempt: 3,
            letter: 9,
            replay: replay.id,
        };
        let ledger = vec![row("a", 0, 2, Verdict::DeadLettered)];
        let history = History::new(ledger, vec![record], HashMap::from([(replay.id, replay.clone())]));
        let seen = history.replay_of(&event, 0, 0).unwrap();
        assert_eq!((seen.attempt, seen.verdict, seen.at), (3, None, None));
        assert_eq!(
            (seen.id, seen.replayed_by.as_deref()),
            (Some(replay.id), Some("ann"))
        );
        assert_eq!(history.next_attempt(&event, 0), 4);
    }
}
