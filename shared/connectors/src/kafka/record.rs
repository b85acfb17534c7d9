//! What comes out of Kafka as records of a feed.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use halcyon_domain::clock::Timestamp;
use serde_json::json;

use super::{
    config::{Format, Tombstones},
    registry::{Schema, Schemas},
    shared::Item,
};
use crate::{Error, SourceRecord};

/// Turns items into records.
pub(super) struct Shaper {
    pub(super) format: Format,
    pub(super) tombstones: Tombstones,
    pub(super) schemas: Option<Schemas>,
}

impl Shaper {
    /// The record of an item; `None` for one that is left out.
    ///
    /// # Errors
    /// The schema registry cannot be asked. The item is to be tried again.
    pub(super) async fn shape(&mut self, item: &Item, now: Timestamp) -> Result<Option<SourceRecord>, Error> {
        let mut headers = headers(item);
        let bytes = match &item.value {
            None if self.tombstones == Tombstones::Skip => return Ok(None),
            None => {
                headers.insert("kafka-tombstone".to_owned(), "true".to_owned());
                Bytes::from_static(b"null")
            }
            Some(value) => self.value(value, &mut headers).await?,
        };
        Ok(Some(SourceRecord {
            bytes,
            dedupe_key: Some(key(item)),
            received_at: now,
            headers,
        }))
    }

    async fn value(&mut self, value: &Bytes, headers: &mut BTreeMap<String, String>) -> Result<Bytes, Error> {
        match self.format {
            Format::Raw => Ok(wrapped(value)),
            // JSON that was written through a registry begins with the schema's number.
            Format::Json => {
                Ok(framed(value).map_or_else(|| value.clone(), |(_, rest)| value.slice_ref(rest)))
            }
            Format::Avro => {
                let why = match self.decoded(value).await? {
                    Ok(bytes) => return Ok(bytes),
                    Err(why) => why,
                };
                // It goes on as it is, and is found among the dead letters.
                headers.insert("kafka-undecoded".to_owned(), why);
                Ok(value.clone())
            }
        }
    }

    async fn decoded(&mut self, value: &Bytes) -> Result<Result<Bytes, String>, Error> {
        let (Some((id, datum)), Some(schemas)) = (framed(value), &mut self.schemas) else {
            return Ok(Err("the value does not begin with a schema's number".to_owned()));
        };
        let codec = match schemas.get(id).await? {
            Schema::Known(codec) => codec,
            Schema::None(why) => return Ok(Err(format!("schema {id}: {why}"))),
        };
        let decoded = codec
            .decode(datum)
            .and_then(|value| serde_json::to_vec(&value).ok());
        Ok(decoded
            .map(Bytes::from)
            .ok_or_else(|| format!("the value is not of schema {id}")))
    }
}

/// Confluent's framing: a zero, the schema's number, the value.
fn framed(value: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = value.split_first_chunk::<5>()?;
    let [0, id @ ..] = head else {
        return None;
    };
    Some((u32::from_be_bytes(*id), rest))
}

/// What need not be JSON, in JSON.
fn wrapped(value: &[u8]) -> Bytes {
    let wrapped = match std::str::from_utf8(value) {
        Ok(text) => json!({"text": text}),
        Err(_) => json!({"base64": STANDARD.encode(value)}),
    };
    Bytes::from(wrapped.to_string())
}

/// The place in the cluster. With the time: a topic that was made anew under its old name counts from 0 again.
fn key(item: &Item) -> String {
    let place = format!("{}/{}/{}", item.topic, item.partition, item.offset);
    match item.time {
        Some(time) => format!("{place}@{time}"),
        None => place,
    }
}

fn headers(item: &Item) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in &item.headers {
        found.insert(name.to_ascii_lowercase(), text(value));
    }
    found.insert("kafka-topic".to_owned(), item.topic.to_string());
    found.insert("kafka-partition".to_owned(), item.partition.to_string());
    found.insert("kafka-offset".to_owned(), item.offset.to_string());
    if let Some(key) = &item.key {
        found.insert("kafka-key".to_owned(), text(key));
    }
    if let Some(time) = item.time.and_then(DateTime::from_timestamp_millis) {
        let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        found.insert("kafka-timestamp".to_owned(), time);
    }
    found
}

/// Bytes as text; base64 where they are none.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}
