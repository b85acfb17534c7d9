//! From values to what an object's fields hold, within the limits.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::Val;
use crate::{
    json::Node,
    limits::{MAX_PAYLOAD_DEPTH, MAX_VALUE_BYTES},
    output::Fault,
};

/// The value as text: a text itself, a number as it was written, `true` or `false`. Nothing for the rest.
pub(crate) fn to_text<'v>(value: &'v Val<'_>) -> Option<Cow<'v, str>> {
    if let Some(text) = value.as_text() {
        return Some(Cow::Borrowed(text));
    }
    if let Some(bool) = value.as_bool() {
        return Some(Cow::Borrowed(if bool { "true" } else { "false" }));
    }
    value.number_text()
}

/// The value as JSON for `attributes`. Integers beyond 64 bits become texts of their digits, exact; so do numbers
/// beyond the range of a double.
pub(crate) fn to_json(value: &Val<'_>) -> Result<Value, Fault> {
    let mut left = MAX_VALUE_BYTES;
    convert(value, 0, &mut left)
}

fn convert(value: &Val<'_>, depth: usize, left: &mut usize) -> Result<Value, Fault> {
    if depth > MAX_PAYLOAD_DEPTH {
        return Err(Fault::TooDeep);
    }
    match value {
        Val::Node(node) => return convert_node(node, depth, left),
        Val::Null | Val::Expr(_) => {}
        Val::Bool(bool) => return Ok(Value::Bool(*bool)),
        Val::Number(number) => return Ok(number_from(*number)),
        Val::Text(text) => return text_from(text, left),
        Val::List(items) => {
            let mut list = Vec::new();
            for item in items.iter() {
                spend(left, 1)?;
                list.push(convert(item, depth + 1, left)?);
            }
            return Ok(Value::Array(list));
        }
        Val::Map(members) => {
            let mut map = Map::new();
            for (name, member) in members.iter() {
                map.insert(name_from(name, left)?, convert(member, depth + 1, left)?);
            }
            return Ok(Value::Object(map));
        }
    }
    Ok(Value::Null)
}

fn convert_node(node: &Node<'_>, depth: usize, left: &mut usize) -> Result<Value, Fault> {
    if depth > MAX_PAYLOAD_DEPTH {
        return Err(Fault::TooDeep);
    }
    match node {
        Node::Null => Ok(Value::Null),
        Node::Bool(bool) => Ok(Value::Bool(*bool)),
        Node::Number(text) => {
            spend(left, text.len())?;
            Ok(number_of(text))
        }
        Node::Text(text) => text_from(text, left),
        Node::List(items) => {
            let mut list = Vec::with_capacity(items.len().min(1_024));
            for item in items {
                spend(left, 1)?;
                list.push(convert_node(item, depth + 1, left)?);
            }
            Ok(Value::Array(list))
        }
        Node::Map(members) => {
            let mut map = Map::new();
            for (name, member) in members {
                map.insert(name_from(name, left)?, convert_node(member, depth + 1, left)?);
            }
            Ok(Value::Object(map))
        }
    }
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), Fault> {
    *left = left.checked_sub(bytes).ok_or(Fault::TooLarge)?;
    Ok(())
}

fn name_from(name: &str, left: &mut usize) -> Result<String, Fault> {
    spend(left, name.len() + 1)?;
    if name.contains('\0') {
        Err(Fault::Nul)
    } else {
        Ok(name.to_owned())
    }
}

fn text_from(text: &str, left: &mut usize) -> Result<Value, Fault> {
    spend(left, text.len())?;
    if text.contains('\0') {
        Err(Fault::Nul)
    } else {
        Ok(Value::String(text.to_owned()))
    }
}

/// The JSON form of a number as it was written.
pub(crate) fn number_of(text: &str) -> Value {
    if let Ok(integer) = text.parse::<i64>() {
        return Value::from(integer);
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Value::from(integer);
    }
    let integral = !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    match text
        .parse::<f64>()
        .ok()
        .filter(|_| !integral)
        .and_then(Number::from_f64)
    {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

/// The JSON form of a computed number: an integer if it is one.
pub(crate) fn number_from(number: f64) -> Value {
    // Up to 2^53 every integer is a double of its own.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
