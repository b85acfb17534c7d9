//! From the bytes of a message to the record that mappings see.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::FixedOffset;
use halcyon_domain::clock::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{event, framing::Frame, message};
use crate::{Error, SourceRecord};

/// A message as mappings see it.
#[derive(Serialize)]
struct Record<'a> {
    format: &'static str,
    facility: Option<&'static str>,
    facility_code: Option<u8>,
    severity: Option<&'static str>,
    severity_code: Option<u8>,
    timestamp: Option<String>,
    host: Option<&'a str>,
    app: Option<&'a str>,
    procid: Option<&'a str>,
    msgid: Option<&'a str>,
    structured_data: Map<String, Value>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cef: Option<event::Cef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leef: Option<event::Leef>,
    raw: &'a str,
    /// The bytes, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    truncated: bool,
    sender: IpAddr,
    transport: &'static str,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) sender: IpAddr,
    pub(super) transport: &'static str,
}

/// How messages are read and named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The zone of times that say none.
    pub(super) zone: FixedOffset,
    /// Whether equal messages of one sender are one event.
    pub(super) by_content: bool,
}

/// The record of a frame. `identity` is the record's own, for where content does not make one.
pub(super) fn record(
    frame: &Frame,
    origin: Origin,
    reading: Reading,
    now: Timestamp,
    identity: impl FnOnce() -> String,
) -> Result<SourceRecord, Error> {
    let raw = String::from_utf8_lossy(&frame.bytes);
    let raw_base64 = std::str::from_utf8(&frame.bytes)
        .is_err()
        .then(|| STANDARD.encode(&frame.bytes));
    let message = message::parse(&raw, now, reading.zone);
    let record = Record {
        format: message.format,
        facility: message.facility(),
        facility_code: message.priority.map(|priority| priority / 8),
        severity: message.severity(),
        severity_code: message.priority.map(|priority| priority % 8),
        cef: event::cef(message.text),
        leef: event::leef(message.text),
        timestamp: message.timestamp,
        host: message.host,
        app: message.app,
        procid: message.procid,
        msgid: message.msgid,
        structured_data: message.structured_data,
        message: message.text,
        raw: &raw,
        raw_base64,
        truncated: frame.truncated,
        sender: origin.sender,
        transport: origin.transport,
    };
    let bytes = serde_json::to_vec(&record).map_err(|error| Error::System(error.to_string()))?;
    let key = if reading.by_content {
        content_key(&frame.bytes, origin.sender)
    } else {
        identity()
    };
    Ok(SourceRecord {
        bytes: Bytes::from(bytes),
        dedupe_key: Some(key),
        received_at: now,
        headers: BTreeMap::from([
            ("sender".to_owned(), origin.sender.to_string()),
            ("transport".to_owned(), origin.transport.to_owned()),
        ]),
    })
}

fn content_key(bytes: &[u8], sender: IpAddr) -> String {
    let mut hash = Sha256::new();
    hash.update(sender.to_string());
    hash.update([0]);
    hash.update(bytes);
    hex::encode(hash.finalize())
}
