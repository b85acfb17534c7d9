//! Entries onto the end of their organisations' chains.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result};
use halcyon_domain::{
    audit::{AuditEntry, RecordedEntry},
    clock::Timestamp,
    hex::Hex,
    id::{AuditEntryId, OrganizationId},
};
use halcyon_store::{AuditLink, Store, Tenant, WriteTx};
use halcyon_trail::chain::hash;

/// Appends entries in one transaction. An entry that is in the trail already is left out. Returns those that were new.
pub(crate) async fn append(
    store: &Store,
    entries: Vec<AuditEntry>,
    now: Timestamp,
) -> Result<Vec<RecordedEntry>> {
    let mut by_organization: BTreeMap<OrganizationId, Vec<AuditEntry>> = BTreeMap::new();
    for entry in entries {
        by_organization.entry(entry.organization).or_default().push(entry);
    }
    let tx = store.begin().await?;
    let mut added = Vec::new();
    // Chains are locked in the order of their organisations, so that two transactions never wait for each other.
    for (organization, entries) in by_organization {
        added.extend(append_to(&tx, organization, entries, now).await?);
    }
    tx.commit().await?;
    Ok(added)
}

/// Appends entries to one chain.
pub(crate) async fn append_to(
    tx: &WriteTx,
    organization: OrganizationId,
    entries: Vec<AuditEntry>,
    now: Timestamp,
) -> Result<Vec<RecordedEntry>> {
    let tenant = Tenant(organization);
    let head = tx.audit().head(tenant).await?;
    // The chain's times never go back, whatever clocks do: its months are cut off whole.
    let recorded_at = head.as_ref().map_or(now, |head| now.max(head.recorded_at));
    let (mut sequence, mut previous) = head.map_or((0, Vec::new()), |head| (head.sequence, head.hash));
    let ids: Vec<AuditEntryId> = entries.iter().map(|entry| entry.id).collect();
    let mut known: HashSet<_> = tx.audit().known(tenant, &ids).await?;
    let (mut links, mut added) = (Vec::new(), Vec::new());
    for entry in entries {
        if !known.insert(entry.id) {
            continue;
        }
        let entry = entry.fitted();
        sequence += 1;
        let body = serde_json::to_string(&entry).context("an audit entry cannot be written as JSON")?;
        let hash = hash(organization, sequence, &previous, &body);
        let prev_hash = std::mem::replace(&mut previous, hash.clone());
        added.push(RecordedEntry {
            sequence,
            hash: Hex(hash.clone()),
            recorded_at,
            entry: entry.clone(),
        });
        let link = AuditLink {
            organization,
            sequence,
            id: entry.id,
            prev_hash,
            hash,
            body,
            recorded_at,
        };
        links.push((link, entry));
    }
    tx.audit().append(&links).await?;
    Ok(added)
}
