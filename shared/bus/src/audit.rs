//! Audit entries on their way to the trail, and what is told of the trail to those who follow it. Read the former with
//! [`Bus::audit_consumer`] and `Delivery::json`.

use futures::StreamExt;
use halcyon_domain::{
    audit::{AuditCheckpoint, AuditEntry, RecordedEntry},
    id::OrganizationId,
};

use crate::{
    Bus, Error,
    publish::with_message_id,
    subjects::{Stream, Subject},
};

/// The entries of an organisation's trail as they are added to it.
pub struct RecordedEntries {
    messages: async_nats::Subscriber,
}

impl Bus {
    /// Publishes an audit entry and waits until it is stored. An entry that is sent twice counts once; one that is too
    /// large loses its diff, with a mark.
    ///
    /// # Errors
    /// It may not be stored: the operation must not be answered as if it were.
    pub async fn publish_audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        let payload = serde_json::to_vec(&entry.clone().fitted()).map_err(Error::malformed)?;
        let headers = with_message_id(&entry.id.to_string());
        let subject = Subject::Audit(entry.organization).to_string();
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }

    /// Publishes an entry that was added to the trail. It may get lost: the trail has it.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn publish_recorded(&self, recorded: &RecordedEntry) -> Result<(), Error> {
        let payload = serde_json::to_vec(recorded).map_err(Error::malformed)?;
        let subject = Subject::RecordedAudit(recorded.entry.organization).to_string();
        self.client()
            .publish(subject, payload.into())
            .await
            .map_err(Error::unavailable)
    }

    /// The entries that are added to an organisation's trail from now on.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn recorded_entries(&self, organization: OrganizationId) -> Result<RecordedEntries, Error> {
        let subject = Subject::RecordedAudit(organization).to_string();
        Ok(RecordedEntries {
            messages: self
                .client()
                .subscribe(subject)
                .await
                .map_err(Error::unavailable)?,
        })
    }

    /// Publishes a checkpoint and waits until it is stored. One that is sent twice counts once.
    ///
    /// # Errors
    /// It may not be stored.
    pub async fn publish_checkpoint(&self, checkpoint: &AuditCheckpoint) -> Result<(), Error> {
        let payload = serde_json::to_vec(checkpoint).map_err(Error::malformed)?;
        let headers = with_message_id(&checkpoint.signature.to_string());
        let subject = Subject::AuditCheckpoint(checkpoint.organization).to_string();
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }

    /// The newest checkpoint of an organisation that was published.
    ///
    /// # Errors
    /// The bus cannot be reached, or what is stored is none.
    pub async fn last_checkpoint(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<AuditCheckpoint>, Error> {
        let subject = Subject::AuditCheckpoint(organization).to_string();
        let last = self
            .read_last(Stream::AuditCheckpoints.as_str(), &subject)
            .await?;
        last.map(|read| serde_json::from_slice(&read.payload).map_err(Error::malformed))
            .transpose()
    }
}

impl RecordedEntries {
    /// Waits for the next entry; nothing once the connection is closed for good.
    pub async fn next(&mut self) -> Option<RecordedEntry> {
        loop {
            let message = self.messages.next().await?;
            if let Ok(recorded) = serde_json::from_slice(&message.payload) {
                return Some(recorded);
            }
        }
    }
}
