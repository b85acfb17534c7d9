//! The mapping from outside: each feature of the contract, hostile payloads, properties, the sample files.

mod features;
mod hostile;
mod properties;
mod refusals;
mod reports;

use std::collections::BTreeMap;

use halcyon_domain::{
    clock::Timestamp,
    error::{InputError, from_value},
    event::EventId,
    id::DatasourceId,
    mapping::MappingSpec,
    ontology::{Alert, Entity, OntologyObject, Relationship},
};
use serde_json::{Value, json};

use crate::{CompiledMapping, EventResult, MappingContext, Outcome};

fn try_compile(spec: Value) -> Result<CompiledMapping, Vec<InputError>> {
    CompiledMapping::compile(&from_value::<MappingSpec>(spec).unwrap())
}

fn compile(spec: Value) -> CompiledMapping {
    try_compile(spec).unwrap()
}

/// A mapping with one alert output of these fields besides the needed ones.
fn alert_spec(fields: Value) -> Value {
    let mut all = json!({"external_id": "id", "title": {"value": "t"}, "time": {"value": 0}});
    for (name, field) in fields.as_object().unwrap() {
        all[name] = field.clone();
    }
    json!({"outputs": [{"kind": "alert", "fields": all}]})
}

fn received_at() -> Timestamp {
    "2025-01-02T03:04:05.678901Z".parse().unwrap()
}

fn run_with(mapping: &CompiledMapping, payload: &[u8], report: bool) -> EventResult {
    let event_id = EventId::from("event-1".to_owned());
    let headers = BTreeMap::from([("x-kind".to_owned(), "header".to_owned())]);
    let datasource = DatasourceId(uuid::Uuid::from_u128(7));
    let context = MappingContext {
        event_id: &event_id,
        received_at: received_at(),
        headers: &headers,
        datasource,
    };
    if report {
        mapping.map_with_report(payload, &context)
    } else {
        mapping.map(payload, &context)
    }
}

/// Maps, and sees to it that a report changes nothing about the result.
fn run(mapping: &CompiledMapping, payload: impl AsRef<[u8]>) -> EventResult {
    let result = run_with(mapping, payload.as_ref(), false);
    assert_eq!(result.records, run_with(mapping, payload.as_ref(), true).records);
    assert!(result.warnings.is_empty());
    result
}

fn outcomes(spec: Value, payload: Value) -> Vec<Outcome> {
    let result = run(&compile(spec), payload.to_string());
    result.records.into_iter().map(|record| record.outcome).collect()
}

fn objects(spec: Value, payload: Value) -> Vec<OntologyObject> {
    let mut all = Vec::new();
    for outcome in outcomes(spec, payload) {
        match outcome {
            Outcome::Delivered(objects) => all.extend(objects),
            Outcome::Filtered => {}
            Outcome::DeadLettered(failure) => panic!("dead letter: {failure} ({})", failure.code),
        }
    }
    all
}

fn alert(fields: Value, payload: Value) -> Alert {
    match objects(alert_spec(fields), payload).remove(0) {
        OntologyObject::Alert(alert) => alert,
        other => panic!("no alert: {other:?}"),
    }
}

fn failure(spec: Value, payload: Value) -> (String, String) {
    match outcomes(spec, payload).remove(0) {
        Outcome::DeadLettered(failure) => (failure.code, failure.pointer),
        other => panic!("no dead letter: {other:?}"),
    }
}

fn entity(object: &OntologyObject) -> &Entity {
    match object {
        OntologyObject::Entity(entity) => entity,
        other => panic!("no entity: {other:?}"),
    }
}

fn relationship(object: &OntologyObject) -> &Relationship {
    match object {
        OntologyObject::Relationship(link) => link,
        other => panic!("no relationship: {other:?}"),
    }
}
