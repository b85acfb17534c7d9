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
    #[serde(borrow)]
    event: &'a RawValue,
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
        page.into_iter()
            .map(|read| {
                Ok(StoredDeadLetter {
                    sequence: read.sequence,
                    dead_letter: parse(&read.payload)?,
                })
            })
            .collect()
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

fn parse(payload: &Bytes) -> Result<DeadLetter, Error> {
    let body: Body<'_> = serde_json::from_slice(payload).map_err(Error::malformed)?;
    let event = codec::decode_event(&payload.slice_ref(body.event.get().as_bytes()))?;
    Ok(DeadLetter {
        event,
        index: body.index,
        version: body.version,
        failure: body.failure,
        failed_at: body.failed_at,
    })
}
