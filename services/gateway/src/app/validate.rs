//! Checks a datasource that is not made: what a dry run of an import shows.

use halcyon_connectors::{Connector, find as find_connector};
use halcyon_domain::{
    clock::Timestamp,
    config::{VersionConfig, secret_refs},
    id::DatasourceId,
    schedule::Schedule,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, CreateDatasource, Error, RequestContext, Result, access::Action, validation, views::Validation,
};

/// How much to check.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ValidateDatasource {
    /// Whether the configuration must be whole, as for a publish.
    pub publishable: Option<bool>,
}

impl App {
    /// Checks a datasource as it would be checked if it was made. Nothing is written.
    ///
    /// # Errors
    /// The input does not fit.
    pub async fn validate_datasource(
        &self,
        context: &RequestContext,
        input: CreateDatasource,
        query: &ValidateDatasource,
    ) -> Result<Validation> {
        let project = match input.project {
            None => self.project(context, None).await?,
            named => named,
        };
        self.authorize_create(context, Action::VALIDATE, project, &input.name)
            .await?;
        if input.project.is_some() {
            self.project(context, project).await?;
        }
        let datasource = self.new_datasource(context, &input, project)?;
        let connector = find_connector(&input.r#type).ok_or(Error::NotFound("connector"))?;
        if let (Some(config), Some(true)) = (&input.config, query.publishable) {
            let errors = validation::publishable(connector, config, |pool| self.services.has_pool(pool));
            if !errors.is_empty() {
                return Err(Error::Invalid(errors));
            }
            let errors = self.script_errors(&datasource, config).await?;
            if !errors.is_empty() {
                return Err(Error::Invalid(errors));
            }
        }
        let found = input.config.as_ref().map(secret_refs).unwrap_or_default();
        let mut secrets: Vec<_> = found.into_iter().map(|secret| secret.name).collect();
        secrets.sort();
        secrets.dedup();
        let config = input.config.as_ref();
        Ok(Validation {
            secrets,
            next_runs: next_runs(connector, config, self.clock.now()),
        })
    }
}

/// How many of the next times are shown.
const SHOWN: usize = 5;

/// The next times at which a datasource of this configuration would be fetched.
fn next_runs(connector: &dyn Connector, config: Option<&Value>, now: Timestamp) -> Vec<Timestamp> {
    if !connector.spec().capabilities.scheduled {
        return Vec::new();
    }
    let config = config
        .and_then(|config| VersionConfig::parse(config).ok())
        .unwrap_or_default();
    let schedule = config.schedule.unwrap_or_else(Schedule::default_of_sources);
    let without_jitter = Schedule {
        jitter: None,
        ..schedule
    };
    // Any identifier will do: it decides on the jitter alone.
    let table = without_jitter.timetable(DatasourceId::generate());
    table.map(|table| table.upcoming(now, SHOWN)).unwrap_or_default()
}
