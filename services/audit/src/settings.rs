//! Settings of the audit service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the audit service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "AuditSettings")]
pub struct Settings {
    /// The most entries that are written in one transaction.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 200 }
    }
}
