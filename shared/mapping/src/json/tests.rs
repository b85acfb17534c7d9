//! The reader against `serde_json`, and what only this reader does.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Node, Projection, parse_document, parse_records};
use crate::value::{Val, to_json};

fn read(text: &[u8]) -> Result<Value, String> {
    parse_document(text)
        .map(|node| to_json(&Val::Node(&node)).unwrap())
        .map_err(|error| error.code)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15_f64).prop_map(Value::from),
        "[^\u{0}]{0,20}".prop_map(Value::from),
        "[a-z\"\\\\/\n\u{1}é😀]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"]{0,3}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(value in any_json()) {
        prop_assert_eq!(read(value.to_string().as_bytes()), Ok(value.clone()));
        prop_assert_eq!(read(serde_json::to_string_pretty(&value).unwrap().as_bytes()), Ok(value));
    }

    #[test]
    fn accepts_what_serde_json_accepts(text in "[\\[\\]{}:,\"a0-9eE+.\\-\\\\u ntrufals]{0,24}") {
        let ours = read(text.as_bytes()).is_ok();
        let theirs = serde_json::from_str::<Value>(&text);
        // serde_json refuses numbers beyond a double; here they stay as they are.
        let huge = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(ours == theirs.is_ok() || huge, "{text}: {theirs:?}");
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
        let _ = parse_records(&bytes, &Projection::new(&[vec!["a".into()]]));
    }

    #[test]
    fn a_projection_finds_what_the_whole_holds(value in any_json()) {
        let paths = [vec!["a".to_owned()], vec!["b".to_owned(), "a".to_owned()], vec!["c".to_owned()]];
        let text = value.to_string();
        let whole = parse_document(text.as_bytes()).unwrap();
        let records = parse_records(text.as_bytes(), &Projection::new(&paths)).unwrap();
        let expected: Vec<&Node<'_>> = match &whole {
            Node::List(items) => items.iter().collect(),
            other => vec![other],
        };
        prop_assert_eq!(records.records().count(), expected.len());
        for (record, expected) in records.records().zip(expected) {
            for (slot, path) in record.iter().zip(&paths) {
                let node = path.iter().try_fold(expected, |node, key| node.get(key));
                prop_assert_eq!(slot.as_ref(), node);
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_document(nested(128).as_bytes()).is_ok());
    assert_eq!(
        parse_document(nested(129).as_bytes()).unwrap_err().code,
        "too_deep"
    );
    assert_eq!(
        parse_document("[".repeat(1_000_000).as_bytes()).unwrap_err().code,
        "too_deep"
    );
    let skipped = format!("{{\"x\": {}}}", "{\"a\":".repeat(1_000_000));
    let failure = parse_records(skipped.as_bytes(), &Projection::new(&[vec!["y".into()]])).unwrap_err();
    assert_eq!(failure.code, "too_deep");
}

#[test]
fn numbers_keep_their_digits() {
    let digits = "123456789012345678901234567890";
    assert_eq!(read(digits.as_bytes()), Ok(json!(digits)));
    assert_eq!(read(b"18446744073709551615"), Ok(json!(u64::MAX)));
    assert_eq!(read(b"-9223372036854775808"), Ok(json!(i64::MIN)));
    assert_eq!(read(b"1e999"), Ok(json!("1e999")));
}

#[test]
fn escapes_and_surrogates() {
    assert_eq!(read(br#""\u00e9\ud83d\ude00\/\b""#), Ok(json!("é😀/\u{8}")));
    for wrong in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\x""#,
        r#""\u12g4""#,
        "\"a\nb\"",
        "\"a",
    ] {
        assert_eq!(read(wrong.as_bytes()), Err("invalid_json".to_owned()), "{wrong}");
    }
    assert_eq!(read(b"\"\xff\""), Err("invalid_utf8".to_owned()));
}

#[test]
fn of_a_name_that_comes_twice_the_last_one_counts() {
    let text = br#"{"a": {"b": 1, "c": 2}, "a": {"c": 3}}"#;
    let paths = [
        vec!["a".to_owned(), "b".to_owned()],
        vec!["a".to_owned(), "c".to_owned()],
    ];
    let records = parse_records(text, &Projection::new(&paths)).unwrap();
    assert_eq!(
        records.records().collect::<Vec<_>>(),
        [[None, Some(Node::Number("3".into()))]]
    );
}
