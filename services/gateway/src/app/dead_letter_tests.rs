//! A mapping tried on dead letters: which of them it would map now, and why it would not map the others.

use std::{collections::HashSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use halcyon_bus::dead_letters::Place;
use halcyon_domain::{
    clock::Timestamp,
    datasource::Datasource,
    error::InputError,
    event::Verdict,
    id::DatasourceId,
    test_run::{PastEvent, RecordVerdict, TestInput, TestJob, TestReport},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    App, Error, RequestContext, Result,
    access::Action,
    dead_letter_filter::{Bounds, LetterFilter, Walk},
    replay_input::sequences,
    services::StoredDeadLetter,
    test_runs::newest,
};

/// The most dead letters of one test.
const MAX_LETTERS: usize = 100;
/// The most bytes that their events have together: a job is one message of the bus.
const MAX_BYTES: usize = 3 * 1024 * 1024;
/// What one request looks at.
const BOUNDS: Bounds = Bounds {
    letters: 5_000,
    bytes: usize::MAX,
    time: Duration::from_secs(3),
};

/// Which mapping to try on which dead letters: named ones, or the newest for which everything that is given holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TestDeadLetters {
    /// The number of the version to try; the newest draft, else the published version, if neither this nor `config`
    /// is given. It is called so because `version` is that which failed.
    pub with_version: Option<u32>,
    /// A configuration to try that is not stored.
    pub config: Option<Value>,
    /// These: up to 100.
    #[schemars(length(max = 100))]
    pub ids: Option<Vec<String>>,
    /// Those that failed at or after this time.
    pub from: Option<Timestamp>,
    /// Those that failed before this time.
    pub to: Option<Timestamp>,
    /// Those with this code as their reason.
    pub code: Option<String>,
    /// Those that this version failed on.
    pub version: Option<u32>,
    /// Those of this event.
    pub event_id: Option<String>,
    /// Those whose reason has this text in its pointer, code or sentence, in whatever case.
    pub q: Option<String>,
    /// How many to try: 1 to 100, 50 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<u32>,
}

/// What a mapping would make of dead letters.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct DeadLetterTest {
    /// How many would be mapped or filtered now.
    pub fixed: u64,
    /// How many would fail again.
    pub failing: u64,
    /// How many could not be tried, because not all of their bytes are kept or a test has no room for them.
    pub untried: u64,
    /// Each of them.
    pub items: Vec<TriedDeadLetter>,
    /// What is wrong with the configuration itself; nothing was tried then.
    pub errors: Vec<InputError>,
    /// How long it took.
    pub duration_ms: f64,
}

/// A dead letter that a mapping was tried on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TriedDeadLetter {
    /// The dead letter.
    pub id: String,
    /// Its record: `event/index`.
    pub record: String,
    /// Whether it would not fail again.
    pub fixed: bool,
    /// What would become of it; nothing if it was not tried.
    pub verdict: Option<Verdict>,
    /// Why it would fail again.
    pub failure: Option<InputError>,
}

impl App {
    /// Tries a mapping on dead letters, with no effect on anything.
    ///
    /// # Errors
    /// There is no such datasource, the input does not fit, or there is no test-runner.
    pub async fn test_dead_letters(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: TestDeadLetters,
    ) -> Result<DeadLetterTest> {
        let datasource = self.datasource(context, id, Action::TEST).await?;
        let trial = self.letters_to_test(&datasource, &input).await?;
        let number = match (&input.config, input.with_version) {
            (Some(_), Some(_)) => {
                let detail = "give `with_version` or `config`, not both";
                return Err(Error::field("/config", "ambiguous", detail));
            }
            (Some(_), None) => None,
            (None, number) => Some(number.map_or_else(|| newest(&datasource), Ok)?),
        };
        let config = match (input.config, number) {
            (Some(config), _) => config,
            (None, Some(number)) => self.config_of(context, id, number, "/with_version").await?,
            (None, None) => return Err(Error::NotFound("version")),
        };
        let Trial {
            letters,
            events,
            tried,
            ..
        } = trial;
        let job = TestJob {
            organization: datasource.organization,
            datasource: id,
            connector: datasource.connector.clone(),
            config,
            compare_with: None,
            input: TestInput::Events { events },
            run_stored_tests: false,
            // A mapping needs no secrets.
            ticket: None,
        };
        let report = self.services.run_test(&job, self.options.test_timeout).await?;
        let result = result(&letters, &tried, report);
        let ok = result.errors.is_empty() && result.failing == 0;
        self.record_test(context, &datasource, number, ok).await?;
        Ok(result)
    }

