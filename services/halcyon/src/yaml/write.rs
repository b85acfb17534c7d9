//! Writes YAML: the same text for the same value, and one that reads back as that value.

use anyhow::{Context, Result};
use serde_json::Value;

/// The value as YAML, with a line break at its end.
pub(crate) fn write(value: &Value) -> Result<String> {
    let mut text = serde_saphyr::to_string(value).context("cannot be written as YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::read, *};

    fn back(value: &Value) -> Value {
        let text = write(value).unwrap();
        let documents = read(&text).unwrap_or_else(|fault| panic!("{fault:?} in\n{text}"));
        documents
            .first()
            .map(super::super::Node::value)
            .unwrap_or_default()
    }

    #[test]
    fn what_looks_like_something_else_is_quoted() {
        let words = [
            "yes",
            "no",
            "null",
            "~",
            "true",
            "1",
            "1.0",
            "1e3",
            "0x10",
            "0o7",
            "070",
            ".inf",
            "",
            " a",
            "a ",
            "- a",
            "a: b",
            "a #b",
            "# a",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "\"a",
            "'a",
            "a\nb",
            "a\n",
            "\n",
            "a\n\nb\n\n",
            "  a\n b",
            "\ta",
            "a\tb",
            "<<",
            "=",
            "2026-01-02",
            "---",
            "...",
            "- ",
            "?",
            "[a]",
            "{a}",
            "a\u{85}b",
            "a\u{2028}b",
            "\u{feff}a",
            "\r\n",
            "a\rb",
            "| ",
            ">",
            "1_000",
            "12:30:45",
            "\u{1b}[2J",
        ];
        for word in words {
            assert_eq!(back(&json!({"a": word})), json!({"a": word}), "{word:?}");
            assert_eq!(
                back(&json!([word, {word: word}])),
                json!([word, {word: word}]),
                "{word:?}"
            );
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e15f64..1e15).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ \\n\\t#:&*!|>'\"%@`{}\\[\\],?a-z0-9-]{0,60}".prop_map(Value::from),
            "([a-z .:#]{0,40}\\n){0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,12}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(value in value()) {
            let value = json!({"value": value});
            prop_assert_eq!(back(&value), value);
        }
    }
}
