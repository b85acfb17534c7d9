//! Settings of the ontology service.

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the ontology service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "OntologySettings")]
pub struct Settings {
    /// The most outcomes that are applied in one transaction.
    pub batch: usize,
    /// How often what is past its time is removed from the ledger.
    pub maintain_every: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: 500,
            maintain_every: HumanDuration::from_secs(3_600),
        }
    }
}
