//! Audit entries on their way to the trail. Read them with [`Bus::audit_consumer`] and `Delivery::json`.

use halcyon_domain::audit::AuditEntry;

use crate::{Bus, Error, publish::with_message_id, subjects::Subject};

impl Bus {
    /// Publishes an audit entry and waits until it is stored. An entry that is sent twice counts once.
    ///
    /// # Errors
    /// It may not be stored: the operation must not be answered as if it were.
    pub async fn publish_audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        let payload = serde_json::to_vec(entry).map_err(Error::malformed)?;
        let headers = with_message_id(&entry.id.to_string());
        let subject = Subject::Audit(entry.organization).to_string();
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }
}
