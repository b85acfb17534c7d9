//! Accepted events as CloudEvents. A body that is JSON is `data`, byte for byte; anything else is `data_base64`.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use halcyon_domain::event::{EventId, IngestEvent};
use serde_json::value::RawValue;

use super::{
    FrameItem,
    cloud_event::{self, CloudEvent, EVENT},
    text,
};
use crate::Error;

/// What the attributes of an event take at most, its headers, identifier and media type excepted.
const ATTRIBUTES: usize = 420;

impl FrameItem for IngestEvent {
    fn encode(&self, limit: usize) -> Result<Vec<Bytes>, Error> {
        let item = encode_event(self);
        if item.len() > limit {
            return Err(Error::TooLarge {
                size: item.len(),
                limit,
            });
        }
        Ok(vec![item])
    }
}

/// The event as one CloudEvent.
#[must_use]
pub fn encode_event(event: &IngestEvent) -> Bytes {
    let headers: usize = event
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 12)
        .sum();
    let mut buffer = Vec::with_capacity(ATTRIBUTES + headers + event.payload.len());
    cloud_event::open(
        &mut buffer,
        EVENT,
        event.id.as_str(),
        event.organization,
        event.datasource,
        event.received_at,
    );
    if let Some(content_type) = &event.content_type {
        text::member(&mut buffer, "contenttype", content_type);
    }
    if !event.headers.is_empty() {
        text::member(&mut buffer, "headers", &headers_text(&event.headers));
    }
    if event.attempt > 0 {
        text::name(&mut buffer, "attempt");
        buffer.extend_from_slice(event.attempt.to_string().as_bytes());
    }
    // A replay is made of identifiers and numbers: it always has a text.
    if let Some(text) = event
        .replay
        .as_ref()
        .and_then(|replay| serde_json::to_string(replay).ok())
    {
        text::member(&mut buffer, "replay", &text);
    }
    write_payload(&mut buffer, &event.payload);
    buffer.push(b'}');
    buffer.into()
}

fn write_payload(buffer: &mut Vec<u8>, payload: &[u8]) {
    if is_bare_json(payload) {
        buffer.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"data\":");
        buffer.extend_from_slice(payload);
    } else {
        buffer.extend_from_slice(b",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"");
        let start = buffer.len();
        buffer.resize(start + payload.len().div_ceil(3) * 4, 0);
        // The slice has the exact length of the encoding.
        let _ = BASE64_STANDARD.encode_slice(payload, &mut buffer[start..]);
        buffer.push(b'"');
    }
}

/// Whether the bytes are one JSON value with nothing around it, so that they come out as they went in.
fn is_bare_json(payload: &[u8]) -> bool {
    // `null` would be read back as no data at all.
    payload != b"null"
        && serde_json::from_slice::<&RawValue>(payload).is_ok_and(|raw| raw.get().len() == payload.len())
}

fn headers_text(headers: &BTreeMap<String, String>) -> String {
    let mut buffer = Vec::with_capacity(64);
    for (name, value) in headers {
        buffer.push(if buffer.is_empty() { b'{' } else { b',' });
        text::string(&mut buffer, name);
        buffer.push(b':');
        text::string(&mut buffer, value);
    }
    buffer.push(b'}');
    // Only whole strings and ASCII were written.
    String::from_utf8(buffer).unwrap_or_default()
}

/// The events of a frame. Bodies that are JSON share the frame's memory.
///
/// # Errors
/// The frame is no CloudEvents batch of events.
pub fn decode_events(frame: &Bytes) -> Result<Vec<IngestEvent>, Error> {
    let items: Vec<CloudEvent<'_>> = serde_json::from_slice(frame).map_err(Error::malformed)?;
    items.into_iter().map(|item| from_item(frame, item)).collect()
}

/// One event that travels alone (a parked one, or inside a dead letter).
///
/// # Errors
/// It is no CloudEvent of an event.
pub fn decode_event(message: &Bytes) -> Result<IngestEvent, Error> {
    from_item(
        message,
        serde_json::from_slice(message).map_err(Error::malformed)?,
    )
}

fn from_item(frame: &Bytes, item: CloudEvent<'_>) -> Result<IngestEvent, Error> {
    if item.specversion != "1.0" || item.kind != EVENT {
        return Err(Error::Malformed(format!(
            "a CloudEvent of type {}, not {EVENT}",
            item.kind
        )));
    }
    let missing = |name: &str| Error::Malformed(format!("a CloudEvent without {name}"));
    let payload = match (item.data, item.data_base64) {
        (Some(raw), None) => frame.slice_ref(raw.get().as_bytes()),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text.as_bytes())
            .map_err(Error::malformed)?
            .into(),
        _ => return Err(missing("exactly one of data and data_base64")),
    };
    let headers = match &item.headers {
        Some(text) => serde_json::from_str(text).map_err(Error::malformed)?,
        None => BTreeMap::new(),
    };
    let replay = match &item.replay {
        Some(text) => Some(serde_json::from_str(text).map_err(Error::malformed)?),
        None => None,
    };
    Ok(IngestEvent {
        id: EventId::from(item.id.into_owned()),
        organization: item.organization.ok_or_else(|| missing("organization"))?,
        datasource: item.datasource.ok_or_else(|| missing("datasource"))?,
        received_at: item.time.ok_or_else(|| missing("time"))?,
        content_type: item.contenttype.map(std::borrow::Cow::into_owned),
        headers,
        attempt: item.attempt,
        replay,
        payload,
    })
}
