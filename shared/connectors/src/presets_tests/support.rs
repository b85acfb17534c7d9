//! A preset, its sample file, and its stored tests.

use std::collections::BTreeMap;

use crate::vendor_presets;
use chrono::{DateTime, Utc};
use halcyon_domain::{
    error::from_value, event::EventId, id::DatasourceId, mapping::MappingSpec, ontology::OntologyObject,
};
use halcyon_mapping::{CompiledMapping, MappingContext, Outcome};
use serde_json::Value;

/// When the events of these tests were accepted: later than all of them happened.
pub(super) fn received_at() -> DateTime<Utc> {
    DateTime::from_timestamp(4_000_000_000, 0).unwrap()
}

/// A point in time as the vendors write it: RFC 3339, with a space and without an offset, or since 1970.
pub(super) fn time(text: &str) -> DateTime<Utc> {
    let micros = |time: DateTime<Utc>| DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap();
    if text.contains('-') {
        let zoned = if text.ends_with('Z') {
            text.to_owned()
        } else {
            format!("{text}Z")
        };
        return micros(
            zoned
                .replacen(' ', "T", 1)
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}")),
        );
    }
    let number: f64 = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let seconds = if number < 1e11 { number } else { number / 1e3 };
    DateTime::from_timestamp_millis((seconds * 1e3).round() as i64).unwrap()
}

/// A preset's mapping and the events of its file.
pub(super) struct Sample {
    mapping: CompiledMapping,
    pub(super) events: Vec<Value>,
}

/// What an event became.
pub(super) struct Mapped {
    pub(super) index: usize,
    pub(super) objects: Vec<OntologyObject>,
}

impl Sample {
    pub(super) fn of(preset: &str) -> Self {
        let path = format!(
            "{}/../../tests/samples/{preset}.ndjson",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let events = text.lines().filter(|line| !line.trim().is_empty());
        let events = events.map(|line| serde_json::from_str(line).unwrap()).collect();
        let preset = vendor_presets()
            .iter()
            .find(|found| found.id == preset)
            .expect("a preset");
        let spec: MappingSpec =
            from_value(preset.mapping.clone()).unwrap_or_else(|e| panic!("{}: {e:?}", preset.id));
        let mapping =
            CompiledMapping::compile(&spec).unwrap_or_else(|errors| panic!("{}: {errors:#?}", preset.id));
        Self { mapping, events }
    }

    /// Maps one event; a dead letter fails the test.
    pub(super) fn map(&self, index: usize, event: &Value) -> Mapped {
        let id = EventId::from(format!("event-{index}"));
        let context = MappingContext {
            event_id: &id,
            received_at: received_at(),
            headers: &BTreeMap::new(),
            datasource: DatasourceId::generate(),
        };
        let result = self.mapping.map(event.to_string().as_bytes(), &context);
        let mut objects = Vec::new();
        for record in result.records {
            match record.outcome {
                Outcome::Delivered(made) => objects.extend(made),
                other => panic!("event {index}: {other:?}\n{event}"),
            }
        }
        Mapped { index, objects }
    }
}

/// A stored test: a payload, and what must come out.
pub(super) struct Expectation<'t> {
    name: &'t str,
    test: &'t Value,
}

impl<'t> Expectation<'t> {
    pub(super) fn of(test: &'t Value) -> Self {
        Self {
            name: test["name"].as_str().unwrap(),
            test,
        }
    }

    pub(super) fn check(&self, sample: &Sample) {
        let made = sample.map(0, &self.test["payload"]).objects;
        let made: Vec<Value> = made
            .iter()
            .map(|object| serde_json::to_value(object).unwrap())
            .collect();
        let expect = &self.test["expect"];
        for (kind, count) in expect["counts"].as_object().into_iter().flatten() {
            let found = made.iter().filter(|object| object["kind"] == **kind).count();
            assert_eq!(Some(found as u64), count.as_u64(), "{}: {kind}", self.name);
        }
        for wanted in expect["outputs"].as_array().into_iter().flatten() {
            assert!(
                made.iter().any(|object| within(wanted, object)),
                "{}: no {wanted} in {made:#?}",
                self.name
            );
        }
    }
}

/// Whether `wanted` is a part of `found`; times are equal as instants.
fn within(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| within(value, found))),
        (Value::String(wanted), Value::String(found)) if wanted != found => {
            let instant = |text: &str| text.parse::<DateTime<Utc>>().ok();
            instant(wanted).is_some() && instant(wanted) == instant(found)
        }
        _ => wanted == found,
    }
}
