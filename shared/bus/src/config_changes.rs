//! Notices that a datasource's configuration changed, from the outbox to the registry, and the hint that the
//! outbox has rows. Read the notices with [`Bus::config_consumer`] and `Delivery::json`.

use futures::StreamExt;
use halcyon_domain::{assignment::ConfigChange, id::OutboxId};

use crate::{Bus, Error, publish::with_message_id, subjects::Subject};

impl Bus {
    /// Publishes a change notice and waits until it is stored. A row that is sent twice counts once.
    ///
    /// # Errors
    /// It may not be stored: keep the row.
    pub async fn publish_config_change(&self, id: OutboxId, change: &ConfigChange) -> Result<(), Error> {
        let payload = serde_json::to_vec(change).map_err(Error::malformed)?;
        let headers = with_message_id(&id.to_string());
        let subject = Subject::Config(change.organization, change.datasource).to_string();
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }

    /// Tells the outbox relays that there are rows. It may get lost: they also look from time to time.
    pub async fn poke_outbox(&self) {
        let poke = self
            .client()
            .publish(Subject::OutboxPoke.to_string(), bytes::Bytes::new())
            .await;
        if let Err(error) = poke {
            tracing::debug!(error = %error, "the outbox could not be poked");
        }
    }

    /// The hints that the outbox has rows.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn outbox_pokes(&self) -> Result<OutboxPokes, Error> {
        let pokes = self.client().subscribe(Subject::OutboxPoke.to_string()).await;
        Ok(OutboxPokes {
            pokes: pokes.map_err(Error::unavailable)?,
        })
    }
}

/// Hints that the outbox has rows.
pub struct OutboxPokes {
    pokes: async_nats::Subscriber,
}

impl OutboxPokes {
    /// Waits for the next hint.
    pub async fn next(&mut self) {
        if self.pokes.next().await.is_none() {
            // The connection was closed for good: there will be no more.
            std::future::pending::<()>().await;
        }
    }
}
