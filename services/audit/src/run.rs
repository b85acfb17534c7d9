//! The audit service from its start to its end.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use halcyon_bus::{Bus, Consumer, Delivery};
use halcyon_domain::{
    audit::{AuditEntry, RecordedEntry},
    clock::Clock,
};
use halcyon_infra::{Check, Health, Metric, Metrics, Shutdown};
use halcyon_store::Store;
use halcyon_trail::SigningKeys;

use crate::{
    Settings,
    append::append,
    prune::prune,
    sign::{Due, keep_signing},
};

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

/// Runs the service until `shutdown` is triggered, the batch in hand is written and the last checkpoint is signed.
///
/// # Errors
/// The key file is of no use. A bus or database that fails is waited for.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let check = ctx.health.check("audit.trail");
    let keys =
        SigningKeys::read_file(&settings.key_file).context("the keys of the audit trail cannot be read")?;
    let consumer = ctx.bus.audit_consumer();
    check.ready();
    let due = Due::default();
    let interval = settings.checkpoint_interval.get();
    // What is signed last is what was written last.
    let written = Shutdown::new();
    let writing = async {
        write_all(&ctx, consumer, &settings, &due, &check, &shutdown).await;
        written.trigger();
    };
    tokio::join!(
        writing,
        keep_signing(&ctx, &keys, &due, settings.checkpoint_entries, interval, &written),
        keep_pruned(&ctx, &keys, settings.maintain_every.get(), &shutdown),
    );
    Ok(())
}

/// Writes what comes.
async fn write_all(
    ctx: &Context,
    mut consumer: Consumer,
    settings: &Settings,
    due: &Due,
    check: &Check,
    shutdown: &Shutdown,
) {
    while let Some(batch) = shutdown
        .unless_triggered(consumer.next_batch(settings.batch))
        .await
    {
        match write(ctx, &batch).await {
            Ok(added) => {
                ctx.metrics.add(Metric::AuditEntries, added.len() as u64, &[]);
                check.ready();
                for delivery in batch {
                    if let Err(error) = delivery.ack().await {
                        tracing::warn!(%error, "an audit entry's ack was lost; it will come again");
                    }
                }
                tell(ctx, &added).await;
                for recorded in &added {
                    due.note(recorded.entry.organization, settings.checkpoint_entries);
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
}

async fn write(ctx: &Context, batch: &[Delivery]) -> anyhow::Result<Vec<RecordedEntry>> {
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
    append(&ctx.store, entries, ctx.clock.now()).await
}

/// Tells those who follow the trail.
async fn tell(ctx: &Context, added: &[RecordedEntry]) {
    for recorded in added {
        if let Err(error) = ctx.bus.publish_recorded(recorded).await {
            tracing::debug!(%error, "those who follow the audit trail read it from the database");
            return;
        }
    }
}

/// Removes what is past its time, now and then.
async fn keep_pruned(ctx: &Context, keys: &SigningKeys, every: Duration, shutdown: &Shutdown) {
    let mut interval = tokio::time::interval(every);
    while shutdown.unless_triggered(interval.tick()).await.is_some() {
        if let Some(Err(error)) = shutdown.unless_triggered(prune(ctx, keys)).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "upkeep of the audit trail failed; it will be tried again"
            );
        }
    }
}
