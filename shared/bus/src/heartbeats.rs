//! What workers say of themselves: core messages, never stored.

use futures::StreamExt;
use halcyon_domain::assignment::Heartbeat;

use crate::{
    Bus, Error,
    subjects::{HEARTBEATS, Subject},
};

impl Bus {
    /// Publishes a heartbeat. It may get lost: the next one says it all again.
    ///
    /// # Errors
    /// The connection is closed. `TooLarge` if it does not fit a message.
    pub async fn publish_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), Error> {
        let payload = serde_json::to_vec(heartbeat).map_err(Error::malformed)?;
        let (size, limit) = (payload.len(), self.max_payload());
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let subject = Subject::Heartbeat(heartbeat.worker).to_string();
        self.client()
            .publish(subject, payload.into())
            .await
            .map_err(Error::unavailable)
    }

    /// The heartbeats of all workers, from now on.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn heartbeats(&self) -> Result<Heartbeats, Error> {
        let messages = self
            .client()
            .subscribe(HEARTBEATS)
            .await
            .map_err(Error::unavailable)?;
        Ok(Heartbeats { messages })
    }
}

/// The heartbeats of all workers.
pub struct Heartbeats {
    messages: async_nats::Subscriber,
}

impl Heartbeats {
    /// Waits for the next heartbeat; nothing once the connection is closed for good.
    pub async fn next(&mut self) -> Option<Heartbeat> {
        loop {
            let message = self.messages.next().await?;
            match serde_json::from_slice(&message.payload) {
                Ok(heartbeat) => return Some(heartbeat),
                Err(error) => tracing::warn!(error = %error, "a heartbeat cannot be read"),
            }
        }
    }
}
