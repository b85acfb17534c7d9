//! What a stored test expects. `expect` is an object of these members, each of them optional:
//!
//! | member | holds when |
//! |---|---|
//! | `outputs: [{"kind", "object"}]` | for each there is an output of that kind that contains `object` |
//! | `alerts`, `entities`, `relationships: [object]` | the same, by kind |
//! | `counts: {"alert": 1}` | exactly so many outputs of each kind that is named |
//! | `verdict: "delivered" \| "filtered" \| "dead_lettered"` | there is a record, and every record has this verdict |
//! | `dead_letters: n`, `filtered: n` | exactly so many records have this verdict |
//!
//! An object contains another if each member of that one is in it, recursively; arrays and single values have to
//! be equal, points in time as instants. `{}` expects that everything is mapped without a dead letter; so does every
//! `expect` that mentions neither `verdict` nor `dead_letters`. Pointers of failures lead into `expect`.

use chrono::DateTime;
use halcyon_domain::{
    error::{InputError, escape},
    event::Verdict,
    ontology::{ObjectKind, OntologyObject},
};
use serde_json::{Map, Value};

use crate::outcome::Mapped;

/// Where an outcome differs from what is expected; empty if it does not.
pub(crate) fn failures(expect: &Value, mapped: &Mapped) -> Vec<InputError> {
    let Some(expect) = expect.as_object() else {
        return vec![InputError::new("", "type", "`expect` is an object")];
    };
    let objects: Vec<(ObjectKind, Value)> = mapped
        .objects
        .iter()
        .map(|object| (object.kind(), content(object)))
        .collect();
    let mut found = Vec::new();
    for (name, value) in expect {
        let at = format!("/{}", escape(name));
        match name.as_str() {
            "outputs" => outputs(value, &at, &objects, &mut found),
            "alerts" => contained(value, &at, ObjectKind::Alert, &objects, &mut found),
            "entities" => contained(value, &at, ObjectKind::Entity, &objects, &mut found),
            "relationships" => contained(value, &at, ObjectKind::Relationship, &objects, &mut found),
            "counts" => counts(value, &at, &objects, &mut found),
            "verdict" => verdict(value, &at, mapped, &mut found),
            "dead_letters" => number(value, &at, mapped.count(Verdict::DeadLettered), &mut found),
            "filtered" => number(value, &at, mapped.count(Verdict::Filtered), &mut found),
            _ => found.push(InputError::new(
                at,
                "unknown_field",
                format!("nothing can be expected of `{name}`"),
            )),
        }
    }
    if !expect.contains_key("verdict") && !expect.contains_key("dead_letters") {
        for letter in &mapped.dead_letters {
            let failure = &letter.failure;
            let detail = format!("record {} was dead-lettered: {failure}", letter.record);
            found.push(InputError::new("", "dead_lettered", detail));
        }
    }
    found
}

fn content(object: &OntologyObject) -> Value {
    match serde_json::to_value(object) {
        Ok(Value::Object(mut parts)) => parts.remove("object").unwrap_or_default(),
        _ => Value::Null,
    }
}

fn list<'v>(value: &'v Value, at: &str, found: &mut Vec<InputError>) -> &'v [Value] {
    value.as_array().map_or_else(
        || {
            found.push(InputError::new(at, "type", "a list is expected here"));
            &[][..]
        },
        Vec::as_slice,
    )
}

fn outputs(value: &Value, at: &str, objects: &[(ObjectKind, Value)], found: &mut Vec<InputError>) {
    for (index, wanted) in list(value, at, found).iter().enumerate() {
        let at = format!("{at}/{index}");
        let kind = serde_json::from_value::<ObjectKind>(wanted["kind"].clone());
        let extra = wanted
            .as_object()
            .is_none_or(|parts| parts.keys().any(|key| key != "kind" && key != "object"));
        match kind {
            Ok(kind) if !extra => one(&wanted["object"], &format!("{at}/object"), kind, objects, found),
            _ => {
                let detail =
                    "an expected output is {\"kind\": \"alert|entity|relationship\", \"object\": {...}}";
                found.push(InputError::new(at, "invalid", detail));
            }
        }
    }
}

