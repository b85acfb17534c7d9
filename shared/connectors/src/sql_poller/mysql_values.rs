//! From MySQL's values to JSON, and to the text that a checkpoint holds.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mysql_async::{
    Column, Value,
    consts::{ColumnFlags, ColumnType},
};
use serde_json::value::RawValue;

use super::config::Kind;
use crate::Error;

/// The number of the character set of what is no text.
const BINARY: u16 = 63;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Signed,
    Unsigned,
    Decimal,
    Float,
    Time,
    Bits,
    Json,
    Text,
    Bytes,
    /// Durations, and what else has no order that a cursor could follow.
    Other,
}

impl Holds {
    pub(super) fn of(column: &Column) -> Self {
        let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        match column.column_type() {
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_YEAR => {
                if unsigned {
                    Self::Unsigned
                } else {
                    Self::Signed
                }
            }
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Self::Decimal,
            ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE => Self::Float,
            ColumnType::MYSQL_TYPE_TIMESTAMP
            | ColumnType::MYSQL_TYPE_TIMESTAMP2
            | ColumnType::MYSQL_TYPE_DATETIME
            | ColumnType::MYSQL_TYPE_DATETIME2
            | ColumnType::MYSQL_TYPE_DATE
            | ColumnType::MYSQL_TYPE_NEWDATE => Self::Time,
            ColumnType::MYSQL_TYPE_BIT => Self::Bits,
            ColumnType::MYSQL_TYPE_JSON => Self::Json,
            ColumnType::MYSQL_TYPE_VARCHAR
            | ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_ENUM
            | ColumnType::MYSQL_TYPE_SET
            | ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
            | ColumnType::MYSQL_TYPE_BLOB => {
                if column.character_set() == BINARY {
                    Self::Bytes
                } else {
                    Self::Text
                }
            }
            ColumnType::MYSQL_TYPE_GEOMETRY => Self::Bytes,
            _ => Self::Other,
        }
    }

    pub(super) fn is_of_kind(self, kind: Kind) -> bool {
        match kind {
            Kind::Integer => matches!(self, Self::Signed | Self::Unsigned),
            Kind::Timestamp => self == Self::Time,
            Kind::Text => self == Self::Text,
            Kind::Uuid => matches!(self, Self::Text | Self::Bytes),
        }
    }

    /// A placeholder for a value of this type that is given as text.
    pub(super) const fn placeholder(self) -> &'static str {
        match self {
            Self::Signed => "CAST(? AS SIGNED)",
            Self::Unsigned => "CAST(? AS UNSIGNED)",
            Self::Decimal => "CAST(? AS DECIMAL(65,30))",
            Self::Time => "CAST(? AS DATETIME(6))",
            Self::Bytes => "UNHEX(?)",
            Self::Float | Self::Bits | Self::Json | Self::Text | Self::Other => "?",
        }
    }
}

/// A cursor or a key as text, which the placeholder takes back.
pub(super) fn text(value: &Value, holds: Holds) -> Option<String> {
    Some(match value {
        Value::NULL => return None,
        Value::Bytes(bytes) if holds == Holds::Bytes => hex::encode(bytes),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
        }
        Value::Time(..) => duration(value),
    })
}

/// Writes a value as JSON.
pub(super) fn write(
    out: &mut Vec<u8>,
    value: &Value,
    holds: Holds,
    column: &Column,
    is_json: bool,
) -> Result<(), Error> {
    let broken = |error: serde_json::Error| Error::System(error.to_string());
    match value {
        Value::NULL => out.extend_from_slice(b"null"),
        Value::Bytes(bytes) => match holds {
            Holds::Bytes => serde_json::to_writer(out, &STANDARD.encode(bytes)).map_err(broken)?,
            Holds::Bits if bytes.len() <= 8 => {
                let number = bytes
                    .iter()
                    .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                serde_json::to_writer(out, &number).map_err(broken)?;
            }
            _ if is_json || holds == Holds::Json => match serde_json::from_slice::<&RawValue>(bytes) {
                Ok(json) => out.extend_from_slice(json.get().as_bytes()),
                Err(_) => serde_json::to_writer(out, &String::from_utf8_lossy(bytes)).map_err(broken)?,
            },
            _ => serde_json::to_writer(out, &String::from_utf8_lossy(bytes)).map_err(broken)?,
        },
        Value::Int(number) => serde_json::to_writer(out, number).map_err(broken)?,
        Value::UInt(number) => serde_json::to_writer(out, number).map_err(broken)?,
        Value::Float(number) => serde_json::to_writer(out, number).map_err(broken)?,
        Value::Double(number) => serde_json::to_writer(out, number).map_err(broken)?,
        Value::Date(..) => serde_json::to_writer(out, &date(value, column)).map_err(broken)?,
        Value::Time(..) => serde_json::to_writer(out, &duration(value)).map_err(broken)?,
    }
    Ok(())
}

/// A time by RFC 3339, or a date. The session's zone is UTC.
fn date(value: &Value, column: &Column) -> String {
    let Value::Date(year, month, day, hour, minute, second, micros) = value else {
        return String::new();
    };
    let date = format!("{year:04}-{month:02}-{day:02}");
    let is_date = matches!(
        column.column_type(),
        ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE
    );
    if is_date {
        return date;
    }
    let fraction = if *micros > 0 {
        format!(".{micros:06}")
    } else {
        String::new()
    };
    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// A time of day or a duration, as MySQL writes it.
fn duration(value: &Value) -> String {
    let Value::Time(negative, days, hours, minutes, seconds, micros) = value else {
        return String::new();
    };
    let sign = if *negative { "-" } else { "" };
    let hours = days * 24 + u32::from(*hours);
    let fraction = if *micros > 0 {
        format!(".{micros:06}")
    } else {
        String::new()
    };
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}
