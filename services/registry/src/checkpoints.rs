//! Checkpoints of pull datasources, seen and moved by hand. The registry does it because it alone may write them
//! beside the worker that reads, and because it knows whether one does.

use std::{collections::HashSet, sync::Arc, time::Duration};

use halcyon_bus::{
    Error as BusError, RemoteError,
    requests::{CheckpointInfo, CheckpointRead, CheckpointWrite, ReadCheckpoint, WriteCheckpoint},
    rpc::Serving,
};
use halcyon_connectors::find;
use halcyon_domain::{
    assignment::{ChangeCause, ConfigChange},
    audit::{AuditEntry, AuditOutcome, Resource},
    clock::Timestamp,
    datasource::{Datasource, DatasourceEventKind},
    id::{AuditEntryId, DatasourceId},
    lifecycle::{DatasourceStatus, DesiredState, RuntimeStatus},
};
use halcyon_store::{NewMessage, Tenant, Topic, WriteTx};
use serde_json::json;

use crate::{Error, reconcile::load::CONTROL_PLANE, run::Shared};

/// The longest position, in bytes of JSON: that of a source that remembers the files it has read fits.
const MAX_POSITION: usize = 1024 * 1024;
/// How often the leader looks for places that nobody reads on from.
const TIDY: Duration = Duration::from_mins(10);

/// Answers questions about checkpoints.
#[derive(Clone)]
pub(crate) struct Checkpoints(pub(crate) Arc<Shared>);

impl Checkpoints {
    /// Begins to answer.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub(crate) async fn serve(&self, serving: &Serving) -> Result<(), Error> {
        let service = self.clone();
        let read = move |request, _| {
            let service = service.clone();
            async move { service.read(request).await.map_err(RemoteError::from) }
        };
        serving.endpoint::<CheckpointRead, _, _>(read).await?;
        let service = self.clone();
        let write = move |request, _| {
            let service = service.clone();
            async move { service.write(request).await.map_err(RemoteError::from) }
        };
        serving.endpoint::<CheckpointWrite, _, _>(write).await?;
        Ok(())
    }

    async fn read(&self, request: ReadCheckpoint) -> Result<Vec<CheckpointInfo>, Error> {
        let read = self.0.store.read();
        let found = read
            .datasources()
            .find(Tenant(request.organization), request.datasource)
            .await?;
        let datasource = found.ok_or(Error::NotFound("datasource"))?;
        let checkpoints = self.0.bus.checkpoints();
        let found = checkpoints
            .find_all(datasource.id, is_shared(&datasource))
            .await?;
        let infos = found.into_iter();
        Ok(infos
            .map(|(instance, checkpoint, revision)| CheckpointInfo::new(instance, checkpoint, revision))
            .collect())
    }

    /// Moves the place of a stopped datasource. The bucket is written before the entry is committed: a place that
    /// moved without an entry is answered as a failure, and the repeat writes both.
    async fn write(&self, request: WriteCheckpoint) -> Result<CheckpointInfo, Error> {
        if request.position.to_string().len() > MAX_POSITION {
            return Err(Error::Refused("a position has at most 1 MiB"));
        }
        let (tenant, now) = (Tenant(request.organization), self.0.clock.now());
        let tx = self.0.store.begin().await?;
        let datasource = tx
            .datasources()
            .lock(tenant, request.datasource)
            .await?
            .ok_or(Error::NotFound("datasource"))?;
        let state = tx.states().find(tenant, datasource.id).await?;
        let reads = state.is_some_and(|state| {
            matches!(
                state.state.status,
                RuntimeStatus::Starting | RuntimeStatus::Running | RuntimeStatus::Error
            )
        });
        if wanted(&datasource) || reads {
            return Err(Error::Conflict(
                "stop the datasource first, and wait until it is stopped",
            ));
        }
        if request.instance > 0 && !is_shared(&datasource) {
            return Err(Error::NotFound("instance"));
        }
        let checkpoints = self.0.bus.checkpoints();
        let place = (datasource.id, request.instance);
        let before = checkpoints.find(place.0, place.1).await?;
        let by = &request.by.actor.name;
        let written = checkpoints
            .edit(place, request.position.clone(), request.revision, by, now)
            .await;
        let (checkpoint, revision) = written.map_err(|error| match error {
            BusError::Conflict => Error::Conflict("the checkpoint was written meanwhile; read it again"),
            other => other.into(),
        })?;
        if request.position.is_null() {
            // A source that ran in several instances begins anew with all of them.
            checkpoints.forget_from(datasource.id, 1).await?;
        }
        let before = before.map(|(checkpoint, _)| checkpoint.position);
        tell(&tx, &datasource, &request, before.unwrap_or_default(), now).await?;
        tx.commit().await?;
        self.0.bus.poke_outbox().await;
        Ok(CheckpointInfo::new(request.instance, checkpoint, revision))
    }
}

