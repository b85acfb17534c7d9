//! Dead letters, processed anew: named ones, or those that a filter fits, in a lane of their own.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use halcyon_bus::dead_letters::Place;
use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    config::VersionConfig,
    datasource::{Datasource, DatasourceEventKind},
    event::{EventId, IngestEvent, Replay as EventReplay, ReplayMark},
    id::{DatasourceId, ReplayId},
};
use halcyon_store::{Replay, ReplayedRecord};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    dead_letter_filter::{Bounds, LetterFilter, Walk},
    dead_letter_views::ReplayReport,
    replay_input::{ReplayDeadLetters, Selection},
    services::{Lanes, StoredDeadLetter},
};

/// The most events that one request processes anew; the answer says where to go on.
const MAX_EVENTS: usize = 10_000;
/// Dead letters that are taken at a time, and how many bytes their bodies have at most before they go.
const PAGE: usize = 64;
const PAGE_BYTES: usize = 16 * 1024 * 1024;
/// What one request looks at.
const BOUNDS: Bounds = Bounds {
    letters: 100_000,
    // Each page goes before the next one comes.
    bytes: usize::MAX,
    time: Duration::from_secs(8),
};

impl App {
    /// Processes dead letters anew, with the version that is in effect when their turn comes. Of an event only the
    /// records that had failed are mapped, where they can be told from the others.
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
        let mut run = Run {
            app: self,
            context,
            datasource: &datasource,
            sending: None,
            cuts: HashMap::new(),
            seen: HashSet::new(),
            report: ReplayReport {
                dry_run: input.dry_run,
                exact: true,
                ..ReplayReport::default()
            },
        };
        if !input.dry_run {
            let replay = self.begin_replay(context, &datasource, &input).await?;
            run.report.id = Some(replay.id);
            run.report.trace_id = replay.trace_id.clone();
            run.sending = Some((lanes, replay));
        }
        match selection {
            Selection::Named(ids) => run.named(ids).await?,
            Selection::Filtered(filter, place) => run.filtered(filter, place).await?,
        }
        Ok(run.report)
    }

    /// Writes the replay down before the first event goes out: one that breaks off is in the trail, too.
    async fn begin_replay(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        input: &ReplayDeadLetters,
    ) -> Result<Replay> {
        let replay = Replay {
            id: ReplayId::generate(),
            datasource: datasource.id,
            trace_id: Some(context.info.trace_id.clone()),
            summary: input.told(),
            created_by: context.actor(),
            created_at: self.clock.now(),
        };
        let tx = self.store.begin().await?;
        tx.replays().insert(tenant(context), &replay).await?;
        let change = Change {
            action: Action::REPLAY,
            kind: DatasourceEventKind::DeadLettersReplayed,
            datasource,
            version: datasource.current_version,
            diff: None,
            message: format!("{} (replay {})", replay.summary, replay.id),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(replay)
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
}

/// A replay under way.
struct Run<'a> {
    app: &'a App,
    context: &'a RequestContext,
    datasource: &'a Datasource,
    /// On which partitions the events travel, and what came of the request; nothing if they are only counted.
    sending: Option<(Lanes, Replay)>,
    /// How each version that failed cut events into records.
    cuts: HashMap<u32, Option<String>>,
    seen: HashSet<EventId>,
    report: ReplayReport,
}

/// An event to process anew, and the dead letters that it has here.
struct Picked {
    event: IngestEvent,
    letters: Vec<(u32, u64)>,
    /// Whether only the records of these letters are to be mapped, and how they were cut.
    cut: Option<String>,
}