    async fn letters_to_test(&self, datasource: &Datasource, input: &TestDeadLetters) -> Result<Trial> {
        let filter = LetterFilter {
            from: input.from,
            to: input.to,
            code: input.code.clone(),
            version: input.version,
            event: input.event_id.clone(),
            q: input.q.as_deref().map(str::to_lowercase),
        };
        filter.check()?;
        let mut trial = Trial::default();
        if let Some(ids) = &input.ids {
            if !filter.is_empty() || input.limit.is_some() {
                let detail = "name dead letters or say which by a filter, not both";
                return Err(Error::field("/ids", "not_together", detail));
            }
            for (place, sequence) in sequences(ids, MAX_LETTERS)?.into_iter().enumerate() {
                let found = self.dead_letter(datasource, sequence).await?;
                let unknown = || {
                    let pointer = format!("/ids/{place}");
                    Error::field(&pointer, "unknown_value", "there is no such dead letter")
                };
                trial.add(found.ok_or_else(unknown)?);
            }
            return Ok(trial);
        }
        let limit = match input.limit.unwrap_or(50) {
            limit @ 1..=100 => limit as usize,
            _ => return Err(Error::field("/limit", "out_of_range", "1 to 100 dead letters")),
        };
        let mut walk = Walk::new(self, datasource, filter, Place::Before(u64::MAX), BOUNDS);
        while let Some(page) = walk.next(limit - trial.letters.len()).await? {
            page.into_iter().for_each(|stored| trial.add(stored));
        }
        Ok(trial)
    }
}

/// Dead letters to try a mapping on.
#[derive(Default)]
struct Trial {
    /// The letters, without their bodies.
    letters: Vec<StoredDeadLetter>,
    /// Their events, each once and as many as have room; and which events they are.
    events: Vec<PastEvent>,
    tried: HashSet<String>,
    /// Bytes of the events' bodies.
    bytes: usize,
}

impl Trial {
    fn add(&mut self, mut stored: StoredDeadLetter) {
        let event = &mut stored.letter.event;
        let payload = std::mem::take(&mut event.payload);
        let has_room = self.bytes + payload.len() <= MAX_BYTES;
        if stored.letter.complete && has_room && self.tried.insert(event.id.to_string()) {
            self.bytes += payload.len();
            self.events.push(PastEvent {
                id: event.id.clone(),
                received_at: event.received_at,
                content_type: event.content_type.clone(),
                headers: event.headers.clone(),
                base64: BASE64.encode(&payload),
            });
        }
        self.letters.push(stored);
    }
}

fn result(letters: &[StoredDeadLetter], tried: &HashSet<String>, report: TestReport) -> DeadLetterTest {
    let mut result = DeadLetterTest::default();
    for stored in letters {
        let letter = &stored.letter;
        let found = tried
            .contains(letter.event.id.as_str())
            .then(|| decided(&report, stored))
            .flatten();
        let verdict = found.map(|record| record.verdict);
        let fixed = verdict.is_some_and(|verdict| verdict != Verdict::DeadLettered);
        match verdict {
            None => result.untried += 1,
            Some(_) if fixed => result.fixed += 1,
            Some(_) => result.failing += 1,
        }
        result.items.push(TriedDeadLetter {
            id: stored.sequence.to_string(),
            record: format!("{}/{}", letter.event.id, letter.index),
            fixed,
            verdict,
            failure: found.and_then(|record| record.failure.clone()),
        });
    }
    result.errors = report.errors;
    result.duration_ms = report.metrics.duration_ms;
    result
}

