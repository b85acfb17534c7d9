//! From a request's body to events: decompression, formats, identities. Lines of NDJSON are slices of the body.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::{Map, Value};

use super::{MAX_BODY, config::Format, dedupe};

/// The most events of one request.
const MAX_EVENTS: usize = 10_000;
/// The most fields of a form.
const MAX_FIELDS: usize = 1_000;

/// One accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// The event, byte for byte; a form as JSON.
    pub bytes: Bytes,
    /// The event's identity, if it has one: a redelivery has the same.
    pub dedupe_key: Option<String>,
    /// The event's media type where it is not the request's (a form's, a line's of NDJSON).
    pub content_type: Option<&'static str>,
}

/// Why a body cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// There is nothing in it.
    #[error("the body is empty")]
    Empty,
    /// The body, what it decompresses to, or one event of it is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// It has too many events.
    #[error("the body has more than {limit} events")]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
    /// Its content type is none that is read here.
    #[error("content type `{0}` is not supported")]
    UnsupportedType(String),
    /// Its content encoding is none that is read here.
    #[error("content encoding `{0}` is not supported")]
    UnsupportedEncoding(String),
    /// It is not what its content encoding or format says.
    #[error("the body is not valid {0}")]
    Malformed(&'static str),
}

impl BodyError {
    /// The HTTP status to answer with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Empty | Self::Malformed(_) => 400,
            Self::TooLarge { .. } | Self::TooManyEvents { .. } => 413,
            Self::UnsupportedType(_) | Self::UnsupportedEncoding(_) => 415,
        }
    }

    /// A stable word for metrics and problem details.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_body",
            Self::Malformed(_) => "malformed_body",
            Self::TooLarge { .. } => "body_too_large",
            Self::TooManyEvents { .. } => "too_many_events",
            Self::UnsupportedType(_) => "unsupported_content_type",
            Self::UnsupportedEncoding(_) => "unsupported_content_encoding",
        }
    }
}

/// What bodies may be.
#[derive(Clone, Debug)]
pub(crate) struct BodyRules {
    pub(crate) format: Format,
    pub(crate) max_body: usize,
    pub(crate) max_decompressed: usize,
    pub(crate) dedupe: Vec<dedupe::DedupeSource>,
}

impl BodyRules {
    /// The events of a body.
    pub(crate) fn events(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<RawEvent>, BodyError> {
        if body.len() > self.max_body {
            return Err(BodyError::TooLarge {
                what: "the body",
                limit: self.max_body,
            });
        }
        let format = self.format_of(headers)?;
        let body = self.decompress(headers, body)?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(BodyError::Empty);
        }
        match format {
            Format::Ndjson => self.lines(headers, &body),
            Format::Form => {
                let json = Bytes::from(form_to_json(&body)?);
                Ok(vec![self.event(headers, json, None, Some("application/json"))?])
            }
            Format::Json | Format::Auto => Ok(vec![self.event(headers, body, None, None)?]),
        }
    }

    fn event(
        &self,
        headers: &HeaderMap,
        bytes: Bytes,
        line: Option<usize>,
        content_type: Option<&'static str>,
    ) -> Result<RawEvent, BodyError> {
        if bytes.len() > MAX_BODY {
            return Err(BodyError::TooLarge {
                what: "an event",
                limit: MAX_BODY,
            });
        }
        let dedupe_key = dedupe::key_of(&self.dedupe, headers, &bytes, line);
        Ok(RawEvent {
            bytes,
            dedupe_key,
            content_type,
        })
    }

    fn lines(&self, headers: &HeaderMap, body: &Bytes) -> Result<Vec<RawEvent>, BodyError> {
        let mut events = Vec::new();
        for line in body.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if events.len() == MAX_EVENTS {
                return Err(BodyError::TooManyEvents { limit: MAX_EVENTS });
            }
            let number = Some(events.len());
            events.push(self.event(headers, body.slice_ref(line), number, Some("application/json"))?);
        }
        Ok(events)
    }

    fn format_of(&self, headers: &HeaderMap) -> Result<Format, BodyError> {
        if self.format != Format::Auto {
            return Ok(self.format);
        }
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Format::Json);
        };
        let value = value.to_str().unwrap_or("?");
        let media = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match media.as_str() {
            "" | "application/json" | "text/json" | "text/plain" | "application/octet-stream" => {
                Ok(Format::Json)
            }
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Ok(Format::Ndjson),
            "application/x-www-form-urlencoded" => Ok(Format::Form),
            other if other.ends_with("+json") => Ok(Format::Json),
            _ => Err(BodyError::UnsupportedType(media.chars().take(100).collect())),
        }
    }

    fn decompress(&self, headers: &HeaderMap, body: Bytes) -> Result<Bytes, BodyError> {
        let encoding = match headers.get(CONTENT_ENCODING) {
            Some(value) => value.to_str().unwrap_or("?").trim().to_ascii_lowercase(),
            None => return Ok(body),
        };
        match encoding.as_str() {
            "" | "identity" => Ok(body),
            "gzip" | "x-gzip" => gunzip(&body, self.max_decompressed),
            _ => Err(BodyError::UnsupportedEncoding(
                encoding.chars().take(100).collect(),
            )),
        }
    }
}

/// Decompresses up to `limit` bytes: a bomb costs no more memory than that.
fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let mut reader = MultiGzDecoder::new(body).take(limit as u64 + 1);
    reader
        .read_to_end(&mut out)
        .map_err(|_| BodyError::Malformed("gzip"))?;
    if out.len() > limit {
        return Err(BodyError::TooLarge {
            what: "the decompressed body",
            limit,
        });
    }
    Ok(out.into())
}

/// A form as a JSON object. A field `payload` that holds a JSON object is the event itself, as GitHub and Slack
/// send it.
fn form_to_json(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut fields: Map<String, Value> = Map::new();
    for (count, pair) in body.trim_ascii().split(|byte| *byte == b'&').enumerate() {
        if count == MAX_FIELDS {
            return Err(BodyError::Malformed("form"));
        }
        if pair.is_empty() {
            continue;
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = percent_decode(halves.next().unwrap_or_default())?;
        let value = percent_decode(halves.next().unwrap_or_default())?;
        if name == "payload" && serde_json::from_str::<Map<String, Value>>(&value).is_ok() {
            return Ok(value.into_bytes());
        }
        match fields.get_mut(&name) {
            None => drop(fields.insert(name, Value::String(value))),
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
        }
    }
    serde_json::to_vec(&fields).map_err(|_| BodyError::Malformed("form"))
}

/// Decodes one half of a pair (WHATWG URL, application/x-www-form-urlencoded).
pub(crate) fn percent_decode(text: &[u8]) -> Result<String, BodyError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let mut value = [0];
                match hex::decode_to_slice(digits, &mut value) {
                    Ok(()) => {
                        out.extend(value);
                        rest = after;
                    }
                    Err(_) => out.push(b'%'),
                }
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| BodyError::Malformed("form"))
}
