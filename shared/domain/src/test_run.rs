//! A test run: a connector's configuration and mapping tried on a payload, with no effect on production.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    assignment::LogLine,
    error::InputError,
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
    /// So many records fetched from the live source.
    FetchSample {
        /// How many.
        records: u32,
    },
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
