//! A script's error message without the values of the payload: dead letters are listed and logged to people who may
//! not read payloads.

use crate::json::{Node, parse_document};

/// Shorter values say nothing, and would make holes into words.
const MIN_VALUE: usize = 3;
/// So many values of a record are looked for.
const MAX_VALUES: usize = 5_000;
/// What stands in for a value.
const MASK: &str = "…";

/// The message with `…` for each value of the record that stands in it.
pub(super) fn without_values(message: &str, record: &[u8]) -> String {
    let Ok(record) = parse_document(record) else {
        return message.to_owned();
    };
    let mut values = Vec::new();
    gather(&record, &mut values);
    // A longer value may hold a shorter one.
    values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
    let mut message = message.to_owned();
    for value in values {
        if message.contains(value) {
            message = message.replace(value, MASK);
        }
    }
    // A long value may have been cut off, or written with escapes: of texts that remain only their beginning is known.
    message
}

fn gather<'n>(node: &'n Node<'_>, values: &mut Vec<&'n str>) {
    match node {
        Node::Text(text) | Node::Number(text) => {
            if text.len() >= MIN_VALUE && values.len() < MAX_VALUES {
                values.push(text);
            }
        }
        Node::List(items) => items.iter().for_each(|item| gather(item, values)),
        Node::Map(members) => members.iter().for_each(|(_, value)| gather(value, values)),
        Node::Null | Node::Bool(_) => {}
    }
}
