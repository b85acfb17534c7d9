//! The outbox relay: publishes the outbox's rows in order and deletes them once they are kept by the bus.
//!
//! One relay works at a time, under a lease. Two for a moment would do no harm: receivers know a second copy by
//! its identifier. The relay is woken by changes of its own process, by hints from others, and by a slow sweep.

use std::{sync::Arc, time::Duration};

use halcyon_bus::{Bus, LeaseHolder, LeaseRecord, subjects::lease_keys::OUTBOX_RELAY};
use halcyon_domain::id::{InstanceId, OutboxId};
use halcyon_infra::{Metric, Metrics, Shutdown};
use halcyon_store::{AllTenants, OutboxMessage, Store, Topic};
use tokio::sync::Notify;

/// Rows that are taken at a time.
const BATCH: u64 = 100;
/// How often the relay looks without being told to.
const SWEEP: Duration = Duration::from_secs(5);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a pass over the outbox ended early.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] halcyon_store::Error),
    #[error(transparent)]
    Bus(#[from] halcyon_bus::Error),
}

/// The relay of a process.
pub(crate) struct Relay {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    /// Woken by this process's changes.
    pub(crate) poke: Arc<Notify>,
}

const fn everybody() -> AllTenants {
    AllTenants::because("the relay publishes the messages of all organisations")
}

impl Relay {
    /// Relays while this process holds the lease, until `shutdown` is triggered.
    pub(crate) async fn run(self, instance: InstanceId, lease: Duration, shutdown: Shutdown) {
        let record = LeaseRecord {
            holder: instance.to_string(),
            session: 1,
            info: serde_json::Value::Null,
        };
        let holder = self.bus.leases(lease).hold(OUTBOX_RELAY, record);
        while !shutdown.is_triggered() {
            if shutdown.unless_triggered(holder.held()).await.is_none() {
                break;
            }
            tracing::info!("this process relays the outbox");
            shutdown.unless_triggered(self.relay(&holder)).await;
        }
        // What was written last goes out before another process takes over.
        if holder.is_held() {
            let _ = tokio::time::timeout(PAUSE * 4, self.pass(&holder)).await;
        }
        holder.release().await;
    }

    /// Relays until the lease is lost.
    async fn relay(&self, holder: &LeaseHolder) {
        let mut pokes = loop {
            match self.bus.outbox_pokes().await {
                Ok(pokes) => break pokes,
                Err(error) => tracing::debug!(error = %error, "the outbox's hints cannot be had yet"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let mut failing = false;
        while holder.is_held() {
            let wait = match self.pass(holder).await {
                Ok(()) => {
                    failing = false;
                    SWEEP
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %error, "the outbox cannot be relayed now; trying on");
                    }
                    PAUSE
                }
            };
            tokio::select! {
                () = self.poke.notified() => {}
                () = pokes.next() => {}
                () = tokio::time::sleep(wait) => {}
                () = holder.lost() => {}
            }
        }
    }

    /// Publishes what is in the outbox, in order.
    async fn pass(&self, holder: &LeaseHolder) -> Result<(), Error> {
        loop {
            let messages = self.store.read().outbox().next(everybody(), BATCH).await?;
            let mut published = Vec::with_capacity(messages.len());
            let mut outcome: Result<(), Error> = Ok(());
            for message in &messages {
                if !holder.is_held() {
                    break;
                }
                match self.publish(message).await {
                    Ok(()) => published.push(message.message.id),
                    Err(halcyon_bus::Error::Malformed(error)) => {
                        tracing::error!(outbox.id = %message.message.id, error, "an outbox row cannot be read; it stays");
                    }
                    Err(error) => {
                        outcome = Err(error.into());
                        break;
                    }
                }
            }
            self.delete(&published).await?;
            outcome?;
            if published.len() < BATCH as usize {
                return Ok(());
            }
        }
    }

    async fn publish(&self, message: &OutboxMessage) -> Result<(), halcyon_bus::Error> {
        let malformed = |error: serde_json::Error| halcyon_bus::Error::Malformed(error.to_string());
        let message = &message.message;
        match message.topic {
            Topic::Config => {
                let change = serde_json::from_str(&message.body).map_err(malformed)?;
                self.bus.publish_config_change(message.id, &change).await?;
            }
            Topic::Audit => {
                let entry = serde_json::from_str(&message.body).map_err(malformed)?;
                self.bus.publish_audit(&entry).await?;
            }
        }
        self.metrics
            .add(Metric::OutboxPublished, 1, &[("topic", message.topic.as_str())]);
        Ok(())
    }

    async fn delete(&self, published: &[OutboxId]) -> Result<(), Error> {
        if published.is_empty() {
            return Ok(());
        }
        let tx = self.store.begin().await?;
        tx.outbox().delete(everybody(), published).await?;
        tx.commit().await?;
        Ok(())
    }
}
