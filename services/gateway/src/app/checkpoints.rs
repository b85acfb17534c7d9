//! A pull datasource's place in its source: seen, and moved by hand while nobody reads.

use halcyon_bus::{checkpoint::MAX_INSTANCE, requests::CheckpointInfo};
use halcyon_connectors::{Checkpoint, Connector, Error as SourceError, find as find_connector};
use halcyon_domain::{datasource::Datasource, id::DatasourceId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    views::{CheckpointView, EarlierPlace},
};

/// Which of the places.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadCheckpoint {
    /// Of which of the instances in which the source runs; the first one, 0, if absent.
    pub instance: Option<u16>,
}

/// Where a datasource is to go on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCheckpoint {
    /// The place, as its connector writes it.
    pub position: Value,
    /// Of which of the instances in which the source runs; the first one, 0, if absent.
    #[serde(default)]
    pub instance: Option<u16>,
}

impl App {
    /// A pull datasource's place in its source.
    ///
    /// # Errors
    /// There is no such datasource, it keeps no place, or it has none yet.
    pub async fn get_checkpoint(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ReadCheckpoint,
    ) -> Result<CheckpointView> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        pulls(&datasource.connector)?;
        let found = self.services.read_checkpoint(datasource.organization, id).await?;
        let instances: Vec<u16> = found.iter().map(|info| info.instance).collect();
        let wanted = query.instance.unwrap_or_default();
        let info = found.into_iter().find(|info| info.instance == wanted);
        info.map(|info| view(info, instances))
            .ok_or(Error::NotFound("checkpoint"))
    }

    /// Moves a stopped pull datasource's place. The registry writes the audit entry and the notice with it.
    ///
    /// # Errors
    /// It is not stopped, keeps no place, its place moved meanwhile, or its connector cannot go on from there.
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
        let instance = input.instance.unwrap_or_default();
        if instance > MAX_INSTANCE {
            let detail = format!("instances have numbers up to {MAX_INSTANCE}");
            return Err(Error::field("/instance", "out_of_range", detail));
        }
        let place = NewPlace {
            instance,
            position: input.position,
        };
        self.write_checkpoint(context, id, place, if_match, Action::WRITE_CHECKPOINT)
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
        let place = NewPlace {
            instance: 0,
            position: Value::Null,
        };
        self.write_checkpoint(context, id, place, if_match, action)
            .await
            .map(drop)
    }

    async fn write_checkpoint(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        place: NewPlace,
        if_match: IfMatch,
        action: Action,
    ) -> Result<CheckpointView> {
        let datasource = self.datasource(context, id, action).await?;
        let connector = pulls(&datasource.connector)?;
        if place.instance > 0 && !connector.spec().capabilities.shared {
            let detail = "its source runs in one instance";
            return Err(Error::field("/instance", "out_of_range", detail));
        }
        if !place.position.is_null() {
            self.try_position(context, &datasource, connector, &place).await?;
        }
        let organization = datasource.organization;
        let found = self.services.read_checkpoint(organization, id).await?;
        let mut instances: Vec<u16> = found.iter().map(|info| info.instance).collect();
        let revision = match if_match {
            IfMatch::Any => None,
            IfMatch::Revision(_) | IfMatch::Unreadable => {
                let found = found.iter().find(|info| info.instance == place.instance);
                let current = found.map_or(0, |found| found.revision);
                if_match.check(i64::try_from(current).unwrap_or(i64::MAX))?;
                Some(current)
            }
        };
        let instance = place.instance;
        let written = self
            .services
            .write_checkpoint((organization, id), place, revision, context.on_behalf())
            .await?;
        if !instances.contains(&instance) {
            instances.push(instance);
        }
        Ok(view(written, instances))
    }

    /// Whether the connector could go on from a place.
    async fn try_position(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        connector: &dyn Connector,
        place: &NewPlace,
    ) -> Result<()> {
        let Some(number) = datasource.current_version.or(datasource.draft_version) else {
            return Ok(());
        };
        let read = self.store.read();
        let version = read
            .versions()
            .find(tenant(context), datasource.id, number)
            .await?;
        let connection = version.and_then(|version| version.config.get("connection").cloned());
        let Some(connection) = connection else {
            return Ok(());
        };
        let place = Checkpoint(place.position.clone());
        match connector.check_position(&connection, &place) {
            Err(SourceError::Checkpoint { detail }) => {
                let detail = format!("the connector cannot go on from there: {detail}");
                Err(Error::field("/position", "invalid", detail))
            }
            // What is wrong with the rest of it is no matter of the place.
            _ => Ok(()),
        }
    }
}

/// A place to be written.
#[derive(Clone, Debug)]
pub struct NewPlace {
    /// Of which instance.
    pub instance: u16,
    /// The place; null clears those of all instances.
    pub position: Value,
}

/// Only what is read has a place.
fn pulls(connector: &str) -> Result<&'static dyn Connector> {
    let found = find_connector(connector).filter(|connector| connector.spec().capabilities.pull);
    found.ok_or_else(|| Error::Conflict {
        code: "no_checkpoint",
        detail: format!("a `{connector}` datasource is sent its events and keeps no checkpoint"),
    })
}

fn view(info: CheckpointInfo, instances: Vec<u16>) -> CheckpointView {
    let history = info.history.into_iter().rev().map(|earlier| EarlierPlace {
        position: earlier.position,
        at: earlier.at,
        by: earlier.by,
    });
    CheckpointView {
        instance: info.instance,
        position: info.position,
        at: info.at,
        by: info.by,
        revision: info.revision,
        history: history.collect(),
        instances,
    }
}