fn contained(
    value: &Value,
    at: &str,
    kind: ObjectKind,
    objects: &[(ObjectKind, Value)],
    found: &mut Vec<InputError>,
) {
    for (index, wanted) in list(value, at, found).iter().enumerate() {
        one(wanted, &format!("{at}/{index}"), kind, objects, found);
    }
}

/// Looks for one expected object; if there is none, says how the nearest one differs.
fn one(
    wanted: &Value,
    at: &str,
    kind: ObjectKind,
    objects: &[(ObjectKind, Value)],
    found: &mut Vec<InputError>,
) {
    let empty = Value::Object(Map::new());
    let wanted = if wanted.is_null() { &empty } else { wanted };
    let candidates = objects.iter().filter(|(other, _)| *other == kind);
    let differences = candidates.map(|(_, object)| {
        let mut differences = Vec::new();
        differ(wanted, Some(object), at, &mut differences);
        differences
    });
    match differences.min_by_key(Vec::len) {
        Some(differences) => found.extend(differences),
        None => found.push(InputError::new(at, "missing", format!("no {kind} came out"))),
    }
}

/// Adds where `wanted` is not contained in `actual`.
fn differ(wanted: &Value, actual: Option<&Value>, at: &str, found: &mut Vec<InputError>) {
    match (wanted, actual) {
        (Value::Object(wanted), Some(Value::Object(actual))) => {
            for (name, wanted) in wanted {
                differ(wanted, actual.get(name), &format!("{at}/{}", escape(name)), found);
            }
        }
        // Expecting null is expecting nothing.
        (Value::Null, None) => {}
        (wanted, Some(actual)) if same(wanted, actual) => {}
        (wanted, actual) => {
            let actual = actual.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let detail = format!("expected {wanted}, the nearest output has {actual}");
            found.push(InputError::new(at, "differs", detail));
        }
    }
}

/// Whether both are points in time (RFC 3339), and the same one.
fn same_instant(wanted: &str, actual: &str) -> bool {
    let instant = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    instant(wanted).is_some_and(|wanted| instant(actual) == Some(wanted))
}

fn same(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::String(wanted), Value::String(actual)) => wanted == actual || same_instant(wanted, actual),
        (Value::Number(wanted), Value::Number(actual)) => {
            wanted == actual || wanted.as_f64() == actual.as_f64()
        }
        _ => wanted == actual,
    }
}

fn counts(value: &Value, at: &str, objects: &[(ObjectKind, Value)], found: &mut Vec<InputError>) {
    let Some(counts) = value.as_object() else {
        found.push(InputError::new(
            at,
            "type",
            "an object of numbers by kind is expected here",
        ));
        return;
    };
    for (name, value) in counts {
        let at = format!("{at}/{}", escape(name));
        match serde_json::from_value::<ObjectKind>(Value::String(name.clone())) {
            Ok(kind) => {
                let count = objects.iter().filter(|(other, _)| *other == kind).count();
                number(value, &at, count as u64, found);
            }
            Err(_) => found.push(InputError::new(
                at,
                "unknown_field",
                format!("there is no kind `{name}`"),
            )),
        }
    }
}

fn number(value: &Value, at: &str, actual: u64, found: &mut Vec<InputError>) {
    if value.as_u64() != Some(actual) {
        found.push(InputError::new(
            at,
            "differs",
            format!("expected {value}, got {actual}"),
        ));
    }
}

fn verdict(value: &Value, at: &str, mapped: &Mapped, found: &mut Vec<InputError>) {
    let Ok(verdict) = serde_json::from_value::<Verdict>(value.clone()) else {
        let detail = "a verdict is `delivered`, `filtered` or `dead_lettered`";
        found.push(InputError::new(at, "unknown_value", detail));
        return;
    };
    let count = mapped.count(verdict);
    if count != mapped.records || count == 0 {
        let detail = format!("{count} of {} records were {verdict}", mapped.records);
        found.push(InputError::new(at, "differs", detail));
    }
}
