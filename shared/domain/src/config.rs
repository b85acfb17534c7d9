//! The configuration of a version: connection, schedule, mapping, runtime options and stored tests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    duration::HumanDuration,
    error::{InputError, escape, from_value},
    lifecycle::states,
    mapping::MappingSpec,
    schedule::Schedule,
    shape::Expected,
};

/// The configuration of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionConfig {
    /// How to reach or be reached by the feed; its shape is the connector's JSON Schema.
    #[serde(default = "empty_object")]
    pub connection: Value,
    /// When to fetch; only for connectors that fetch on a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What payloads become.
    #[serde(default)]
    pub mapping: MappingSpec,
    /// How to run it.
    #[serde(default)]
    pub runtime: RuntimeOptions,
    /// What records are expected to be like, and what happens when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaOptions>,
    /// Tests that must pass before a publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<StoredTest>,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

impl VersionConfig {
    /// Reads a configuration; the error's pointer is relative to it.
    ///
    /// # Errors
    /// The first field that does not fit, or a rule that spans fields.
    pub fn parse(config: &Value) -> Result<Self, InputError> {
        let config: Self = from_value(config.clone())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), InputError> {
        if !self.connection.is_object() {
            return Err(InputError::new(
                "/connection",
                "invalid",
                "the connection is an object",
            ));
        }
        if let Some(schedule) = &self.schedule {
            schedule.check().map_err(|error| error.under("/schedule"))?;
        }
        let runtime = &self.runtime;
        if runtime.batch.max_records == 0 || runtime.batch.max_records > 10_000 {
            let detail = "a batch holds 1 to 10,000 records";
            return Err(InputError::new(
                "/runtime/batch/max_records",
                "out_of_range",
                detail,
            ));
        }
        if runtime.batch.max_wait > MAX_WAIT {
            let detail = "a batch waits for at most 1 minute";
            return Err(InputError::new("/runtime/batch/max_wait", "out_of_range", detail));
        }
        runtime
            .retry
            .check()
            .map_err(|error| error.under("/runtime/retry"))?;
        if !(1..=64).contains(&runtime.parallelism) {
            let detail = "the parallelism is between 1 and 64";
            return Err(InputError::new("/runtime/parallelism", "out_of_range", detail));
        }
        check_labels(&runtime.worker_labels)?;
        if let Some(schema) = &self.schema {
            schema.check().map_err(|error| error.under("/schema"))?;
        }
        match &runtime.throttle {
            Some(throttle) if throttle.records_per_second == 0 => {
                let detail = "at least one record per second; stop the datasource to let none through";
                Err(InputError::new(
                    "/runtime/throttle/records_per_second",
                    "out_of_range",
                    detail,
                ))
            }
            _ => Ok(()),
        }
    }
}

states! {
    /// What happens when records are not what is expected.
    DriftPolicy {
        /// Nothing.
        Ignore = "ignore",
        /// The datasource's history tells it, and all goes on.
        Warn = "warn",
        /// The datasource's history tells it, and the datasource stops before such a record; nothing is lost.
        Stop = "stop",
    }
}

/// What records are expected to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaOptions {
    /// What happens when records are not.
    pub drift: DriftPolicy,
    /// What each record is like, as JSON Schema: `type`, `properties`, `required`, `items` and `additionalProperties`
    /// count. A field that is not named is new, unless `additionalProperties` allows it. What is learned from samples
    /// can be taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
}

impl SchemaOptions {
    /// What is expected, if drift matters.
    ///
    /// # Errors
    /// It is missing, or no JSON Schema; the pointer is relative to these options.
    pub fn compile(&self) -> Result<Option<Expected>, InputError> {
        match (&self.expected, self.drift) {
            (Some(schema), _) => {
                let expected = Expected::compile(schema).map_err(|error| error.under("/expected"))?;
                Ok((self.drift != DriftPolicy::Ignore).then_some(expected))
            }
            (None, DriftPolicy::Ignore) => Ok(None),
            (None, DriftPolicy::Warn | DriftPolicy::Stop) => {
                let detail = "say what records are expected to be like; samples tell (`.../samples/schema`)";
                Err(InputError::new("/expected", "required", detail))
            }
        }
    }

    fn check(&self) -> Result<(), InputError> {
        self.compile().map(|_| ())
    }
}

