//! A message as a record.

use std::collections::BTreeMap;

use async_nats::{Message, jetstream};
use chrono::{DateTime, SecondsFormat};
use halcyon_domain::clock::Timestamp;

use super::config::Dedupe;
use crate::{Error, SourceRecord};

/// The header by which publishers name a message.
const MESSAGE_ID: &str = "nats-msg-id";

/// A message that was taken from the server.
pub(super) struct Taken {
    pub(super) record: SourceRecord,
    /// Its number in the stream; 0 outside of streams.
    pub(super) sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub(super) published: i128,
    /// How many messages come after it.
    pub(super) pending: u64,
    /// Where its acknowledgement goes.
    pub(super) reply: Option<String>,
}

/// A message of a stream.
pub(super) fn of_stream(
    message: &jetstream::Message,
    dedupe: Dedupe,
    received_at: Timestamp,
) -> Result<Taken, Error> {
    let info = message.info().map_err(|_| {
        Error::System("a message of a stream does not say where in the stream it belongs".to_owned())
    })?;
    let published = info.published.unix_timestamp_nanos();
    let mut headers = headers(message);
    headers.insert("nats-stream".to_owned(), info.stream.to_owned());
    headers.insert("nats-sequence".to_owned(), info.stream_sequence.to_string());
    let time = i64::try_from(published).map(DateTime::from_timestamp_nanos);
    if let Ok(time) = time {
        let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        headers.insert("nats-time-stamp".to_owned(), text);
    }
    // With the time: a stream that was made anew under its old name counts from 1 again.
    let place = format!("{}/{}@{published}", info.stream, info.stream_sequence);
    let key = match dedupe {
        Dedupe::MessageId => headers.get(MESSAGE_ID).map(|id| format!("{}#{id}", info.stream)),
        Dedupe::Sequence => None,
    };
    Ok(Taken {
        sequence: info.stream_sequence,
        published,
        pending: info.pending,
        reply: message.reply.as_ref().map(ToString::to_string),
        record: SourceRecord {
            bytes: message.payload.clone(),
            dedupe_key: Some(key.unwrap_or(place)),
            received_at,
            headers,
        },
    })
}

/// A message of a plain subject: it has an identity only if its publisher gave it one.
pub(super) fn of_subject(message: &Message, dedupe: Dedupe, received_at: Timestamp) -> Taken {
    let headers = headers(message);
    let id = headers.get(MESSAGE_ID).cloned();
    Taken {
        record: SourceRecord {
            bytes: message.payload.clone(),
            dedupe_key: id.filter(|_| dedupe == Dedupe::MessageId),
            received_at,
            headers,
        },
        sequence: 0,
        published: 0,
        pending: 0,
        reply: None,
    }
}

fn headers(message: &Message) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, values) in message.headers.iter().flat_map(|headers| headers.iter()) {
        let values: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
        found.insert(name.to_string().to_ascii_lowercase(), values.join(", "));
    }
    found.insert("nats-subject".to_owned(), message.subject.to_string());
    found
}
