//! Alerts, entities and relationships, and the ledger of what was applied to them.

mod alerts;
mod apply;
mod batch;
mod bulk;
mod entities;
mod ledger;
mod merged;
mod relationships;
mod stamps;

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, ObjectId, OrganizationId},
    ontology::{OntologyObject, Provenance},
};

pub use alerts::AlertFilter;
pub use apply::Applied;
pub(crate) use bulk::filled;
pub use entities::EntityFilter;
pub use ledger::{LEDGER_DAYS, LedgerRow};
pub use relationships::RelationshipFilter;

/// An object as it is now, merged from all that was observed of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredObject {
    /// Its deterministic identifier.
    pub id: ObjectId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The feed that observed it last; an alert has only one.
    pub datasource: DatasourceId,
    /// What is known of it. An alert's status is always given: `new` unless a feed said otherwise.
    pub object: OntologyObject,
    /// Where its content came from: the newest event of each feed, newest first.
    pub provenance: Vec<Provenance>,
    /// The earliest time it was observed.
    pub first_seen: Timestamp,
    /// The latest time it was observed.
    pub last_seen: Timestamp,
    /// Grows by one with each event that was applied to it.
    pub revision: i64,
}

/// Alerts, entities, relationships and the ledger.
#[derive(Debug)]
pub struct Ontology<'c, C>(pub(crate) &'c C);
