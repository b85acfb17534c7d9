//! What became of an event.

use halcyon_domain::{error::InputError, event::Verdict, ontology::OntologyObject, test_run::Warning};

/// What became of an event: at least one record, each with one outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct EventResult {
    /// The records, in order of their index.
    pub records: Vec<RecordResult>,
    /// What a user should look at; filled by [`crate::CompiledMapping::map_with_report`] only.
    pub warnings: Vec<Warning>,
}

impl EventResult {
    /// An event that fails as a whole: record 0 is dead-lettered.
    #[must_use]
    pub fn dead_lettered(failure: InputError) -> Self {
        let record = RecordResult {
            index: 0,
            outcome: Outcome::DeadLettered(failure),
        };
        Self {
            records: vec![record],
            warnings: Vec::new(),
        }
    }

    /// The number of objects of all records.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.records
            .iter()
            .map(|record| record.outcome.objects().len())
            .sum()
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordResult {
    /// The record's place in its event, from 0.
    pub index: u32,
    /// Its outcome.
    pub outcome: Outcome,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It became these objects, at least one.
    Delivered(Vec<OntologyObject>),
    /// The filter said no, or no output applied.
    Filtered,
    /// It could not be mapped. The pointer leads to the part of the mapping that failed; it is empty when the
    /// payload itself could not be read.
    DeadLettered(InputError),
}

impl Outcome {
    /// The verdict that is counted.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Delivered(_) => Verdict::Delivered,
            Self::Filtered => Verdict::Filtered,
            Self::DeadLettered(_) => Verdict::DeadLettered,
        }
    }

    /// The objects it became.
    #[must_use]
    pub fn objects(&self) -> &[OntologyObject] {
        match self {
            Self::Delivered(objects) => objects,
            Self::Filtered | Self::DeadLettered(_) => &[],
        }
    }
}
