//! From outcomes to the objects they speak of: all observations of one object in a batch become one.

use std::collections::{BTreeMap, HashMap, HashSet};

use halcyon_domain::{
    event::{EventId, EventOutcome, RecordOutcome},
    id::ObjectId,
    merge::{MergedFields, stamp_of},
    ontology::{ALERT_END, End, ObjectKind, OntologyObject, Provenance, entity_id},
};

use super::merged::{Identity, Merged};
use crate::rows::{storable, storable_time};

/// The objects of a batch, in the order of their identifiers; `revision` counts the events that touch each.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) entities: BTreeMap<ObjectId, Merged>,
    pub(crate) alerts: BTreeMap<ObjectId, Merged>,
    pub(crate) relationships: BTreeMap<ObjectId, Merged>,
    /// Entities that relationships end at and that no event describes: made only where they do not exist.
    pub(crate) stubs: BTreeMap<ObjectId, Merged>,
    touched: HashMap<ObjectId, HashSet<(EventId, u32)>>,
}

impl Batch {
    /// Takes in a record's objects.
    pub(crate) fn add(&mut self, outcome: &EventOutcome, record: &RecordOutcome) {
        for object in &record.objects {
            self.observe(outcome, record.index, object);
        }
    }

    /// Leaves out the stubs that turned out to be described.
    pub(crate) fn finish(mut self) -> Self {
        self.stubs.retain(|id, _| !self.entities.contains_key(id));
        for objects in [&mut self.entities, &mut self.alerts, &mut self.relationships] {
            for (id, object) in objects {
                let events = self.touched.get(id).map_or(1, HashSet::len);
                object.revision = i64::try_from(events).unwrap_or(i64::MAX);
            }
        }
        self
    }

    fn observe(&mut self, outcome: &EventOutcome, record: u32, object: &OntologyObject) {
        let id = object.id(outcome.organization, outcome.datasource);
        let mut stamp = stamp_of(object, outcome.received_at, &outcome.event, record);
        stamp.time = storable_time(stamp.time);
        if let OntologyObject::Relationship(link) = object {
            self.stub(outcome, &link.source, record, object);
            self.stub(outcome, &link.target, record, object);
        }
        self.touched
            .entry(id)
            .or_default()
            .insert((outcome.event.clone(), outcome.attempt));
        let objects = match object.kind() {
            ObjectKind::Alert => &mut self.alerts,
            ObjectKind::Entity => &mut self.entities,
            ObjectKind::Relationship => &mut self.relationships,
        };
        let provenance = provenance(outcome);
        let merged = objects.entry(id).or_insert_with(|| Merged {
            id,
            organization: outcome.organization,
            identity: identity(outcome, object),
            fields: MergedFields::default(),
            provenance: Vec::new(),
            first_seen: stamp.time,
            last_seen: stamp.time,
            revision: 0,
        });
        merged.fields.observe(object, &stamp);
        merged.came_from(&provenance);
        merged.first_seen = merged.first_seen.min(stamp.time);
        merged.last_seen = merged.last_seen.max(stamp.time);
    }

    fn stub(&mut self, outcome: &EventOutcome, end: &End, record: u32, link: &OntologyObject) {
        if end.kind == ALERT_END {
            return;
        }
        let id = entity_id(outcome.organization, &end.kind, &end.key);
        let seen = storable_time(stamp_of(link, outcome.received_at, &outcome.event, record).time);
        self.stubs.entry(id).or_insert_with(|| Merged {
            id,
            organization: outcome.organization,
            identity: Identity::Entity {
                kind: storable(&end.kind),
                key: storable(&end.key),
            },
            fields: MergedFields::default(),
            provenance: vec![provenance(outcome)],
            first_seen: seen,
            last_seen: seen,
            revision: 1,
        });
    }
}

fn provenance(outcome: &EventOutcome) -> Provenance {
    Provenance {
        datasource: outcome.datasource,
        version: outcome.version,
        event: outcome.event.clone(),
        received_at: outcome.received_at,
        replay: outcome.replay.clone(),
    }
}

fn identity(outcome: &EventOutcome, object: &OntologyObject) -> Identity {
    let end = |end: &End| End {
        kind: storable(&end.kind),
        key: storable(&end.key),
    };
    match object {
        OntologyObject::Alert(alert) => Identity::Alert {
            external_id: storable(&alert.external_id),
        },
        OntologyObject::Entity(entity) => Identity::Entity {
            kind: storable(&entity.kind),
            key: storable(&entity.key),
        },
        OntologyObject::Relationship(link) => Identity::Relationship {
            kind: storable(&link.kind),
            source: end(&link.source),
            source_id: link.source.object_id(outcome.organization, outcome.datasource),
            target: end(&link.target),
            target_id: link.target.object_id(outcome.organization, outcome.datasource),
        },
    }
}
