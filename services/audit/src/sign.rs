//! Checkpoints: signed statements of where a chain is, kept in the database and told to the bus, so that a trail that
//! is cut or rewritten later does not verify.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use halcyon_domain::{
    audit::{AuditCheckpoint, CheckpointKind},
    id::OrganizationId,
};
use halcyon_infra::Shutdown;
use halcyon_store::{AllTenants, Tenant};
use halcyon_trail::{SigningKeys, checkpoint::Statement};
use tokio::sync::Notify;

use crate::run::Context;

/// How long the last checkpoints of a process may take.
const LAST: Duration = Duration::from_secs(3);

/// What waits for a checkpoint.
#[derive(Default)]
pub(crate) struct Due {
    entries: Mutex<BTreeMap<OrganizationId, u64>>,
    many: Notify,
}

impl Due {
    /// Notes an entry of an organisation; the signer is woken when there are `most` of them.
    pub(crate) fn note(&self, organization: OrganizationId, most: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = entries.entry(organization).or_default();
        *count += 1;
        if *count >= most {
            self.many.notify_one();
        }
    }

    /// Takes the organisations with `least` entries or more.
    fn take(&self, least: u64) -> Vec<OrganizationId> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<_> = entries
            .iter()
            .filter(|(_, count)| **count >= least)
            .map(|(organization, _)| *organization)
            .collect();
        for organization in &taken {
            entries.remove(organization);
        }
        taken
    }

    /// Puts one back that could not be signed.
    fn put_back(&self, organization: OrganizationId) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.entry(organization).or_insert(1);
    }
}

/// Signs checkpoints until `shutdown`, and the last ones then.
pub(crate) async fn keep_signing(
    ctx: &Context,
    keys: &SigningKeys,
    due: &Due,
    entries: u64,
    interval: Duration,
    shutdown: &Shutdown,
) {
    if shutdown.unless_triggered(begin(ctx, keys, due)).await.is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let least = tokio::select! {
            _ = ticks.tick() => 1,
            () = due.many.notified() => entries,
            () = shutdown.triggered() => break,
        };
        sign_due(ctx, keys, due, least).await;
    }
    if tokio::time::timeout(LAST, sign_due(ctx, keys, due, 1))
        .await
        .is_err()
    {
        tracing::warn!("the last checkpoints of the audit trail wait for the next start");
    }
}

/// Records the public keys, and notes every organisation: entries may have come that nothing confirms yet.
async fn begin(ctx: &Context, keys: &SigningKeys, due: &Due) {
    let mut warned = false;
    loop {
        match record(ctx, keys, due).await {
            Ok(()) => return,
            Err(error) if warned => {
                tracing::debug!(error = format!("{error:#}"), "no checkpoints can be signed yet")
            }
            Err(error) => {
                warned = true;
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no checkpoints can be signed yet; trying on"
                );
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn record(ctx: &Context, keys: &SigningKeys, due: &Due) -> Result<()> {
    let tx = ctx.store.begin().await?;
    // The oldest first: a key is vouched for by one that is known.
    for key in keys.records(ctx.clock.now()).iter().rev() {
        tx.audit_checkpoints().insert_key(key).await?;
    }
    tx.commit().await?;
    let reason = AllTenants::because("the trails of all organisations are signed");
    for organization in ctx.store.read().audit().organizations(reason).await? {
        due.note(organization, u64::MAX);
    }
    Ok(())
}

async fn sign_due(ctx: &Context, keys: &SigningKeys, due: &Due, least: u64) {
    for organization in due.take(least) {
        if let Err(error) = sign(ctx, keys, organization).await {
            tracing::warn!(organization.id = %organization, error = format!("{error:#}"),
                "a checkpoint of the audit trail could not be made; it will be tried again");
            due.put_back(organization);
        }
    }
}

/// Signs the end of an organisation's chain, if nothing confirms it yet, and publishes its newest checkpoint.
pub(crate) async fn sign(ctx: &Context, keys: &SigningKeys, organization: OrganizationId) -> Result<()> {
    let tenant = Tenant(organization);
    let tx = ctx.store.begin().await?;
    let head = tx.audit().head(tenant).await?;
    let checkpoints = tx.audit_checkpoints();
    let newest = checkpoints.newest(tenant, CheckpointKind::Head).await?;
    let cut = checkpoints.newest(tenant, CheckpointKind::Cut).await?;
    let number = newest
        .iter()
        .chain(&cut)
        .map(|checkpoint| checkpoint.number)
        .max()
        .unwrap_or_default();
    let reached = newest.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
    let checkpoint = match head.filter(|head| head.sequence > reached) {
        Some(head) => {
            let statement = Statement {
                organization,
                kind: CheckpointKind::Head,
                number: number + 1,
                sequence: head.sequence,
                hash: head.hash,
                at: ctx.clock.now(),
            };
            let checkpoint = statement.sign(keys);
            checkpoints.insert(&checkpoint).await?;
            tx.commit().await?;
            Some(checkpoint)
        }
        None => {
            tx.rollback().await?;
            newest
        }
    };
    match checkpoint {
        Some(checkpoint) => publish(ctx, &checkpoint).await,
        None => Ok(()),
    }
}

/// Publishes a checkpoint, unless it or a later one was.
async fn publish(ctx: &Context, checkpoint: &AuditCheckpoint) -> Result<()> {
    let last = ctx.bus.last_checkpoint(checkpoint.organization).await?;
    if last.is_none_or(|last| last.number < checkpoint.number) {
        ctx.bus.publish_checkpoint(checkpoint).await?;
    }
    Ok(())
}
