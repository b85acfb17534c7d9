//! What the system is run for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the system is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// For work: what is not safe is refused at start.
    Production,
    /// To try it out and to build on it, on one's own machine.
    Development,
}

impl Mode {
    /// Whether it is for work.
    #[must_use]
    pub const fn is_production(self) -> bool {
        matches!(self, Self::Production)
    }
}
