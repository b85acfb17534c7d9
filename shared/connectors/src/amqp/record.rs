//! From a message to a record: its headers, and its identity.

use std::collections::BTreeMap;

use bytes::Bytes;
use halcyon_domain::clock::Timestamp;
use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::Identity;
use crate::SourceRecord;

/// Headers that the broker writes, and writes anew when it delivers a message again.
const BROKERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

pub(crate) fn record(delivery: Delivery, identity: Identity, now: Timestamp) -> SourceRecord {
    let headers = headers(&delivery);
    let id = delivery.properties.message_id().as_ref();
    let id = id.filter(|id| identity == Identity::MessageId && !id.as_str().is_empty());
    let key = match id {
        Some(id) => format!("id:{id}"),
        None => content_key(&headers, &delivery.data),
    };
    SourceRecord {
        bytes: Bytes::from(delivery.data),
        dedupe_key: Some(key),
        received_at: now,
        headers,
    }
}

/// All that the publisher said, and nothing that the broker counts.
fn content_key(headers: &BTreeMap<String, String>, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    let ours = headers
        .iter()
        .filter(|(name, _)| !BROKERS.contains(&name.as_str()));
    for (name, value) in ours {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(body);
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// The message's own headers, and above them its properties and where it came from.
fn headers(delivery: &Delivery) -> BTreeMap<String, String> {
    let properties = &delivery.properties;
    let mut headers = BTreeMap::new();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        let text = match plain(value) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        headers.insert(name.as_str().to_lowercase(), text);
    }
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
    ];
    for (name, text) in texts {
        headers.extend(text.iter().map(|text| (name.to_owned(), text.to_string())));
    }
    let time = properties.timestamp().iter();
    headers.extend(time.map(|time| ("timestamp".to_owned(), time.to_string())));
    let priority = properties.priority().iter();
    headers.extend(priority.map(|priority| ("priority".to_owned(), priority.to_string())));
    headers.insert("exchange".to_owned(), delivery.exchange.to_string());
    headers.insert("routing_key".to_owned(), delivery.routing_key.to_string());
    headers
}

/// A header's value as JSON.
fn plain(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(value) => {
            let digits = format!("{:0width$}", value.value, width = usize::from(value.scale) + 1);
            let (whole, rest) = digits.split_at(digits.len() - usize::from(value.scale));
            json!(if rest.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{rest}")
            })
        }
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(plain).collect(),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::FieldTable(table) => {
            let fields = table.inner().iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name.to_string(), plain(value)))
                    .collect(),
            )
        }
        AMQPValue::ByteArray(value) => json!(hex::encode(value.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}
