//! Payloads made to hurt: each gets one verdict for each record, and soon.

use std::time::{Duration, Instant};

use halcyon_domain::event::Verdict;
use serde_json::json;

use super::{alert_spec, compile, run};
use crate::{EventResult, Outcome};

fn map(payload: &[u8]) -> EventResult {
    let fields = json!({"title": "title", "description": "text", "attributes.all": "deep", "attributes.n": "n",
        "time": {"expr": "time", "default": 0}});
    let started = Instant::now();
    let result = run(&compile(alert_spec(fields)), payload);
    assert!(started.elapsed() < Duration::from_secs(10));
    result
}

fn code(payload: impl AsRef<[u8]>) -> String {
    let mut result = map(payload.as_ref());
    assert_eq!(result.records.len(), 1);
    match result.records.remove(0).outcome {
        Outcome::DeadLettered(failure) => failure.code,
        other => other.verdict().to_string(),
    }
}

#[test]
fn the_twelve_kinds_of_poison() {
    let big = "x".repeat(2 * 1_024 * 1_024);
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // 1: a NUL character where it would reach an object, and where it would not
    assert_eq!(code(r#"{"id": 1, "title": "a\u0000b"}"#), "nul_character");
    assert_eq!(
        code(r#"{"id": 1, "title": "t", "deep": {"x": ["\u0000"]}}"#),
        "nul_character"
    );
    assert_eq!(
        code(r#"{"id": 1, "title": "t", "deep": {"\u0000": 1}}"#),
        "nul_character"
    );
    assert_eq!(code(r#"{"id": 1, "title": "t", "other": "\u0000"}"#), "delivered");
    // 2: nesting
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "deep": {}}}"#, deep(128))),
        "too_deep"
    );
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "other": {}}}"#, deep(128))),
        "too_deep"
    );
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "deep": {}}}"#, deep(127))),
        "delivered"
    );
    // 3: a field of 2 MB, used and not used
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "{big}"}}"#)),
        "value_too_large"
    );
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "deep": ["{big}"]}}"#)),
        "value_too_large"
    );
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "other": "{big}"}}"#)),
        "delivered"
    );
    // 4: an integer of 30 digits
    assert_eq!(
        code(format!(r#"{{"id": 1, "title": "t", "n": {}}}"#, "9".repeat(30))),
        "delivered"
    );
    // 5: bytes that are no UTF-8
    assert_eq!(code(b"{\"id\": 1, \"title\": \"\xff\xfe\"}"), "invalid_utf8");
    // 6: a type flip
    assert_eq!(code(r#"{"id": {"x": 1}, "title": "t"}"#), "mistyped");
    assert_eq!(code(r#"{"id": 1, "title": ["t"]}"#), "mistyped");
    assert_eq!(code(r#"{"id": 1, "title": "t", "text": {"a": 1}}"#), "delivered");
    assert_eq!(code(r#""just text""#), "required");
    assert_eq!(code("null"), "required");
    // 7: what is needed is missing
    assert_eq!(code(r#"{"title": "t"}"#), "required");
    // 8: JSON that ends too early, or goes on
    assert_eq!(code(r#"{"id": 1, "title": "t""#), "invalid_json");
    assert_eq!(code(r#"{"id": 1, "title": "t"} {"id": 2}"#), "invalid_json");
    assert_eq!(code("<xml/>"), "invalid_json");
    // 9: nothing
    assert_eq!(code(""), "invalid_json");
    assert_eq!(code(" \n "), "invalid_json");
    // 10: escapes that mean nothing
    assert_eq!(code(r#"{"id": 1, "title": "\ud800"}"#), "invalid_json");
    // 11: points in time out of range
    assert_eq!(
        code(r#"{"id": 1, "title": "t", "time": 99999999999999999999999}"#),
        "delivered"
    );
    // 12: a name that comes twice
    assert_eq!(code(r#"{"id": 1, "title": "t", "id": {}}"#), "mistyped");
}

#[test]
fn floods_of_records_and_objects_are_bounded() {
    let records = |count: usize| format!("[{}]", vec![r#"{"id":1,"title":"t"}"#; count].join(","));
    assert_eq!(map(records(10_000).as_bytes()).objects(), 10_000);
    assert_eq!(code(records(10_001)), "too_many_records");
    let each = json!({"outputs": [{"kind": "entity", "for_each": "items", "fields": {"type": {"value": "x"}, "key": "@"}}]});
    let payload = format!(
        r#"[{{"items": [{}]}}, {{"items": [{}]}}]"#,
        vec!["1"; 6_000].join(","),
        vec!["2"; 6_000].join(",")
    );
    let result = run(&compile(each), payload);
    let verdicts: Vec<_> = result
        .records
        .iter()
        .map(|record| record.outcome.verdict())
        .collect();
    assert_eq!(verdicts, [Verdict::Delivered, Verdict::DeadLettered]);
}

#[test]
fn output_is_bounded_whatever_multiplies_it() {
    let text = "y".repeat(200_000);
    let spec = json!({"outputs": [{"kind": "entity", "for_each": "items", "fields": {"type": {"value": "x"}, "key": "@",
        "name": {"expr": "text", "from": "record"}}}]});
    let payload = format!(
        r#"{{"text": "{text}", "items": [{}]}}"#,
        vec!["1"; 5_000].join(",")
    );
    let result = run(&compile(spec), payload);
    let [record] = result.records.as_slice() else {
        panic!()
    };
    let Outcome::DeadLettered(failure) = &record.outcome else {
        panic!()
    };
    assert_eq!(failure.code, "limit_exceeded");
}
