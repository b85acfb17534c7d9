//! A test run: a connector's configuration and mapping tried on a payload, with no effect on production.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    assignment::LogLine,
    clock::Timestamp,
    error::InputError,
    event::{EventId, Verdict},
    id::{DatasourceId, OrganizationId},
    lifecycle::states,
    ontology::{ObjectKind, OntologyObject},
};

/// What a test-runner is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestJob {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The connector's type.
    pub connector: String,
    /// The configuration to try.
    pub config: Value,
    /// The configuration to compare with.
    pub compare_with: Option<Value>,
    /// What to map.
    pub input: TestInput,
    /// Whether to run the configuration's stored tests, too.
    pub run_stored_tests: bool,
    /// Shown to the registry for the secrets the configuration names; nothing if it names none.
    pub ticket: Option<String>,
}

/// What a test maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TestInput {
    /// Nothing: only checks and stored tests.
    None,
    /// A body, as text.
    Payload {
        /// The body.
        body: String,
        /// Its media type.
        content_type: Option<String>,
    },
    /// A body that is no text.
    Bytes {
        /// The body in base64.
        base64: String,
        /// Its media type.
        content_type: Option<String>,
    },
    /// Events that came in before: those of dead letters.
    Events {
        /// The events, as they came in.
        events: Vec<PastEvent>,
    },
    /// So many records fetched from the live source.
    FetchSample {
        /// How many.
        records: u32,
    },
}

/// An event that came in before, with all that its mapping may look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEvent {
    /// Its identifier.
    pub id: EventId,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The body's media type, as sent.
    pub content_type: Option<String>,
    /// The headers that were kept.
    pub headers: BTreeMap<String, String>,
    /// The body in base64.
    pub base64: String,
}

/// What became of one record of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordVerdict {
    /// The record, `event/index`.
    pub record: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// How many objects it became.
    pub objects: u32,
    /// Why it could not be mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<InputError>,
}

/// A record of which two configurations decide differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedVerdict {
    /// The record, `event/index`.
    pub record: String,
    /// The compared configuration's verdict; nothing where it has no such record.
    pub before: Option<Verdict>,
    /// The tried configuration's verdict; nothing where it has no such record.
    pub after: Option<Verdict>,
}

/// Something a user should look at; it stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Where: a JSON pointer into the payload (`unmapped`) or into the mapping.
    pub pointer: String,
    /// A word for programs: `unmapped`, `missing`, `mistyped`, `secret_missing`...
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

states! {
    /// How a check ended.
    CheckStatus {
        /// Well.
        Passed = "passed",
        /// Badly.
        Failed = "failed",
        /// Not at all, because an earlier one failed or it does not apply.
        Skipped = "skipped",
    }
}

/// A named check of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// What was checked, such as `secret` or `connect`.
    pub name: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A record that could not be mapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestDeadLetter {
    /// The record, `event/index`.
    pub record: String,
    /// What was wrong.
    pub failure: InputError,
}

/// What a test measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestMetrics {
    /// How long it took.
    pub duration_ms: f64,
    /// Records that went in.
    pub records_in: u64,
    /// Records that were filtered.
    pub records_filtered: u64,
    /// Objects that came out.
    pub records_out: u64,
    /// The most memory that the process had used, in bytes.
    pub peak_memory_bytes: u64,
}

/// An object that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedObject {
    /// Its kind.
    pub kind: ObjectKind,
    /// What identifies it: an alert's `external_id`, an entity's `type/key`...
    pub key: String,
    /// What changed: a JSON Patch (RFC 6902) from the compared configuration's object to the tried one's.
    pub patch: Value,
}

/// What the tried configuration makes of the payload against the compared one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Objects that only the tried configuration makes.
    pub added: Vec<OntologyObject>,
    /// Objects that only the compared configuration makes.
    pub removed: Vec<OntologyObject>,
    /// Objects that both make, differently.
    pub changed: Vec<ChangedObject>,
    /// Records that have another verdict.
    #[serde(default)]
    pub verdicts: Vec<ChangedVerdict>,
    /// What the compared configuration makes, beside the report's `outputs`.
    #[serde(default)]
    pub outputs: Vec<OntologyObject>,
    /// The records that the compared configuration could not map.
    #[serde(default)]
    pub dead_letters: Vec<TestDeadLetter>,
}

/// How a stored test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredTestResult {
    /// Its name.
    pub name: String,
    /// Whether what came out is what was expected.
    pub passed: bool,
    /// Where it differs: pointers into `expect`.
    pub failures: Vec<InputError>,
}

/// What a test-runner answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TestReport {
    /// Whether nothing failed: no dead letter, no failed check, no red stored test, no error in the input.
    pub ok: bool,
    /// The objects that came out.
    pub outputs: Vec<OntologyObject>,
    /// The verdict of each record, of the first thousand.
    pub records: Vec<RecordVerdict>,
    /// The records that could not be mapped.
    pub dead_letters: Vec<TestDeadLetter>,
    /// What a user should look at.
    pub warnings: Vec<Warning>,
    /// What the run said.
    pub logs: Vec<LogLine>,
    /// What it measured.
    pub metrics: TestMetrics,
    /// The difference to the compared configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// The connector's named checks.
    pub checks: Vec<CheckResult>,
    /// The stored tests' results.
    pub tests: Vec<StoredTestResult>,
    /// What is wrong with the configuration itself; nothing was run then.
    pub errors: Vec<InputError>,
}

impl RecordVerdict {
    /// The identifier of the record's event.
    #[must_use]
    pub fn event(&self) -> &str {
        self.record
            .rsplit_once('/')
            .map_or(self.record.as_str(), |(event, _)| event)
    }
}

impl TestReport {
    /// Whether verdicts of an event's records are left out. Verdicts stand in the order of the events; the last ones
    /// are left out where there are many, or where the report would be too large.
    #[must_use]
    pub fn is_cut(&self, event: &EventId) -> bool {
        let left_out = (self.records.len() as u64) < self.metrics.records_in;
        let of = |record: &RecordVerdict| record.event() == event.as_str();
        left_out && (self.records.last().is_none_or(of) || !self.records.iter().any(of))
    }
}
