//! Writing a part of a payload as JSON again: numbers as they came, digit by digit.

use std::fmt::Write;

use crate::{
    json::Node,
    value::{Val, number_from},
};

/// Appends a node.
pub(super) fn write(node: &Node<'_>, json: &mut String) {
    match node {
        Node::Null => json.push_str("null"),
        Node::Bool(bool) => json.push_str(if *bool { "true" } else { "false" }),
        Node::Number(text) => json.push_str(text),
        Node::Text(text) => quote(text, json),
        Node::List(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                comma(index, json);
                write(item, json);
            }
            json.push(']');
        }
        Node::Map(members) => {
            json.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                comma(index, json);
                quote(name, json);
                json.push(':');
                write(value, json);
            }
            json.push('}');
        }
    }
}

/// Appends what an expression gave.
pub(super) fn write_value(value: &Val<'_>, json: &mut String) {
    match value {
        Val::Node(node) => write(node, json),
        Val::Null | Val::Expr(_) => json.push_str("null"),
        Val::Bool(bool) => json.push_str(if *bool { "true" } else { "false" }),
        Val::Number(number) => json.push_str(&number_from(*number).to_string()),
        Val::Text(text) => quote(text, json),
        Val::List(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                comma(index, json);
                write_value(item, json);
            }
            json.push(']');
        }
        Val::Map(members) => {
            json.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                comma(index, json);
                quote(name, json);
                json.push(':');
                write_value(value, json);
            }
            json.push('}');
        }
    }
}

fn comma(index: usize, json: &mut String) {
    if index > 0 {
        json.push(',');
    }
}

fn quote(text: &str, json: &mut String) {
    json.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte != b'"' && byte != b'\\' && byte >= 0x20 {
            continue;
        }
        json.push_str(text.get(written..at).unwrap_or_default());
        // Writing to a string does not fail.
        let _ = match byte {
            b'"' | b'\\' => write!(json, "\\{}", char::from(byte)),
            _ => write!(json, "\\u{byte:04x}"),
        };
        written = at + 1;
    }
    json.push_str(text.get(written..).unwrap_or_default());
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_document;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let text = r#"{"a":[1,123456789012345678901234567890,-1.50e3,true,null],"q\"\\":"x\ny\u0000ü","e":{},"l":[]}"#;
        let node = parse_document(text.as_bytes()).unwrap();
        let mut json = String::new();
        write(&node, &mut json);
        assert!(json.contains("123456789012345678901234567890") && json.contains("-1.50e3"));
        assert_eq!(parse_document(json.as_bytes()).unwrap(), node);
        let mut made = String::new();
        write_value(
            &Val::list(vec![Val::Number(1.0), Val::text("a\"b"), Val::Bool(true)]),
            &mut made,
        );
        assert_eq!(made, r#"[1,"a\"b",true]"#);
    }
}
