//! A configuration, checked and compiled.

use std::sync::Arc;

use halcyon_connectors::{Connector, find, validate_connection};
use halcyon_domain::{
    config::{StoredTest, VersionConfig},
    error::InputError,
};
use halcyon_mapping::CompiledMapping;
use serde_json::Value;

/// A configuration that can be tried.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) connector: &'static dyn Connector,
    pub(crate) connection: Value,
    pub(crate) mapping: Arc<CompiledMapping>,
    pub(crate) tests: Vec<StoredTest>,
}

impl Plan {
    /// Checks and compiles; pointers of errors are relative to the configuration.
    pub(crate) fn read(connector: &str, config: &Value) -> Result<Self, Vec<InputError>> {
        let found = find(connector).ok_or_else(|| {
            vec![InputError::new(
                "",
                "unknown_connector",
                format!("there is no connector `{connector}`"),
            )]
        })?;
        let config = VersionConfig::parse(config).map_err(|error| vec![error])?;
        let connection = validate_connection(connector, &config.connection);
        let mut errors: Vec<InputError> = connection
            .into_iter()
            .map(|error| error.under("/connection"))
            .collect();
        match CompiledMapping::compile(&config.mapping) {
            Ok(mapping) if errors.is_empty() => Ok(Self {
                connector: found,
                connection: config.connection,
                mapping: Arc::new(mapping),
                tests: config.tests,
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more.into_iter().map(|error| error.under("/mapping")));
                Err(errors)
            }
        }
    }
}
