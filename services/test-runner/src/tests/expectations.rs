//! What stored tests can expect.

use halcyon_domain::{error::InputError, test_run::TestDeadLetter};

use super::*;
use crate::{expect::failures, outcome::Mapped};

fn mapped() -> Mapped {
    let objects = json!([
        {"kind": "alert", "object": {"external_id": "a", "title": "t", "time": "2024-01-01T00:00:00Z", "severity": "high",
            "rule": {"id": "r", "name": "n"}, "attributes": {"score": 7, "tags": ["x", "y"]}}},
        {"kind": "entity", "object": {"type": "host", "key": "web-1", "name": "web"}},
        {"kind": "entity", "object": {"type": "user", "key": "alice"}},
    ]);
    Mapped {
        objects: serde_json::from_value(objects).unwrap(),
        records: 3,
        filtered: 2,
        ..Mapped::default()
    }
}

fn pointers(expect: Value) -> Vec<String> {
    failures(&expect, &mapped())
        .into_iter()
        .map(|failure| failure.pointer)
        .collect()
}

#[test]
fn what_is_contained_is_met() {
    for expect in [
        json!({}),
        json!({"counts": {"alert": 1, "entity": 2, "relationship": 0}, "filtered": 2, "dead_letters": 0}),
        json!({"outputs": [{"kind": "alert", "object": {"rule": {"id": "r"}, "attributes": {"score": 7.0}}}]}),
        json!({"alerts": [{"time": "2024-01-01T01:00:00+01:00", "description": null}]}),
        json!({"entities": [{"key": "alice"}, {"key": "web-1"}], "relationships": []}),
    ] {
        assert_eq!(failures(&expect, &mapped()), [], "{expect}");
    }
}

#[test]
fn what_is_not_is_said_where() {
    for (expect, at) in [
        (json!({"counts": {"alert": 2}}), "/counts/alert"),
        (json!({"counts": {"thing": 2}}), "/counts/thing"),
        (json!({"counts": 1}), "/counts"),
        (json!({"filtered": 1}), "/filtered"),
        (json!({"verdict": "delivered"}), "/verdict"),
        (json!({"verdict": "gone"}), "/verdict"),
        (json!({"alerts": [{"title": "other"}]}), "/alerts/0/title"),
        (
            json!({"alerts": [{"attributes": {"tags": ["x"]}}]}),
            "/alerts/0/attributes/tags",
        ),
        (
            json!({"entities": [{"type": "user", "key": "bob"}]}),
            "/entities/0/key",
        ),
        (
            json!({"entities": [{"type": "host", "key": "web-1", "name": "db"}]}),
            "/entities/0/name",
        ),
        (
            json!({"relationships": [{"type": "targets"}]}),
            "/relationships/0",
        ),
        (
            json!({"outputs": [{"kind": "alert", "object": {"rule": {"id": "q"}}}]}),
            "/outputs/0/object/rule/id",
        ),
        (json!({"outputs": [{"kind": "thing"}]}), "/outputs/0"),
        (
            json!({"outputs": [{"kind": "alert", "title": "t"}]}),
            "/outputs/0",
        ),
        (json!({"alert": []}), "/alert"),
        (json!([]), ""),
    ] {
        assert_eq!(pointers(expect.clone()), [at], "{expect}");
    }
}

#[test]
fn a_dead_letter_is_red_unless_it_is_expected() {
    let failure = InputError::new("/outputs/0/fields/time", "missing", "no time");
    let letter = TestDeadLetter {
        record: "e/0".to_owned(),
        failure,
    };
    let dead = Mapped {
        dead_letters: vec![letter],
        records: 1,
        ..Mapped::default()
    };
    assert_eq!(failures(&json!({}), &dead)[0].code, "dead_lettered");
    assert_eq!(failures(&json!({"dead_letters": 1}), &dead), []);
    assert_eq!(failures(&json!({"verdict": "dead_lettered"}), &dead), []);
    assert_eq!(
        failures(&json!({"verdict": "filtered"}), &Mapped::default())[0].pointer,
        "/verdict"
    );
}
