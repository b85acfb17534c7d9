//! Entries of a stream, as the server writes them, to records.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use halcyon_domain::clock::Timestamp;
use redis::Value;
use serde_json::{Map, Value as Json};

use super::config::Connection;
use crate::SourceRecord;

/// An entry: its identifier and its fields in order. One that was deleted while somebody had it has no fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// The entries of a list `[[id, [field, value, ...]], ...]`; what has another form is left out.
pub(super) fn entries(list: Value) -> Vec<Entry> {
    let Value::Array(items) = list else {
        return Vec::new();
    };
    items.into_iter().filter_map(entry).collect()
}

/// The entries of the one stream in an answer of XREADGROUP; none if there is none.
pub(super) fn of_one_stream(answer: Value) -> Vec<Entry> {
    let Value::Array(streams) = answer else {
        return Vec::new();
    };
    match streams.into_iter().next() {
        Some(Value::Array(pair)) => pair.into_iter().nth(1).map(entries).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn entry(item: Value) -> Option<Entry> {
    let Value::Array(parts) = item else {
        return None;
    };
    let mut parts = parts.into_iter();
    let id = String::from_utf8(bytes(parts.next()?)?).ok()?;
    let fields = match parts.next() {
        Some(Value::Array(flat)) => {
            let mut flat = flat.into_iter().filter_map(bytes);
            let mut fields = Vec::new();
            while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
                fields.push((name, value));
            }
            Some(fields)
        }
        _ => None,
    };
    Some(Entry { id, fields })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

impl Entry {
    /// How many bytes its fields have.
    pub(super) fn size(&self) -> usize {
        let fields = self.fields.iter().flatten();
        fields.map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The record: the field that holds the event, or an object of all fields. A value that is no text stands there
    /// in base64. Nothing if the entry was deleted.
    pub(super) fn record(self, connection: &Connection, now: Timestamp) -> Option<SourceRecord> {
        let Self { id, fields } = self;
        let fields = fields?;
        let event = connection.field.as_ref().and_then(|wanted| {
            let found = fields.iter().find(|(name, _)| name == wanted.as_bytes());
            found.map(|(_, value)| value.clone())
        });
        let bytes = event.unwrap_or_else(|| object(fields).to_string().into_bytes());
        Some(SourceRecord {
            bytes: Bytes::from(bytes),
            dedupe_key: Some(format!("{}/{id}", connection.stream)),
            received_at: now,
            headers: BTreeMap::from([
                ("redis-stream".to_owned(), connection.stream.clone()),
                ("redis-entry-id".to_owned(), id),
            ]),
        })
    }
}

fn object(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Json {
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_else(|error| BASE64.encode(error.as_bytes()));
    let fields = fields
        .into_iter()
        .map(|(name, value)| (text(name), Json::String(text(value))));
    Json::Object(fields.collect::<Map<_, _>>())
}
