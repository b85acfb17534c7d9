//! From a message to a record: its headers, and its identity.

use std::collections::BTreeMap;

use halcyon_domain::clock::Timestamp;
use sha2::{Digest, Sha256};

use super::{config::Identity, packet::Message};
use crate::SourceRecord;

pub(crate) fn record(message: Message, identity: Identity, now: Timestamp) -> SourceRecord {
    SourceRecord {
        dedupe_key: Some(key(&message, identity)),
        headers: headers(&message),
        bytes: message.payload,
        received_at: now,
    }
}

/// MQTT gives a message no name. What does not change when it is delivered again is what its publisher said and, in
/// the same session, its packet number.
fn key(message: &Message, identity: Identity) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(message.topic.as_bytes());
    part(&message.payload);
    let properties = &message.properties;
    for text in [&properties.content_type, &properties.response_topic] {
        part(text.as_deref().unwrap_or_default().as_bytes());
    }
    part(properties.correlation_data.as_deref().unwrap_or_default());
    for (name, value) in &properties.user {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    let content = hex::encode(hash.finalize());
    match identity {
        Identity::Delivery if message.qos > 0 => format!("sha256:{content}:{}", message.id),
        _ => format!("sha256:{content}"),
    }
}

/// The publisher's own properties, and above them the protocol's.
fn headers(message: &Message) -> BTreeMap<String, String> {
    let properties = &message.properties;
    let own = properties.user.iter();
    let mut headers: BTreeMap<_, _> = own
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .collect();
    let mut put = |name: &str, value: String| headers.insert(name.to_owned(), value);
    if let Some(text) = &properties.content_type {
        put("content_type", text.clone());
    }
    if let Some(text) = &properties.response_topic {
        put("response_topic", text.clone());
    }
    if let Some(data) = &properties.correlation_data {
        put("correlation_data", hex::encode(data));
    }
    put("topic", message.topic.clone());
    put("qos", message.qos.to_string());
    put("retained", message.retained.to_string());
    headers
}
