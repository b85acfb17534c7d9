//! The audit service from its start to its end.

use std::{sync::Arc, time::Duration};

use halcyon_bus::{Bus, Delivery};
use halcyon_domain::{audit::AuditEntry, clock::Clock};
use halcyon_infra::{Health, Metric, Metrics, Shutdown};
use halcyon_store::Store;

use crate::{Settings, append::append};

/// What the audit service works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its checks are shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
}

/// Runs the service until `shutdown` is triggered and the batch in hand is written.
///
/// # Errors
/// None at present: a bus or database that fails is waited for.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let check = ctx.health.check("audit.trail");
    let mut consumer = ctx.bus.audit_consumer();
    check.ready();
    while let Some(batch) = shutdown
        .unless_triggered(consumer.next_batch(settings.batch))
        .await
    {
        match write(&ctx, &batch).await {
            Ok(added) => {
                ctx.metrics.add(Metric::AuditEntries, added as u64, &[]);
                check.ready();
                for delivery in batch {
                    if let Err(error) = delivery.ack().await {
                        tracing::warn!(%error, "an audit entry's ack was lost; it will come again");
                    }
                }
            }
            Err(error) => {
                // Nothing was acked: the entries come again.
                tracing::error!(
                    error = format!("{error:#}"),
                    entries = batch.len(),
                    "audit entries cannot be written yet"
                );
                check.failing(error.to_string());
                drop(batch);
                shutdown
                    .unless_triggered(tokio::time::sleep(Duration::from_secs(1)))
                    .await;
            }
        }
    }
    Ok(())
}

async fn write(ctx: &Context, batch: &[Delivery]) -> anyhow::Result<usize> {
    let mut entries = Vec::with_capacity(batch.len());
    for delivery in batch {
        match delivery.json::<AuditEntry>() {
            Ok(entry) => entries.push(entry),
            // Only our own services may publish here, so this is a fault of ours; the stream keeps the message.
            Err(error) => {
                tracing::error!(%error, sequence = delivery.sequence(), "an audit entry cannot be read")
            }
        }
    }
    append(&ctx.store, entries).await
}
