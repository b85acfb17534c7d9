//! A version that is ready to run.

use halcyon_connectors::validate_feed;
use halcyon_domain::{
    assignment::AssignedVersion, config::VersionConfig, error::InputError, id::DatasourceId,
};
use halcyon_sandbox::{Mapping, Pool};
use serde_json::Value;

use super::Watch;

/// A version that is ready to run.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) config: VersionConfig,
    pub(crate) mapping: Mapping,
    /// What records are expected to be like, where that matters.
    pub(crate) watch: Option<Watch>,
    source: Value,
}

impl Version {
    /// Checks and compiles a version of a datasource; a script is read by a process of `scripts`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(crate) fn compile(
        assigned: &AssignedVersion,
        connector: &str,
        datasource: DatasourceId,
        scripts: Option<&Pool>,
    ) -> Result<Self, InputError> {
        let config = VersionConfig::parse(&assigned.config)?;
        let errors = validate_feed(connector, &config.connection, config.runtime.parallelism);
        if let Some(error) = errors.into_iter().next() {
            return Err(error.under("/connection"));
        }
        let mapping = Mapping::compile(&config.mapping, datasource).and_then(|mapping| {
            mapping.check(scripts)?;
            Ok(mapping)
        });
        let mapping = mapping.map_err(|errors| first(errors).under("/mapping"))?;
        Ok(Self {
            number: assigned.number,
            watch: Watch::compile(&config)?,
            config,
            mapping,
            source: assigned.config.clone(),
        })
    }

    /// What it was made from.
    pub(crate) fn assigned(&self) -> AssignedVersion {
        AssignedVersion {
            number: self.number,
            config: self.source.clone(),
        }
    }

    /// Whether it was made from that.
    pub(crate) fn is(&self, assigned: &AssignedVersion) -> bool {
        self.number == assigned.number && self.source == assigned.config
    }
}

fn first(errors: Vec<InputError>) -> InputError {
    let unknown = || InputError::new("", "invalid", "the mapping cannot be compiled");
    errors.into_iter().next().unwrap_or_else(unknown)
}
