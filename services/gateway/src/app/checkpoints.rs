//! A pull datasource's place in its source: seen, and moved by hand while nobody reads.

use halcyon_bus::requests::CheckpointInfo;
use halcyon_connectors::find as find_connector;
use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{App, Error, IfMatch, RequestContext, Result, access::Action, views::CheckpointView};

/// Where a datasource is to go on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCheckpoint {
    /// The place, as its connector writes it.
    pub position: Value,
}

impl App {
    /// A pull datasource's place in its source.
    ///
    /// # Errors
    /// There is no such datasource, it keeps no place, or it has none yet.
    pub async fn get_checkpoint(&self, context: &RequestContext, id: DatasourceId) -> Result<CheckpointView> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        pulls(&datasource.connector)?;
        let found = self.services.read_checkpoint(datasource.organization, id).await?;
        found.map(view).ok_or(Error::NotFound("checkpoint"))
    }

    /// Moves a stopped pull datasource's place. The registry writes the audit entry and the notice with it.
    ///
    /// # Errors
    /// It is not stopped, keeps no place, or its place moved meanwhile.
    pub async fn put_checkpoint(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: WriteCheckpoint,
        if_match: IfMatch,
    ) -> Result<CheckpointView> {
        if input.position.is_null() {
            return Err(Error::field(
                "/position",
                "required",
                "a position is not null; delete the checkpoint to begin anew",
            ));
        }
        self.write_checkpoint(context, id, input.position, if_match, Action::WRITE_CHECKPOINT)
            .await
    }

    /// Clears a stopped pull datasource's place: it begins anew.
    ///
    /// # Errors
    /// It is not stopped, keeps no place, or its place moved meanwhile.
    pub async fn delete_checkpoint(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        if_match: IfMatch,
    ) -> Result<()> {
        let action = Action::DELETE_CHECKPOINT;
        self.write_checkpoint(context, id, Value::Null, if_match, action)
            .await
            .map(drop)
    }

    async fn write_checkpoint(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        position: Value,
        if_match: IfMatch,
        action: Action,
    ) -> Result<CheckpointView> {
        let datasource = self.datasource(context, id, action).await?;
        pulls(&datasource.connector)?;
        let organization = datasource.organization;
        let revision = match if_match {
            IfMatch::Any => None,
            IfMatch::Revision(_) | IfMatch::Unreadable => {
                let found = self.services.read_checkpoint(organization, id).await?;
                let current = found.map_or(0, |found| found.revision);
                if_match.check(i64::try_from(current).unwrap_or(i64::MAX))?;
                Some(current)
            }
        };
        let written = self
            .services
            .write_checkpoint(organization, id, position, revision, context.on_behalf())
            .await?;
        Ok(view(written))
    }
}

/// Only what is read has a place.
fn pulls(connector: &str) -> Result<()> {
    let keeps = find_connector(connector).is_some_and(|connector| connector.spec().capabilities.pull);
    if keeps {
        return Ok(());
    }
    Err(Error::Conflict {
        code: "no_checkpoint",
        detail: format!("a `{connector}` datasource is sent its events and keeps no checkpoint"),
    })
}

fn view(info: CheckpointInfo) -> CheckpointView {
    CheckpointView {
        position: info.position,
        at: info.at,
        revision: info.revision,
    }
}
