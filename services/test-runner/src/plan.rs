//! A configuration, checked and compiled.

use std::sync::Arc;

use halcyon_connectors::{Connector, find, validate_connection};
use halcyon_domain::{
    config::{StoredTest, VersionConfig},
    error::InputError,
    id::DatasourceId,
};
use halcyon_sandbox::{Mapping, Pool};
use serde_json::Value;

/// A configuration that can be tried.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) connector: &'static dyn Connector,
    pub(crate) connection: Value,
    pub(crate) mapping: Arc<Mapping>,
    /// What runs scripts.
    pub(crate) scripts: Option<Pool>,
    pub(crate) tests: Vec<StoredTest>,
}

impl Plan {
    /// Checks and compiles, and has a script read by a process of `scripts`; pointers of errors are relative to the
    /// configuration.
    pub(crate) fn read(
        connector: &str,
        datasource: DatasourceId,
        config: &Value,
        scripts: Option<&Pool>,
    ) -> Result<Self, Vec<InputError>> {
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
        let mapping = Mapping::compile(&config.mapping, datasource).map(Mapping::with_logs);
        match mapping.and_then(|mapping| mapping.check(scripts).map(|()| mapping)) {
            Ok(mapping) if errors.is_empty() => Ok(Self {
                connector: found,
                connection: config.connection,
                mapping: Arc::new(mapping),
                scripts: scripts.cloned(),
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
