//! What is refused at compile time, and where it points.

use serde_json::{Value, json};

use super::{alert_spec, try_compile};

fn errors(spec: Value) -> Vec<(String, String)> {
    try_compile(spec)
        .unwrap_err()
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

fn one(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[test]
fn a_script_is_no_mapping_by_expressions() {
    let spec = json!({"script": {"language": "python", "source": "def map(record, context): ..."}});
    assert_eq!(errors(spec), one("/script", "unsupported_language"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let spec = json!({"records": "a[", "filter": "nope(a)", "outputs": [
        {"kind": "alert", "when": "(", "fields": {"title": "a b", "severty": "x", "attributes.": "y", "time": "length()"}},
        {"kind": "relationship", "fields": {"type": "t", "source.type": "a", "source.key": "b", "target.key": "c"}}]});
    let mut found = errors(spec);
    found.sort();
    let expected = [
        ("/filter", "unknown_function"),
        ("/outputs/0/fields/attributes.", "invalid"),
        ("/outputs/0/fields/external_id", "required"),
        ("/outputs/0/fields/severty", "unknown_field"),
        ("/outputs/0/fields/time", "invalid_expression"),
        ("/outputs/0/fields/title", "invalid_expression"),
        ("/outputs/0/when", "invalid_expression"),
        ("/outputs/1/fields/target.type", "required"),
        ("/records", "invalid_expression"),
    ];
    assert_eq!(
        found,
        expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
    );
}

#[test]
fn attributes_cannot_contradict_each_other() {
    let spec = alert_spec(json!({"attributes.a": "x", "attributes.a.b": "y"}));
    assert_eq!(errors(spec), one("/outputs/0/fields/attributes.a.b", "conflict"));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(errors(json!({})), one("/outputs", "required"));
    let output = alert_spec(json!({}))["outputs"][0].clone();
    assert_eq!(
        errors(json!({"outputs": vec![output; 101]})),
        one("/outputs", "too_many")
    );
    let many: serde_json::Map<_, _> = (0..201)
        .map(|n| (format!("attributes.a{n}"), json!("x")))
        .collect();
    assert_eq!(
        errors(alert_spec(Value::Object(many))),
        one("/outputs/0/fields", "too_many")
    );
    let long = alert_spec(json!({"title": "x".repeat(4_097)}));
    assert_eq!(errors(long), one("/outputs/0/fields/title", "too_long"));
    let deep = format!("{}a{}", "(".repeat(65), ")".repeat(65));
    assert_eq!(
        errors(alert_spec(json!({"title": deep}))),
        one("/outputs/0/fields/title", "too_deep")
    );
}

#[test]
fn the_pointer_leads_into_a_default() {
    let spec = alert_spec(json!({"title": {"expr": "a", "default": {"expr": "b["}}}));
    assert_eq!(
        errors(spec),
        one("/outputs/0/fields/title/default/expr", "invalid_expression")
    );
}
