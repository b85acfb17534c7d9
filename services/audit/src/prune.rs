//! Removing what is past its time. Before entries go, they are verified, and a cut is signed that says up to where
//! they went and with which hash the chain goes on: what is left verifies from there.

use anyhow::{Result, bail};
use halcyon_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, CheckpointKind, Resource},
    clock::Timestamp,
    id::{AuditEntryId, OrganizationId},
};
use halcyon_store::{AllTenants, AuditLink, Retention, Tenant};
use halcyon_trail::{Options, SigningKeys, checkpoint::Statement, verify};

use crate::{append::append_to, run::Context, sign::sign};

/// Removes entries of months that are past their time. Returns whether any were.
pub(crate) async fn prune(ctx: &Context, keys: &SigningKeys) -> Result<bool> {
    let now = ctx.clock.now();
    let Some(before) = Retention::month_before(ctx.store.retention().audit, now) else {
        return Ok(false);
    };
    let reason = AllTenants::because("the trails of all organisations are kept for the same time");
    let (mut cut, mut kept) = (Vec::new(), false);
    for organization in ctx.store.read().audit().organizations(reason).await? {
        let newest = ctx
            .store
            .read()
            .audit()
            .newest_before(Tenant(organization), before)
            .await?;
        let Some(newest) = newest else { continue };
        match cut_off(ctx, keys, &newest, before).await {
            Ok(()) => cut.push((organization, newest.sequence)),
            Err(error) => {
                kept = true;
                tracing::error!(organization.id = %organization, error = format!("{error:#}"),
                    "old entries of an audit trail are kept");
            }
        }
    }
    if !kept {
        // Whole months go at once, where the database has a partition for each.
        let tx = ctx.store.begin().await?;
        tx.audit().drop_partitions(reason, before).await?;
        tx.commit().await?;
    }
    for (organization, sequence) in &cut {
        remove(ctx, *organization, *sequence).await?;
    }
    Ok(!cut.is_empty())
}

/// Verifies the entries up to `newest`, writes to the trail that they are removed, and signs it.
async fn cut_off(ctx: &Context, keys: &SigningKeys, newest: &AuditLink, before: Timestamp) -> Result<()> {
    let organization = newest.organization;
    let tenant = Tenant(organization);
    let known = ctx
        .store
        .read()
        .audit_checkpoints()
        .newest(tenant, CheckpointKind::Cut)
        .await?;
    if known.is_some_and(|cut| cut.sequence >= newest.sequence) {
        return Ok(());
    }
    let options = Options {
        through: Some(newest.sequence),
        ..Options::default()
    };
    let found = verify(&ctx.store, tenant, keys.trusted(), options).await?;
    if let Some(fault) = found.report.fault {
        bail!("entry {}: {}", fault.sequence, fault.detail);
    }
    // Columns beside the text could have been given an old time by somebody who wants entries to go.
    if newest.entry()?.at >= before {
        bail!("entry {} is not as old as its row says", newest.sequence);
    }
    sign(ctx, keys, organization).await?;
    let tx = ctx.store.begin().await?;
    let now = ctx.clock.now();
    append_to(&tx, organization, vec![entry(newest, now)], now).await?;
    let checkpoints = tx.audit_checkpoints();
    let last = checkpoints.newest_through(tenant, newest.sequence).await?;
    let earlier = checkpoints.newest(tenant, CheckpointKind::Cut).await?;
    let number = last
        .iter()
        .chain(&earlier)
        .map(|checkpoint| checkpoint.number)
        .max();
    let statement = Statement {
        organization,
        kind: CheckpointKind::Cut,
        number: number.unwrap_or_default(),
        sequence: newest.sequence,
        hash: newest.hash.clone(),
        at: now,
    };
    checkpoints.insert(&statement.sign(keys)).await?;
    tx.commit().await?;
    tracing::info!(organization.id = %organization, entries = newest.sequence, "old entries of an audit trail are removed");
    sign(ctx, keys, organization).await
}

async fn remove(ctx: &Context, organization: OrganizationId, sequence: i64) -> Result<()> {
    loop {
        let tx = ctx.store.begin().await?;
        let more = tx
            .audit_checkpoints()
            .remove_through(Tenant(organization), sequence)
            .await?;
        tx.commit().await?;
        if !more {
            return Ok(());
        }
    }
}

fn entry(newest: &AuditLink, now: Timestamp) -> AuditEntry {
    AuditEntry {
        id: AuditEntryId::generate(),
        organization: newest.organization,
        at: now,
        actor: Actor {
            kind: ActorKind::System,
            id: None,
            name: "audit".to_owned(),
        },
        action: "audit.prune".to_owned(),
        resource: Resource {
            kind: "audit".to_owned(),
            id: None,
            name: None,
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: Some(format!(
            "entries up to {} were removed: they are past their time. The hash of the last one is {}",
            newest.sequence,
            halcyon_domain::hex::Hex(newest.hash.clone()),
        )),
        request_id: None,
        remote_ip: None,
    }
}
