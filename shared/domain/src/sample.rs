//! Saved samples: payloads, byte for byte, that mappings are tried on again and again.

use crate::{
    audit::Actor,
    clock::Timestamp,
    id::{DatasourceId, SampleId},
    lifecycle::states,
};

/// The largest payload of a sample, in bytes.
pub const MAX_SAMPLE: usize = 1024 * 1024;
/// The most samples of a datasource.
pub const MAX_SAMPLES: u64 = 100;
/// The most bytes that a datasource's samples have together.
pub const MAX_SAMPLES_BYTES: u64 = 16 * 1024 * 1024;

states! {
    /// Where a sample comes from.
    SampleOrigin {
        /// Somebody gave it.
        Manual = "manual",
        /// It was an event that could not be mapped.
        DeadLetter = "dead_letter",
        /// It is one of the catalog's.
        Catalog = "catalog",
        /// It was captured live: an event, without what was taken out.
        Live = "live",
        /// It was captured live: what a mapping had made of an event.
        Mapped = "mapped",
    }
}

/// A saved payload, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its identifier.
    pub id: SampleId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Its name, unique within the datasource.
    pub name: String,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// What it shows.
    pub note: Option<String>,
    /// Where it comes from.
    pub origin: SampleOrigin,
    /// Which dead letter or preset it was.
    pub origin_id: Option<String>,
    /// The payload's size in bytes.
    pub size: u64,
    /// Who saved it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
}
