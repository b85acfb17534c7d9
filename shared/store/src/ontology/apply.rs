//! The hot path: applying what workers made of events.

use std::collections::BTreeMap;

use halcyon_domain::{
    clock::Timestamp,
    event::{EventOutcome, Verdict},
    id::ObjectId,
};

use super::{
    Ontology, StoredObject,
    alerts::Alerts,
    batch::Batch,
    bulk::{self, ObjectTable},
    entities::Entities,
    ledger,
    merged::Merged,
    relationships::Relationships,
};
use crate::{connection::WriteTx, error::Result};

/// What applying a batch did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The objects that were touched, as they are now: to be published after the commit.
    pub objects: Vec<StoredObject>,
    /// Records that had been applied before, and were left alone.
    pub duplicates: u64,
    /// Outcomes of events that another version had already decided about, and that were left alone.
    pub superseded: u64,
    /// Records newly delivered.
    pub delivered: u64,
    /// Records newly filtered.
    pub filtered: u64,
    /// Records newly dead-lettered.
    pub dead_lettered: u64,
}

impl Applied {
    pub(super) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Delivered => self.delivered += 1,
            Verdict::Filtered => self.filtered += 1,
            Verdict::DeadLettered => self.dead_lettered += 1,
        }
    }
}

impl Ontology<'_, WriteTx> {
    /// Applies outcomes, each record once: the ledger is written in the same transaction, and its first writer
    /// wins. Merging does not depend on the order in which events arrive.
    ///
    /// # Errors
    /// [`Error::Contention`](crate::Error::Contention) if another process was applying the same: roll back and
    /// run the transaction again. Otherwise the database fails.
    pub async fn apply(&self, outcomes: &[EventOutcome], now: Timestamp) -> Result<Applied> {
        let tx = self.0;
        let mut applied = Applied::default();
        let admitted = ledger::admit(tx, outcomes, now, &mut applied).await?;
        let mut batch = Batch::default();
        for (outcome, record) in admitted {
            batch.add(outcome, record);
        }
        let Batch {
            entities,
            stubs,
            alerts,
            relationships,
            ..
        } = batch.finish();
        write::<Entities>(tx, entities, stubs, &mut applied.objects).await?;
        write::<Alerts>(tx, alerts, BTreeMap::new(), &mut applied.objects).await?;
        write::<Relationships>(tx, relationships, BTreeMap::new(), &mut applied.objects).await?;
        Ok(applied)
    }
}

/// Merges `objects` into a table; `stubs` are added only where nothing is.
async fn write<T: ObjectTable>(
    tx: &WriteTx,
    mut objects: BTreeMap<ObjectId, Merged>,
    mut stubs: BTreeMap<ObjectId, Merged>,
    written: &mut Vec<StoredObject>,
) -> Result<()> {
    let mut ids: Vec<_> = objects.keys().chain(stubs.keys()).map(|id| id.0).collect();
    ids.sort_unstable();
    let mut existing = BTreeMap::new();
    for mut known in bulk::load::<T>(tx, &ids).await? {
        stubs.remove(&known.id);
        if let Some(new) = objects.remove(&known.id) {
            known.absorb(&new);
            existing.insert(known.id, known);
        }
    }
    objects.append(&mut stubs);
    let rows = objects.values().map(T::row).collect::<Result<Vec<_>>>()?;
    bulk::insert::<T::Entity, T::Row>(tx, &rows).await?;
    bulk::replace::<T>(tx, &existing.values().collect::<Vec<_>>()).await?;
    for object in existing.into_values().chain(objects.into_values()) {
        written.push(object.stored()?);
    }
    Ok(())
}