/// How to run a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeOptions {
    /// How records are gathered.
    pub batch: BatchOptions,
    /// How fast records may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// How failures are tried again.
    pub retry: RetryOptions,
    /// On how many partitions a push datasource's events travel, and in how many instances, each on a worker of its
    /// own, a source runs whose connector can share its feed (1 to 64).
    pub parallelism: u16,
    /// Labels that a worker must have to run it; none is any worker of the default pool. For a push datasource it is
    /// one label, the name of a pool that has partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worker_labels: Vec<String>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            batch: BatchOptions::default(),
            throttle: None,
            retry: RetryOptions::default(),
            parallelism: 1,
            worker_labels: Vec::new(),
        }
    }
}

/// The most labels that a datasource may ask for.
const MAX_LABELS: usize = 8;

/// Whether `label` can be a worker's label: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[must_use]
pub fn is_label(label: &str) -> bool {
    let first = label.bytes().next();
    label.len() <= 63
        && first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

fn check_labels(labels: &[String]) -> Result<(), InputError> {
    const FIELD: &str = "/runtime/worker_labels";
    if labels.len() > MAX_LABELS {
        let detail = format!("at most {MAX_LABELS} labels");
        return Err(InputError::new(FIELD, "too_many", detail));
    }
    for (place, label) in labels.iter().enumerate() {
        let pointer = format!("{FIELD}/{place}");
        if !is_label(label) {
            let detail = "a label has 1 to 63 of `a-z 0-9 - _ .` and begins with a letter or digit";
            return Err(InputError::new(pointer, "invalid", detail));
        }
        if labels.iter().take(place).any(|earlier| earlier == label) {
            return Err(InputError::new(pointer, "invalid", "the label is there twice"));
        }
    }
    Ok(())
}

/// The longest that a batch may wait.
const MAX_WAIT: HumanDuration = HumanDuration::from_secs(60);

/// How records are gathered into batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// At most so many records (1 to 10,000).
    pub max_records: u32,
    /// At most so long; not above 1 minute.
    pub max_wait: HumanDuration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            max_records: 500,
            max_wait: HumanDuration::from_millis(100),
        }
    }
}

/// How fast records may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Records per second, at least 1.
    pub records_per_second: u32,
}

/// How transient failures are tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryOptions {
    /// So many attempts before the circuit opens (1 to 1,000).
    pub max_attempts: u32,
    /// The first pause: 100 ms to 1 hour.
    pub initial: HumanDuration,
    /// The longest pause: not below the first, and not above 1 day.
    pub max: HumanDuration,
}

impl RetryOptions {
    fn check(&self) -> Result<(), InputError> {
        const FIRST: std::ops::RangeInclusive<HumanDuration> =
            HumanDuration::from_millis(100)..=HumanDuration::from_secs(3_600);
        const DAY: HumanDuration = HumanDuration::from_secs(86_400);
        let (field, detail) = if !(1..=1_000).contains(&self.max_attempts) {
            ("/max_attempts", "between 1 and 1,000 attempts")
        } else if !FIRST.contains(&self.initial) {
            ("/initial", "the first pause is between 100 ms and 1 hour")
        } else if self.max < self.initial || self.max > DAY {
            (
                "/max",
                "the longest pause is not below the first and not above 1 day",
            )
        } else {
            return Ok(());
        };
        Err(InputError::new(field, "out_of_range", detail))
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            initial: HumanDuration::from_secs(1),
            max: HumanDuration::from_secs(300),
        }
    }
}

/// A test that is stored with the version and runs at publish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredTest {
    /// What it shows.
    pub name: String,
    /// The payload to map: any JSON value; a text is taken as the raw body.
    pub payload: Value,
    /// What must come out; see the test-runner's documentation of expectations.
    #[serde(default = "empty_object")]
    pub expect: Value,
}

/// The key of a reference to a secret: `{"$secret": "name"}`.
pub const SECRET_KEY: &str = "$secret";

/// A reference to a secret, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Where: a JSON pointer.
    pub pointer: String,
    /// The secret's name.
    pub name: String,
}

/// Every reference to a secret within `value`.
#[must_use]
pub fn secret_refs(value: &Value) -> Vec<SecretRef> {
    let mut found = Vec::new();
    collect_refs(value, &mut String::new(), &mut found);
    found
}

fn collect_refs(value: &Value, pointer: &mut String, found: &mut Vec<SecretRef>) {
    let length = pointer.len();
    match value {
        Value::Object(object) => {
            if let (1, Some(Value::String(name))) = (object.len(), object.get(SECRET_KEY)) {
                found.push(SecretRef {
                    pointer: pointer.clone(),
                    name: name.clone(),
                });
                return;
            }
            for (key, item) in object {
                pointer.push('/');
                pointer.push_str(&escape(key));
                collect_refs(item, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                collect_refs(item, pointer, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// Whether `name` can name a secret: 1 to 64 of `a-z A-Z 0-9 _ -`.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
