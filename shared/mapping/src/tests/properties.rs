//! Whatever comes in, every record gets one outcome and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{compile, run};
use crate::Outcome;

fn busy_spec() -> Value {
    json!({"filter": "a != 'drop'", "outputs": [
        {"kind": "alert", "fields": {"external_id": "a", "title": "b.c", "time": {"expr": "t", "default": 0},
            "severity": {"expr": "s", "lookup": {"1": "low"}}, "attributes": "@", "attributes.x": {"expr": "n", "as": "integer"},
            "observables": "o", "description": {"expr": "$..c", "language": "jsonpath"}}},
        {"kind": "entity", "for_each": "l[?a]", "fields": {"type": "b", "key": "a", "name": {"expr": "a", "from": "record"}}}]})
}

fn any_record() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("2025-02-25 20:40:06.721")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[abctsnol]", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!run(&compile(busy_spec()), bytes).records.is_empty());
    }

    #[test]
    fn any_json_gives_each_record_one_outcome(payload in any_record()) {
        let result = run(&compile(busy_spec()), payload.to_string());
        let expected = payload.as_array().map_or(1, |items| items.len().max(1));
        prop_assert_eq!(result.records.len(), expected);
        for (index, record) in result.records.iter().enumerate() {
            prop_assert_eq!(record.index as usize, index);
            let delivered = matches!(record.outcome, Outcome::Delivered(_));
            prop_assert_eq!(delivered, !record.outcome.objects().is_empty());
        }
    }

    #[test]
    fn any_text_as_an_expression_compiles_or_is_refused(text in "[a-c.\\[\\]()*@$?!&|='`\",:{}0-9 -]{0,40}") {
        for language in ["jmespath", "jsonpath"] {
            let mut spec = super::alert_spec(json!({}));
            spec["language"] = json!(language);
            spec["outputs"][0]["fields"]["external_id"] = json!({"value": "x"});
            spec["filter"] = json!(text);
            if let Ok(mapping) = super::try_compile(spec) {
                let _ = run(&mapping, r#"{"a": [{"b": 1}, {"b": "c"}], "b": {"a": {"c": [1, 2, 3]}}, "c": "x"}"#);
            }
        }
    }
}
