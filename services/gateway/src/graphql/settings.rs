//! The settings of the GraphQL API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of the GraphQL API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GraphqlSettings {
    /// Whether the schema can be asked for; if not given, everywhere but in production.
    pub introspection: Option<bool>,
}
