//! Records that could not be mapped: published by workers, read back page by page.

use bytes::Bytes;
use halcyon_domain::{
    clock::Timestamp,
    error::InputError,
    event::DeadLetter,
    id::{DatasourceId, OrganizationId},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Bus, Error, codec, direct,
    publish::with_message_id,
    subjects::{Stream, Subject},
};

/// A dead letter as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// Its place in the stream: the cursor.
    pub sequence: u64,
    /// The dead letter.
    pub dead_letter: DeadLetter,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    index: u32,
    version: u32,
    failure: InputError,
    failed_at: Timestamp,
    #[serde(default = "complete")]
    complete: bool,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// What was written before it was said.
const fn complete() -> bool {
    true
}

/// How many times the space between two places may be divided or widened in one look backwards.
const ROUNDS: usize = 96;

/// Where to begin to read dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a sequence and after it, the oldest first.
    From(u64),
    /// At a time and after it, the oldest first.
    Since(Timestamp),
    /// Before a sequence, the newest first.
    Before(u64),
}

impl Bus {
    /// Publishes a dead letter and waits until it is stored. One record and attempt counts once within the
    /// stream's duplicate window.
    ///
    /// # Errors
    /// It may not be stored: do not ack its event. `TooLarge` if the event leaves no room for the reason.
    pub async fn publish_dead_letter(&self, dead_letter: &DeadLetter) -> Result<(), Error> {
        let event = &dead_letter.event;
        let encoded = codec::encode_event(event);
        let text = std::str::from_utf8(&encoded).map_err(Error::malformed)?;
        let body = Body {
            index: dead_letter.index,
            version: dead_letter.version,
            failure: dead_letter.failure.clone(),
            failed_at: dead_letter.failed_at,
            complete: dead_letter.complete,
            event: serde_json::from_str(text).map_err(Error::malformed)?,
        };
        let payload = serde_json::to_vec(&body).map_err(Error::malformed)?;
        let id = format!("{}/{}/{}", event.id, dead_letter.index, event.attempt);
        let subject = Subject::DeadLetter(event.organization, event.datasource).to_string();
        // An event's identifier is unique within its datasource only.
        let headers = with_message_id(&format!("{}/{id}", event.datasource));
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }

    /// Up to `limit` dead letters of a datasource from sequence `from` on, oldest first. The next page begins
    /// one after the last one's sequence; an empty page is the end.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn dead_letters(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, Error> {
        let subject = Subject::DeadLetter(organization, datasource).to_string();
        let page = self
            .read(
                Stream::DeadLetter.as_str(),
                &subject,
                direct::From::Sequence(from),
                limit,
            )
            .await?;
        page.into_iter().map(stored).collect()
    }

    /// Up to `limit` dead letters of a datasource from a place on, and in its direction; fewer where they are large. An
    /// empty page is the end.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn dead_letters_at(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        place: Place,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, Error> {
        let subject = Subject::DeadLetter(organization, datasource).to_string();
        let stream = Stream::DeadLetter.as_str();
        let read = match place {
            Place::From(sequence) => {
                let from = direct::From::Sequence(sequence);
                self.read(stream, &subject, from, limit).await?
            }
            Place::Since(time) => {
                self.read(stream, &subject, direct::From::Time(time), limit)
                    .await?
            }
            Place::Before(sequence) => self.read_before(&subject, sequence, limit).await?,
        };
        read.into_iter().map(stored).collect()
    }

    /// How many dead letters are kept of a datasource.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn dead_letter_count(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<u64, Error> {
        let subject = Subject::DeadLetter(organization, datasource).to_string();
        let stream = Stream::DeadLetter.as_str();
        let counts = self.subject_counts(stream, &subject).await?;
        Ok(counts.into_iter().map(|(_, count)| count).sum())
    }

    /// Up to `limit` messages of a subject before a sequence, the newest first. The server reads forwards only: the
    /// space before the sequence is taken in pieces, wider ones where there is little in them.
    async fn read_before(
        &self,
        subject: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<direct::Read>, Error> {
        let stream = Stream::DeadLetter.as_str();
        let Some(last) = self.read_last(stream, subject).await? else {
            return Ok(Vec::new());
        };
        let mut high = before.min(last.sequence + 1);
        let mut width = (limit as u64).max(1);
        let mut found: Vec<direct::Read> = Vec::new();
        for _ in 0..ROUNDS {
            let left = limit.saturating_sub(found.len());
            let bytes: usize = found.iter().map(|read| read.payload.len()).sum();
            if left == 0 || high <= 1 || bytes >= direct::PAGE_BYTES {
                break;
            }
            let low = high.saturating_sub(width).max(1);
            // One look tells an empty piece, without reading what comes after it.
            let first = self.read(stream, subject, direct::From::Sequence(low), 1).await?;
            let first = first.first().map_or(high, |read| read.sequence);
            if first >= high {
                (high, width) = (low, width.saturating_mul(8));
                continue;
            }
            let from = direct::From::Sequence(first);
            let page = self.read(stream, subject, from, limit.max(1)).await?;
            let reached = page.last().map_or(high, |read| read.sequence + 1);
            // A page is cut by its number and by its bytes.
            let is_cut = reached < high
                && (page.len() >= limit.max(1) || self.is_between(subject, reached, high).await?);
            if is_cut && width > 1 {
                // More than a page is in it: the end of the piece is what is wanted.
                width = (high - reached).min(width / 2).max(1);
                continue;
            }
            let piece: Vec<_> = page.into_iter().filter(|read| read.sequence < high).collect();
            found.extend(piece.into_iter().rev().take(left));
            (high, width) = (low, width.saturating_mul(2));
        }
        Ok(found)
    }

    /// Whether a message of a subject lies at or after `from` and before `to`.
    async fn is_between(&self, subject: &str, from: u64, to: u64) -> Result<bool, Error> {
        let from = direct::From::Sequence(from);
        let next = self.read(Stream::DeadLetter.as_str(), subject, from, 1).await?;
        Ok(next.first().is_some_and(|read| read.sequence < to))
    }

    /// One dead letter of a datasource, by its sequence.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn dead_letter(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        sequence: u64,
    ) -> Result<Option<StoredDeadLetter>, Error> {
        let page = self.dead_letters(organization, datasource, sequence, 1).await?;
        Ok(page.into_iter().find(|stored| stored.sequence == sequence))
    }
}

fn stored(read: direct::Read) -> Result<StoredDeadLetter, Error> {
    Ok(StoredDeadLetter {
        sequence: read.sequence,
        dead_letter: parse(&read.payload)?,
    })
}

fn parse(payload: &Bytes) -> Result<DeadLetter, Error> {
    let body: Body<'_> = serde_json::from_slice(payload).map_err(Error::malformed)?;
    let event = codec::decode_event(&payload.slice_ref(body.event.get().as_bytes()))?;
    Ok(DeadLetter {
        event,
        index: body.index,
        version: body.version,
        failure: body.failure,
        failed_at: body.failed_at,
        complete: body.complete,
    })
}
