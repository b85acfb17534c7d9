//! `as`: turning a value into a type.

use chrono::SecondsFormat;
use halcyon_domain::mapping::Cast;
use serde_json::Value;

use super::{fault::Fault, time};
use crate::value::{Val, number_from, number_of, to_text};

/// The value as that type. Integers beyond 64 bits are texts of their digits.
pub(crate) fn apply(cast: Cast, value: &Val<'_>) -> Result<Value, Fault> {
    match cast {
        Cast::String => match to_text(value) {
            Some(text) => Ok(Value::String(text.into_owned())),
            None => Ok(Value::String(crate::value::to_json(value)?.to_string())),
        },
        Cast::Integer => integer(value).ok_or(Fault::Mistyped("an integer")),
        Cast::Number => number(value).ok_or(Fault::Mistyped("a number")),
        Cast::Boolean => boolean(value)
            .map(Value::Bool)
            .ok_or(Fault::Mistyped("true or false")),
        Cast::Timestamp => {
            time::of_value(value).map(|time| Value::String(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
        }
    }
}

fn integer(value: &Val<'_>) -> Option<Value> {
    let text = to_text(value)?;
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(number_of(text.strip_prefix('+').unwrap_or(text)));
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some(number_from(number.trunc())).filter(Value::is_i64)
}

fn number(value: &Val<'_>) -> Option<Value> {
    let text = to_text(value)?;
    let text = text.trim();
    text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(number_of(text))
}

fn boolean(value: &Val<'_>) -> Option<bool> {
    if let Some(bool) = value.as_bool() {
        return Some(bool);
    }
    match to_text(value)?.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "t" | "y" => Some(true),
        "false" | "no" | "off" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}