/// What decides about a letter: its own record. Where the whole event had failed, or is cut in another way now, the
/// worst of the event's records does, if the report tells of all of them.
fn decided<'r>(report: &'r TestReport, stored: &StoredDeadLetter) -> Option<&'r RecordVerdict> {
    let letter = &stored.letter;
    let pointer = &letter.failure.pointer;
    let whole = pointer.is_empty() || pointer.starts_with("/records");
    let own = format!("{}/{}", letter.event.id, letter.index);
    let records = &report.records;
    if let Some(record) = records.iter().find(|record| !whole && record.record == own) {
        return Some(record);
    }
    if report.is_cut(&letter.event.id) {
        return None;
    }
    let mut of_event = records
        .iter()
        .filter(|record| record.event() == letter.event.id.as_str());
    let first = of_event.next()?;
    let failed = |record: &&RecordVerdict| record.verdict == Verdict::DeadLettered;
    std::iter::once(first)
        .chain(of_event)
        .find(failed)
        .or(Some(first))
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{
        event::{DeadLetter, EventId, IngestEvent},
        id::OrganizationId,
    };

    use super::*;

    /// A letter of a record that failed at `pointer`.
    fn letter(event: &str, index: u32, pointer: &str) -> StoredDeadLetter {
        StoredDeadLetter {
            sequence: 1,
            letter: DeadLetter {
                event: IngestEvent {
                    id: EventId::from(event.to_owned()),
                    organization: OrganizationId::generate(),
                    datasource: DatasourceId::generate(),
                    received_at: Timestamp::default(),
                    content_type: None,
                    headers: std::collections::BTreeMap::new(),
                    attempt: 0,
                    replay: None,
                    payload: "{}".into(),
                },
                index,
                version: 1,
                failure: InputError::new(pointer, "missing", "nothing there"),
                failed_at: Timestamp::default(),
                complete: true,
            },
        }
    }

    /// What a test says of a letter, if the report tells these verdicts of so many records.
    fn tried(letter: StoredDeadLetter, told: &[(&str, Verdict)], records_in: u64) -> Option<Verdict> {
        let mut report = TestReport::default();
        report.metrics.records_in = records_in;
        report.records = told
            .iter()
            .map(|(record, verdict)| RecordVerdict {
                record: (*record).to_owned(),
                verdict: *verdict,
                objects: 0,
                failure: None,
            })
            .collect();
        let events = HashSet::from([letter.letter.event.id.to_string()]);
        let result = result(&[letter], &events, report);
        assert_eq!(result.fixed + result.failing + result.untried, 1);
        result.items[0].verdict
    }

    #[test]
    fn a_letter_whose_verdict_was_left_out_is_untried() {
        use Verdict::{DeadLettered, Delivered};
        let told = [("a/0", Delivered), ("a/1", Delivered), ("b/0", Delivered)];
        // Its own record decides.
        assert_eq!(tried(letter("b", 0, "/outputs/0"), &told, 9), Some(Delivered));
        // Of the last event, and of those behind it, records may be left out.
        assert_eq!(tried(letter("b", 1, "/outputs/0"), &told, 9), None);
        assert_eq!(tried(letter("b", 0, "/records"), &told, 9), None);
        assert_eq!(tried(letter("c", 0, "/outputs/0"), &told, 9), None);
        // An event of which all is told decides by its worst record.
        assert_eq!(tried(letter("a", 7, "/outputs/0"), &told, 9), Some(Delivered));
        assert_eq!(tried(letter("b", 1, "/outputs/0"), &told, 3), Some(Delivered));
        let failing = [("a/0", Delivered), ("a/1", DeadLettered), ("a/b/0", Delivered)];
        assert_eq!(tried(letter("a", 7, "/records"), &failing, 3), Some(DeadLettered));
        assert_eq!(tried(letter("a/b", 7, "/records"), &failing, 3), Some(Delivered));
    }
}
