//! Warnings of test runs.

use serde_json::{Value, json};

use super::{compile, run_with};

fn warnings(spec: Value, payload: Value) -> Vec<(String, String)> {
    let result = run_with(&compile(spec), payload.to_string().as_bytes(), true);
    result
        .warnings
        .into_iter()
        .map(|warning| (warning.code, warning.pointer))
        .collect()
}

#[test]
fn unmapped_missing_mistyped_and_cast() {
    let spec = json!({"records": "items", "filter": "kind == 'x'", "outputs": [{"kind": "alert", "fields": {
        "external_id": "id", "title": "name", "time": {"expr": "time", "default": 0}, "severity": "sev",
        "description": "join(', ', tags)", "attributes.geo": "geo.country"}}]});
    let payload = json!({"meta": {"a": 1}, "items": [
        {"id": 1, "name": "n", "kind": "x", "sev": 5, "tags": ["a"], "geo": {"country": "DE", "city": "B"}, "extra": {"x": 1}, "e": {}}]});
    let mut found = warnings(spec, payload);
    found.sort();
    let expected = [
        ("cast", "/outputs/0/fields/external_id"),
        ("missing", "/outputs/0/fields/time"),
        ("mistyped", "/outputs/0/fields/severity"),
        ("unmapped", "/items/0/extra"),
        ("unmapped", "/items/0/geo/city"),
        ("unmapped", "/meta"),
    ];
    assert_eq!(
        found,
        expected.map(|(code, pointer)| (code.to_owned(), pointer.to_owned()))
    );
}

#[test]
fn what_is_used_as_a_whole_is_mapped() {
    let spec = super::alert_spec(json!({"attributes": "@"}));
    assert_eq!(warnings(spec, json!({"id": "x", "a": {"b": 1}})), []);
}

#[test]
fn items_of_for_each_are_watched_one_by_one() {
    let spec = json!({"outputs": [{"kind": "entity", "for_each": "hosts", "fields": {"type": {"value": "host"}, "key": "name"}}]});
    let found = warnings(spec, json!({"hosts": [{"name": "a", "os": "linux"}]}));
    assert_eq!(found, [("unmapped".to_owned(), "/hosts/0/os".to_owned())]);
}
