//! What a mapping made of events.

use std::time::Instant;

use halcyon_domain::{
    error::InputError,
    event::Verdict,
    ontology::OntologyObject,
    test_run::{RecordVerdict, TestDeadLetter, Warning},
};
use halcyon_mapping::{EventResult, Outcome};
use halcyon_sandbox::{Mapping, Pool};

use crate::{input::TestEvent, plan::Plan};

/// The most warnings that are kept; a large payload has the same ones over and over.
const MAX_WARNINGS: usize = 1_000;
/// The most records whose verdicts are told one by one.
const MAX_VERDICTS: usize = 1_000;

/// Why an event was not mapped by a script.
const NO_TIME: &str = "the test run had no time or memory left for the event";

/// What came out, over all events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) objects: Vec<OntologyObject>,
    pub(crate) verdicts: Vec<RecordVerdict>,
    pub(crate) dead_letters: Vec<TestDeadLetter>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) records: u64,
    pub(crate) filtered: u64,
    /// What a script logged.
    pub(crate) logs: Vec<String>,
    /// The most memory that a script's process had, in bytes.
    pub(crate) peak_memory: u64,
}

impl Mapped {
    /// Maps events with a report. A script begins no further ones after `until`.
    pub(crate) fn of(plan: &Plan, events: &[TestEvent], until: Instant) -> Self {
        let mut mapped = Self::default();
        for (event, result) in events.iter().zip(mapped.results(plan, events, until)) {
            for record in result.records {
                mapped.records += 1;
                mapped.verdict(event, record.index, &record.outcome);
                match record.outcome {
                    Outcome::Delivered(objects) => mapped.objects.extend(objects),
                    Outcome::Filtered => mapped.filtered += 1,
                    Outcome::DeadLettered(failure) => mapped.dead_letter(event, record.index, failure),
                }
            }
            for warning in result.warnings {
                if mapped.warnings.len() < MAX_WARNINGS && !mapped.warnings.contains(&warning) {
                    mapped.warnings.push(warning);
                }
            }
        }
        mapped
    }

    fn verdict(&mut self, event: &TestEvent, index: u32, outcome: &Outcome) {
        if self.verdicts.len() >= MAX_VERDICTS {
            return;
        }
        let failure = match outcome {
            Outcome::DeadLettered(failure) => Some(failure.clone()),
            Outcome::Delivered(_) | Outcome::Filtered => None,
        };
        self.verdicts.push(RecordVerdict {
            record: format!("{}/{index}", event.id),
            verdict: outcome.verdict(),
            objects: u32::try_from(outcome.objects().len()).unwrap_or(u32::MAX),
            failure,
        });
    }

    /// What becomes of each event.
    fn results(&mut self, plan: &Plan, events: &[TestEvent], until: Instant) -> Vec<EventResult> {
        let (mapping, script) = match &*plan.mapping {
            Mapping::Outputs(mapping) => {
                let each = |event: &TestEvent| mapping.map_with_report(&event.payload, &event.context());
                return events.iter().map(each).collect();
            }
            Mapping::Script(mapping, script) => (mapping, script),
        };
        let inputs = events.iter().map(|event| (&event.payload[..], event.context()));
        let run = |scripts: &Pool| {
            scripts
                .map(script, mapping, inputs, Some(until))
                .map_err(|error| error.to_string())
        };
        let ran = match &plan.scripts {
            // At least one event would be mapped.
            Some(_) if Instant::now() >= until => Err(NO_TIME.to_owned()),
            Some(scripts) => run(scripts),
            None => Err("scripts cannot be run here".to_owned()),
        };
        let unavailable =
            |why: String| EventResult::dead_lettered(InputError::new("/script", "script_unavailable", why));
        match ran {
            Ok(mut ran) => {
                let line = |(place, line): (usize, String)| match events.get(place) {
                    Some(event) => format!("{}: {line}", event.id),
                    None => line,
                };
                self.logs = ran.logs.into_iter().map(line).collect();
                self.peak_memory = ran.peak_memory;
                ran.results
                    .resize_with(events.len(), || unavailable(NO_TIME.to_owned()));
                ran.results
            }
            Err(why) => vec![unavailable(why); events.len()],
        }
    }

    fn dead_letter(&mut self, event: &TestEvent, index: u32, failure: InputError) {
        let record = format!("{}/{index}", event.id);
        self.dead_letters.push(TestDeadLetter { record, failure });
    }

    /// How many records had a verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> u64 {
        let dead = self.dead_letters.len() as u64;
        match verdict {
            Verdict::Filtered => self.filtered,
            Verdict::DeadLettered => dead,
            Verdict::Delivered => self.records - self.filtered - dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use halcyon_domain::{event::EventId, id::DatasourceId};
    use halcyon_sandbox::{Program, Settings};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_script_begins_nothing_after_its_time() {
        let nowhere = Program::halcyon("/nowhere/halcyon".into());
        let config = json!({
            "connection": {"auth": {"type": "none"}},
            "mapping": {"script": {"language": "javascript", "source": "const map = () => null;"}},
        });
        let scripts = Pool::new(nowhere, Settings::default());
        let plan = Plan::read("http_webhook", DatasourceId::generate(), &config, Some(&scripts));
        let event = TestEvent {
            id: EventId::generate(),
            received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            headers: Default::default(),
            datasource: DatasourceId::generate(),
            payload: "{}".into(),
        };
        let (plan, events, now) = (plan.unwrap(), [event.clone(), event], Instant::now());
        let details = |until| -> Vec<String> {
            let dead_letters = Mapped::of(&plan, &events, until).dead_letters;
            dead_letters.into_iter().map(|dead| dead.failure.detail).collect()
        };
        assert_eq!(details(now), [NO_TIME; 2]);
        // Before, a process is asked for; there is none to be had.
        let asked = details(now + Duration::from_secs(3_600));
        assert!(
            asked.len() == 2 && asked.iter().all(|detail| detail != NO_TIME),
            "{asked:?}"
        );
    }
}
