//! An object as it is merged: what identifies it, its stamped fields, where they came from.

use chrono::DateTime;
use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, ObjectId, OrganizationId},
    merge::MergedFields,
    ontology::{Alert, AlertStatus, End, Entity, OntologyObject, Provenance, Relationship, Severity},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{StoredObject, stamps};
use crate::{
    error::{Error, Result},
    rows::{document, text},
};

/// How many feeds' provenance an object keeps.
const PROVENANCE_KEPT: usize = 32;

/// What identifies an object, and never changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identity {
    Alert {
        external_id: String,
    },
    Entity {
        kind: String,
        key: String,
    },
    Relationship {
        kind: String,
        source: End,
        source_id: ObjectId,
        target: End,
        target_id: ObjectId,
    },
}

/// An object as it is merged.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub(crate) id: ObjectId,
    pub(crate) organization: OrganizationId,
    pub(crate) identity: Identity,
    pub(crate) fields: MergedFields,
    /// Newest first, one for each feed; never empty.
    pub(crate) provenance: Vec<Provenance>,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) revision: i64,
}

/// The columns that all kinds have in common, as text.
pub(crate) struct Documents {
    pub(crate) fields: String,
    pub(crate) stamps: String,
    pub(crate) provenance: String,
}

impl Documents {
    pub(crate) fn read(&self) -> Result<(MergedFields, Vec<Provenance>)> {
        let values = document(&self.fields)?;
        let stamps = stamps::read(&self.stamps, &values)?;
        Ok((MergedFields { values, stamps }, document(&self.provenance)?))
    }
}

impl Merged {
    /// The feed that observed it last.
    pub(crate) fn datasource(&self) -> Result<DatasourceId> {
        let newest = self
            .provenance
            .first()
            .ok_or_else(|| Error::internal("an object without provenance"))?;
        Ok(newest.datasource)
    }

    /// Takes in all of `other`, whose revision counts what is new in it. In any order the result is the same.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.fields.merge(&other.fields);
        for provenance in &other.provenance {
            self.came_from(provenance);
        }
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.revision += other.revision;
    }

    /// Keeps `provenance` if it is its feed's newest.
    pub(crate) fn came_from(&mut self, provenance: &Provenance) {
        // Of one event the newest replay counts: its identifiers sort by their time.
        let replay = |of: &Provenance| of.replay.as_ref().map(|replay| replay.id);
        let age = |of: &Provenance| (of.received_at, of.event.clone(), replay(of));
        match self
            .provenance
            .iter_mut()
            .find(|known| known.datasource == provenance.datasource)
        {
            Some(known) if age(known) < age(provenance) => *known = provenance.clone(),
            Some(_) => {}
            None => self.provenance.push(provenance.clone()),
        }
        self.provenance
            .sort_by_cached_key(|of| std::cmp::Reverse((age(of), of.datasource)));
        self.provenance.truncate(PROVENANCE_KEPT);
    }

    pub(crate) fn documents(&self) -> Result<Documents> {
        Ok(Documents {
            fields: text(&self.fields.values)?,
            stamps: stamps::write(&self.fields.stamps)?,
            provenance: text(&self.provenance)?,
        })
    }

    /// A field that holds text.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        self.fields
            .values
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    fn field<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>> {
        let value = self.fields.values.get(field);
        value
            .map(|value| T::deserialize(value).map_err(Error::internal))
            .transpose()
    }

    pub(crate) fn time(&self, field: &str) -> Option<Timestamp> {
        let text = self.fields.values.get(field)?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
    }

    pub(crate) fn severity(&self) -> Result<Severity> {
        Ok(self.field("severity")?.unwrap_or(Severity::Unknown))
    }

    pub(crate) fn status(&self) -> Result<AlertStatus> {
        Ok(self.field("status")?.unwrap_or(AlertStatus::New))
    }

    fn object(&self) -> Result<OntologyObject> {
        let attributes = self.fields.attributes();
        Ok(match &self.identity {
            Identity::Alert { external_id } => OntologyObject::Alert(Alert {
                external_id: external_id.clone(),
                title: self.text("title").unwrap_or_default(),
                time: self.time("time").unwrap_or(self.last_seen),
                severity: self.severity()?,
                status: Some(self.status()?),
                description: self.text("description"),
                category: self.text("category"),
                vendor: self.text("vendor"),
                product: self.text("product"),
                rule: self.field("rule")?,
                observables: self.field("observables")?.unwrap_or_default(),
                attributes,
            }),
            Identity::Entity { kind, key } => OntologyObject::Entity(Entity {
                kind: kind.clone(),
                key: key.clone(),
                name: self.text("name"),
                time: Some(self.last_seen),
                attributes,
            }),
            Identity::Relationship {
                kind, source, target, ..
            } => OntologyObject::Relationship(Relationship {
                kind: kind.clone(),
                source: source.clone(),
                target: target.clone(),
                start_time: self.time("start_time"),
                end_time: self.time("end_time"),
                time: Some(self.last_seen),
                attributes,
            }),
        })
    }

    pub(crate) fn stored(self) -> Result<StoredObject> {
        Ok(StoredObject {
            id: self.id,
            organization: self.organization,
            datasource: self.datasource()?,
            object: self.object()?,
            provenance: self.provenance,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            revision: self.revision,
        })
    }
}
