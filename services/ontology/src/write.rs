//! Outcomes into the database, and what was committed onto the bus.

use std::time::Duration;

use halcyon_bus::{Bus, objects::PublicObject};
use halcyon_domain::{clock::Timestamp, event::EventOutcome};
use halcyon_infra::{Metric, Metrics};
use halcyon_store::{Applied, Error, Store, StoredObject};

/// How often a transaction that met another one is run again before the batch is given back.
const TRIES: u32 = 5;

/// Applies outcomes in one transaction. One that meets another process's is run again.
pub(crate) async fn apply(
    store: &Store,
    outcomes: &[EventOutcome],
    now: Timestamp,
) -> Result<Applied, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match apply_once(store, outcomes, now).await {
            Err(Error::Contention(_)) if tries < TRIES => {
                tokio::time::sleep(Duration::from_millis(u64::from(tries) * 7)).await;
            }
            result => return result,
        }
    }
}

async fn apply_once(store: &Store, outcomes: &[EventOutcome], now: Timestamp) -> Result<Applied, Error> {
    let tx = store.begin().await?;
    let applied = tx.ontology().apply(outcomes, now).await?;
    tx.commit().await?;
    Ok(applied)
}

/// Publishes what was committed, one object a message. The database has them, so a failure is only logged.
pub(crate) async fn publish(bus: &Bus, objects: Vec<StoredObject>) {
    let objects: Vec<_> = objects.into_iter().filter_map(public).collect();
    if let Err(error) = bus.publish_objects(&objects).await {
        tracing::warn!(%error, objects = objects.len(), "committed objects could not be published to subscribers");
    }
}

/// A stored object as subscribers see it; an entity that no event described yet has no event to tell of.
fn public(stored: StoredObject) -> Option<PublicObject> {
    let newest = stored.provenance.into_iter().next()?;
    Some(PublicObject {
        id: stored.id,
        organization: stored.organization,
        datasource: newest.datasource,
        event: newest.event,
        version: newest.version,
        received_at: newest.received_at,
        object: stored.object,
    })
}

/// Counts what was applied.
pub(crate) fn count(metrics: &Metrics, applied: &Applied, outcomes: &[EventOutcome], now: Timestamp) {
    let verdicts = [
        ("delivered", applied.delivered),
        ("filtered", applied.filtered),
        ("dead_lettered", applied.dead_lettered),
    ];
    for (verdict, count) in verdicts {
        metrics.add(Metric::OntologyRecords, count, &[("verdict", verdict)]);
    }
    metrics.add(Metric::OntologyDuplicates, applied.duplicates, &[]);
    for object in &applied.objects {
        metrics.add(
            Metric::OntologyObjects,
            1,
            &[("kind", object.object.kind().as_str())],
        );
    }
    for outcome in outcomes {
        let delay = (now - outcome.received_at).to_std().unwrap_or_default();
        metrics.observe(Metric::OntologyDelaySeconds, delay.as_secs_f64(), &[]);
    }
}
