//! `/datasources/{id}/checkpoint`: where a source is.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{ReadCheckpoint, WriteCheckpoint, views::CheckpointView};

fn at(view: CheckpointView) -> Found<CheckpointView> {
    let revision = i64::try_from(view.revision).unwrap_or(i64::MAX);
    Found::at(view, revision)
}

/// Shows a pull datasource's place in its source.
#[endpoint(operation_id = "getCheckpoint", tags("observation"), responses(StateConflict))]
pub(crate) async fn get(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ReadCheckpoint>,
) -> Outcome<Found<CheckpointView>> {
    let view = caller.app.get_checkpoint(&caller.context, id.0, query.0).await?;
    Ok(at(view))
}

/// Moves a stopped pull datasource's place in its source. The connector is asked first whether it could go on from there.
#[endpoint(operation_id = "putCheckpoint", tags("observation"), responses(StateConflict))]
pub(crate) async fn put(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<WriteCheckpoint>,
) -> Outcome<Found<CheckpointView>> {
    let written = caller
        .app
        .put_checkpoint(&caller.context, id.0, body.0, if_match.0)
        .await?;
    Ok(at(written))
}

/// Clears a stopped pull datasource's place in its source: it begins anew.
#[endpoint(
    operation_id = "deleteCheckpoint",
    tags("observation"),
    responses(StateConflict)
)]
pub(crate) async fn delete(caller: Caller, id: Path<DatasourceId>, if_match: Precondition) -> Outcome<Done> {
    caller
        .app
        .delete_checkpoint(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}
