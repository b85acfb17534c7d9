//! The corpus of hostile expressions (`tests/hostile/expressions`). They are not scripts: they run in the process that
//! maps, under the limits of `halcyon_mapping::limits`, and these have to end each of them well before the deadline of
//! a script. A file says which codes may come of it; texts such as `@list:1000` in its payload stand for large values.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and says how long each script took"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use halcyon_domain::{error::from_value, event::EventId, id::DatasourceId, mapping::MappingSpec};
use halcyon_mapping::{CompiledMapping, MappingContext, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};

/// Not a measure, which a busy machine would spoil, but a sign of what has no bound.
const ENDLESS: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hostile {
    #[serde(rename = "about")]
    _about: String,
    expect: Vec<String>,
    mapping: Value,
    payload: Value,
}

fn grown(value: Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix('@').and_then(|text| text.split_once(':')) {
            Some((what, size)) => large(what, size),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(grown).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, grown(value)))
            .collect(),
        value => value,
    }
}

fn large(what: &str, size: &str) -> Value {
    let digits = size.trim_end_matches('b');
    let count: usize = digits.parse().unwrap();
    match what {
        "list" => (0..count).map(Value::from).collect(),
        "objects" => (0..count)
            .map(|n| json!({"a": n, "b": "aaaaaaaaaaaaaaaaaaaaaaaaab"}))
            .collect(),
        "members" => Value::Object(
            (0..count)
                .map(|n| (format!("name {n}"), Value::from(n)))
                .collect(),
        ),
        "text" => Value::String("a".repeat(count) + &size[digits.len()..]),
        "nest" => (0..count).fold(json!(1), |inner, _| json!({"a": inner})),
        other => panic!("what is @{other}?"),
    }
}

/// The word for how it ended.
fn run(hostile: &Hostile) -> String {
    let spec: MappingSpec = from_value(hostile.mapping.clone()).unwrap();
    let mapping = match CompiledMapping::compile(&spec) {
        Ok(mapping) => mapping,
        Err(errors) => return errors[0].code.clone(),
    };
    let payload = grown(hostile.payload.clone()).to_string();
    let (id, headers) = (EventId::generate(), BTreeMap::new());
    let context = MappingContext {
        event_id: &id,
        received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        headers: &headers,
        datasource: DatasourceId::generate(),
    };
    match mapping
        .map(payload.as_bytes(), &context)
        .records
        .swap_remove(0)
        .outcome
    {
        Outcome::DeadLettered(failure) => failure.code,
        outcome => outcome.verdict().to_string(),
    }
}

#[test]
fn every_hostile_expression_ends() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/hostile/expressions");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "the corpus has {}", paths.len());
    let mut faults = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let hostile: Hostile = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let began = Instant::now();
        let ended = run(&hostile);
        let took = began.elapsed();
        eprintln!("{name:28} {ended:20} {took:?}");
        if !hostile.expect.contains(&ended) || took > ENDLESS {
            faults.push(format!("{name} ended with {ended} after {took:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
