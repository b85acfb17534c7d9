//! What a mapping made of events.

use halcyon_domain::{
    error::InputError,
    event::Verdict,
    ontology::OntologyObject,
    test_run::{RecordVerdict, TestDeadLetter, Warning},
};
use halcyon_mapping::{CompiledMapping, Outcome};

use crate::input::TestEvent;

/// The most warnings that are kept; a large payload has the same ones over and over.
const MAX_WARNINGS: usize = 1_000;
/// The most records whose verdicts are told one by one.
const MAX_VERDICTS: usize = 1_000;

/// What came out, over all events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) objects: Vec<OntologyObject>,
    pub(crate) verdicts: Vec<RecordVerdict>,
    pub(crate) dead_letters: Vec<TestDeadLetter>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) records: u64,
    pub(crate) filtered: u64,
}

impl Mapped {
    /// Maps events with a report.
    pub(crate) fn of(mapping: &CompiledMapping, events: &[TestEvent]) -> Self {
        let mut mapped = Self::default();
        for event in events {
            let result = mapping.map_with_report(&event.payload, &event.context());
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
