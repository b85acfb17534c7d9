//! Answers: read within a bound, decompressed, and taken apart into records, each byte for byte.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::Response;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{
    config::Format,
    page::Page,
    path::{Found, MOST_RECORDS, Path},
    plan::Plan,
    status::broken,
};
use crate::Error;

/// The longest identity that is kept as it is.
const LONGEST_KEY: usize = 512;

/// A record of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    /// Its identity: the id with the cursor's value, else a hash of all of it.
    pub(crate) key: String,
    /// A hash of the identity, by which the record is remembered.
    pub(crate) mark: String,
    pub(crate) cursor: Option<String>,
}

/// The body of an answer.
///
/// # Errors
/// [`Error::Transient`] for one that breaks off, [`Error::Refused`] for one that is larger than `most` bytes.
pub(crate) async fn read_limited(mut answer: Response, most: usize) -> Result<Vec<u8>, Error> {
    let zipped = answer
        .headers()
        .get(http::header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + part.len() > most {
            return Err(too_large(most));
        }
        body.extend_from_slice(&part);
    }
    // Files are handed out compressed as well, without an encoding.
    if zipped || body.starts_with(&[0x1f, 0x8b]) {
        let unzipped = spawn_blocking(move || unzip(&body, most)).await;
        return unzipped.map_err(|error| Error::System(format!("unzipping broke off: {error}")))?;
    }
    Ok(body)
}

fn too_many() -> Error {
    Error::Refused {
        message: format!("a page has more than {MOST_RECORDS} records; ask for fewer records a page"),
    }
}

fn too_large(most: usize) -> Error {
    Error::Refused {
        message: format!(
            "a page is larger than {} MiB; ask for fewer records a page, or raise `max_body_mb`",
            most / 1024 / 1024
        ),
    }
}

fn unzip(body: &[u8], most: usize) -> Result<Vec<u8>, Error> {
    let mut found = Vec::new();
    let mut reader = MultiGzDecoder::new(body).take(most as u64 + 1);
    reader
        .read_to_end(&mut found)
        .map_err(|_| Error::transient("the answer is not the gzip that it says it is"))?;
    if found.len() > most {
        return Err(too_large(most));
    }
    Ok(found)
}

/// The body as text. What is no UTF-8 is replaced, so that one bad letter does not stop a feed.
pub(crate) fn as_text(body: Vec<u8>) -> Bytes {
    // Replacing looks at each byte; most bodies need none of it, and that is found out several bytes at a time.
    match String::from_utf8(body) {
        Ok(text) => Bytes::from(text),
        Err(error) => Bytes::from(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

impl Plan {
    /// The records of a page, in its order.
    ///
    /// # Errors
    /// [`Error::Transient`] for a body that is no page of records: a page for people, an error that says it is none,
    /// or half an answer. [`Error::Refused`] for more than [`MOST_RECORDS`] records.
    pub(crate) fn records_of(&self, page: &Bytes, text: &str) -> Result<Vec<Record>, Error> {
        let found: Vec<&str> = match self.format {
            Format::Ndjson => text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .take(MOST_RECORDS + 1)
                .collect(),
            Format::Json => self.list(text)?,
        };
        if found.len() > MOST_RECORDS {
            return Err(too_many());
        }
        Ok(found
            .into_iter()
            .map(|record| self.record(page.slice_ref(record.as_bytes()), record))
            .collect())
    }

    /// Whether a feed that has never read a cursor can move on from these records.
    ///
    /// # Errors
    /// [`Error::Refused`] if there are some, and none has a cursor that could be read.
    pub(crate) fn can_move_on(&self, records: &[Record]) -> Result<(), Error> {
        if self.cursor.is_none() || records.is_empty() || records.iter().any(|record| record.cursor.is_some())
        {
            return Ok(());
        }
        Err(Error::Refused {
            message: "no record of the page has a value of the cursor's kind at /cursor/path, so the feed could not \
                      move on; see `path`, `kind` and `format` of `cursor` against a record"
                .to_owned(),
        })
    }

    fn list<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, Error> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let whole = Path::parse("@");
        let Some(path) = self.records.as_ref().or(whole.as_ref()) else {
            return Ok(Vec::new());
        };
        match path.records(text) {
            Found::List(items) => Ok(items),
            Found::One(record) => Ok(vec![record]),
            Found::TooMany => Err(too_many()),
            Found::Nothing | Found::Other if serde_json::from_str::<&RawValue>(text).is_err() => {
                Err(Error::transient(
                    "the answer is no JSON; maybe a page for people, or an answer that broke off",
                ))
            }
            Found::Nothing if self.records_optional => Ok(Vec::new()),
            Found::Nothing => Err(Error::transient(
                "the answer has no list at `records`; if the other side leaves it out when there is nothing, set \
                 `records_optional`",
            )),
            Found::Other => Err(Error::transient("what the answer has at `records` is no list")),
        }
    }

    fn record(&self, bytes: Bytes, text: &str) -> Record {
        let cursor = self.cursor.as_ref().and_then(|cursor| {
            let value = cursor.path.text(text)?;
            cursor.kind.reads(&value).then_some(value)
        });
        let id = self
            .id
            .as_ref()
            .and_then(|id| id.text(text))
            .filter(|id| !id.is_empty());
        let key = match (id, &cursor) {
            (Some(id), Some(cursor)) => format!("{id}@{cursor}"),
            (Some(id), None) => id,
            (None, _) => hash(&bytes),
        };
        let key = if key.len() > LONGEST_KEY {
            hash(key.as_bytes())
        } else {
            key
        };
        let mark = mark(&key);
        Record {
            bytes,
            key,
            mark,
            cursor,
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..16])
}

/// What a page is known by: the name that the other side gave it, or else its records.
pub(crate) fn mark_of_page(page: &Page, records: &[Record]) -> String {
    match page {
        Page::Token(name) | Page::Url(name) => mark(name),
        Page::First | Page::Number(_) => {
            let marks: Vec<&str> = records.iter().map(|record| record.mark.as_str()).collect();
            mark(&marks.join(","))
        }
    }
}

/// 80 bits: enough that no two records of a feed are ever taken for one.
fn mark(key: &str) -> String {
    hex::encode(&Sha256::digest(key)[..10])
}