/// Removes places that nobody reads on from, again and again: those of datasources that were deleted and of backfills
/// that ended while no registry led.
pub(crate) async fn keep_tidy(shared: &Shared) {
    let mut interval = tokio::time::interval(TIDY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = tidy(shared).await {
            tracing::warn!(error = %error, "places that nobody reads on from could not be removed yet");
        }
    }
}

async fn tidy(shared: &Shared) -> Result<(), Error> {
    // First the places: one that appears after that is not looked at.
    let checkpoints = shared.bus.checkpoints();
    let places = checkpoints.places().await?;
    let read = shared.store.read();
    let datasources = read.datasources().all(CONTROL_PLANE).await?;
    let backfills = read.backfills().all_open(CONTROL_PLANE).await?;
    let known: HashSet<DatasourceId> = datasources
        .into_iter()
        .map(|datasource| datasource.id)
        .chain(backfills.into_iter().map(|job| DatasourceId(job.id.0)))
        .collect();
    for (owner, instance) in places.into_iter().filter(|(owner, _)| !known.contains(owner)) {
        // A worker that still reads would begin anew without its place.
        let assigned = shared.bus.assignments().get(&owner.to_string()).await?;
        if assigned.is_none()
            && let Err(error) = checkpoints.forget(owner, instance).await
        {
            tracing::info!(error = %error, "a place that nobody reads on from could not be removed yet");
        }
    }
    Ok(())
}

/// Whether its source may run in several instances.
fn is_shared(datasource: &Datasource) -> bool {
    find(&datasource.connector).is_some_and(|connector| connector.spec().capabilities.shared)
}

/// Whether a worker is to read.
fn wanted(datasource: &Datasource) -> bool {
    datasource.status == DatasourceStatus::Active && datasource.desired_state == DesiredState::Running
}

/// Puts the audit entry and the notice of the change into the outbox.
async fn tell(
    tx: &WriteTx,
    datasource: &Datasource,
    request: &WriteCheckpoint,
    before: serde_json::Value,
    now: Timestamp,
) -> Result<(), Error> {
    let (organization, id): (_, DatasourceId) = (datasource.organization, datasource.id);
    let cleared = request.position.is_null();
    let path = match request.instance {
        0 => "/position".to_owned(),
        instance => format!("/instances/{instance}/position"),
    };
    let summary = if cleared {
        "cleared the checkpoint"
    } else {
        "moved the checkpoint"
    };
    let action = if cleared {
        "checkpoint.delete"
    } else {
        "checkpoint.update"
    };
    let change = ConfigChange {
        datasource: id,
        organization,
        generation: datasource.generation,
        cause: Some(ChangeCause {
            kind: DatasourceEventKind::CheckpointChanged,
            at: now,
            actor: Some(request.by.actor.name.clone()),
            version: None,
            message: summary.to_owned(),
        }),
    };
    let entry = AuditEntry {
        id: AuditEntryId::generate(),
        organization,
        at: now,
        actor: request.by.actor.clone(),
        action: action.to_owned(),
        resource: Resource {
            kind: "checkpoint".to_owned(),
            id: Some(id.to_string()),
            name: Some(datasource.name.clone()),
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: Some(json!([
            {"op": "test", "path": path, "value": before},
            {"op": "replace", "path": path, "value": request.position},
        ])),
        summary: Some(summary.to_owned()),
        request_id: request.by.request_id.clone(),
        remote_ip: request.by.remote_ip.clone(),
    };
    let messages = [
        NewMessage::new(Topic::Config, id.to_string(), Some(id), &change, now)?,
        NewMessage::new(Topic::Audit, id.to_string(), Some(id), &entry, now)?,
    ];
    Ok(tx.outbox().append(Tenant(organization), &messages).await?)
}
