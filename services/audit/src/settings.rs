//! Settings of the audit service.

use std::path::PathBuf;

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the audit service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "AuditSettings")]
pub struct Settings {
    /// The most entries that are written in one transaction.
    pub batch: usize,
    /// The file with the keys that sign checkpoints; it must be readable by its owner only (0600).
    pub key_file: PathBuf,
    /// A checkpoint is signed after so many entries of an organisation at the latest.
    pub checkpoint_entries: u64,
    /// A checkpoint is signed so long after an entry at the latest.
    pub checkpoint_interval: HumanDuration,
    /// How often what is past its time is removed, if `database.retention.audit` says that anything is.
    pub maintain_every: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: 200,
            key_file: PathBuf::from("audit-checkpoints.key"),
            checkpoint_entries: 1_000,
            checkpoint_interval: HumanDuration::from_secs(60),
            maintain_every: HumanDuration::from_secs(3_600),
        }
    }
}