impl Run<'_> {
    async fn named(&mut self, ids: Vec<u64>) -> Result<()> {
        let (mut page, mut bytes) = (Vec::with_capacity(PAGE), 0);
        for id in ids {
            match self.app.dead_letter(self.datasource, id).await? {
                Some(stored) => {
                    bytes += stored.letter.event.payload.len();
                    page.push(stored);
                }
                None => self.report.unknown.push(id.to_string()),
            }
            if page.len() == PAGE || bytes >= PAGE_BYTES {
                self.take(std::mem::take(&mut page)).await?;
                bytes = 0;
            }
        }
        self.take(page).await
    }

    async fn filtered(&mut self, filter: LetterFilter, place: Place) -> Result<()> {
        let mut walk = Walk::new(self.app, self.datasource, filter, place, BOUNDS);
        while let Some(page) = walk.next(usize::MAX).await? {
            self.take(page).await?;
            if self.seen.len() >= MAX_EVENTS {
                break;
            }
        }
        self.report.next_cursor = walk.cursor();
        self.report.exact = self.report.next_cursor.is_none();
        Ok(())
    }

    /// Counts a page of letters and sends their events on their way. Of one event all that is on the page goes
    /// together; what comes later of it goes by itself.
    async fn take(&mut self, letters: Vec<StoredDeadLetter>) -> Result<()> {
        self.report.dead_letters += letters.len() as u64;
        let (whole, broken): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|stored| stored.letter.complete);
        self.report.incomplete += broken.len() as u64;
        let events: HashSet<&EventId> = whole.iter().map(|stored| &stored.letter.event.id).collect();
        let new: Vec<EventId> = events
            .into_iter()
            .filter(|event| !self.seen.contains(*event))
            .cloned()
            .collect();
        self.report.events += new.len() as u64;
        self.seen.extend(new);
        let Some((lanes, replay)) = self.sending.clone().filter(|_| !whole.is_empty()) else {
            return Ok(());
        };
        let picked = self.pick(&whole).await?;
        let events = self.raise(&replay, picked).await?;
        let trace = halcyon_infra::telemetry::current_traceparent();
        let sent = self.app.services.replay(&lanes, events, trace.as_deref()).await;
        match sent {
            Ok(()) => Ok(()),
            Err(unsent) => {
                self.take_back(&replay, &unsent.events).await;
                Err(unsent.error)
            }
        }
    }

    /// Forgets that events were to be sent: their letters are not shown as on their way.
    async fn take_back(&self, replay: &Replay, events: &[EventId]) {
        let taken = async {
            let tx = self.app.store.begin().await?;
            tx.replays()
                .remove_records(tenant(self.context), self.datasource.id, replay.id, events)
                .await?;
            tx.commit().await
        };
        if let Err(error) = taken.await {
            tracing::warn!(
                datasource.id = %self.datasource.id, replay.id = %replay.id, error = %error,
                "dead letters that were not sent are shown as on their way until they are replayed"
            );
        }
    }

    /// The events of letters, each once.
    async fn pick(&mut self, letters: &[StoredDeadLetter]) -> Result<Vec<Picked>> {
        let mut places: HashMap<EventId, usize> = HashMap::new();
        let mut picked: Vec<Picked> = Vec::new();
        for stored in letters {
            let letter = &stored.letter;
            let cut = self.cut_of(letter.version, &letter.failure.pointer).await?;
            let place = *places.entry(letter.event.id.clone()).or_insert_with(|| {
                picked.push(Picked {
                    event: letter.event.clone(),
                    letters: Vec::new(),
                    cut: cut.clone(),
                });
                picked.len() - 1
            });
            let Some(known) = picked.get_mut(place) else {
                continue;
            };
            known.letters.push((letter.index, stored.sequence));
            if known.cut != cut {
                // They tell of different records: all are mapped.
                known.cut = None;
            }
        }
        Ok(picked)
    }

    /// How the version that failed cut events into records, if its failure is one record's.
    async fn cut_of(&mut self, version: u32, pointer: &str) -> Result<Option<String>> {
        if pointer.is_empty() || pointer.starts_with("/records") {
            return Ok(None);
        }
        if let Some(known) = self.cuts.get(&version) {
            return Ok(known.clone());
        }
        let found = match self.app.version(self.context, self.datasource.id, version).await {
            Ok(found) => VersionConfig::parse(&found.config)
                .ok()
                .map(|config| config.mapping.cut()),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        self.cuts.insert(version, found.clone());
        Ok(found)
    }

    /// Gives each event its next attempt, and notes it: two replays of one event never share an attempt.
    async fn raise(&self, replay: &Replay, picked: Vec<Picked>) -> Result<Vec<IngestEvent>> {
        let (app, id) = (self.app, self.datasource.id);
        let tx = app.store.begin().await?;
        // Until the end of the transaction no other replay takes attempts of the datasource's events.
        app.locked(&tx, self.context, id, IfMatch::Any).await?;
        let raised = picked.iter().map(|picked| &picked.event.id);
        let history = app.history_of(self.context, id, raised).await?;
        let (mut events, mut records) = (Vec::new(), Vec::new());
        for Picked {
            mut event,
            mut letters,
            cut,
        } in picked
        {
            event.attempt = history.next_attempt(&event.id, event.attempt);
            letters.sort_unstable();
            letters.dedup_by_key(|(index, _)| *index);
            records.extend(letters.iter().map(|(index, letter)| ReplayedRecord {
                event: event.id.clone(),
                record: *index,
                attempt: event.attempt,
                letter: *letter,
                replay: replay.id,
            }));
            let mark = ReplayMark {
                id: replay.id,
                trace_id: replay.trace_id.clone(),
            };
            event.replay = Some(EventReplay {
                mark,
                records: match &cut {
                    Some(_) => letters.iter().map(|(index, _)| *index).collect(),
                    None => Vec::new(),
                },
                cut: cut.unwrap_or_default(),
            });
            events.push(event);
        }
        tx.replays()
            .add_records(tenant(self.context), id, &records)
            .await?;
        tx.commit().await?;
        Ok(events)
    }
}
