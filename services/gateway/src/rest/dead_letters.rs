//! `/datasources/{id}/dead-letters` and `/datasources/{id}/checkpoint`: what was not mapped, and where a source is.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    ListDeadLetters, ReplayDeadLetters, WriteCheckpoint,
    views::{CheckpointView, DeadLetterView, List, ReplayReport},
};

/// Lists the records that could not be mapped, the oldest first.
#[endpoint(operation_id = "listDeadLetters", tags("observation"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListDeadLetters>,
) -> Outcome<Found<List<DeadLetterView>>> {
    Ok(Found::new(
        caller
            .app
            .list_dead_letters(&caller.context, id.0, query.0)
            .await?,
    ))
}

/// Processes dead letters anew, with the version that is in effect.
///
/// An event is mapped as a whole: its other records are mapped again, too, and come out as the objects they were. With
/// `dry_run` it is only counted.
#[endpoint(
    operation_id = "replayDeadLetters",
    tags("observation"),
    responses(StateConflict)
)]
pub(crate) async fn replay(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<ReplayDeadLetters>,
) -> Outcome<Found<ReplayReport>> {
    Ok(Found::new(
        caller
            .app
            .replay_dead_letters(&caller.context, id.0, body.0)
            .await?,
    ))
}

fn at(view: CheckpointView) -> Found<CheckpointView> {
    let revision = i64::try_from(view.revision).unwrap_or(i64::MAX);
    Found::at(view, revision)
}

/// Shows a pull datasource's place in its source.
#[endpoint(operation_id = "getCheckpoint", tags("observation"), responses(StateConflict))]
pub(crate) async fn checkpoint(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<CheckpointView>> {
    Ok(at(caller.app.get_checkpoint(&caller.context, id.0).await?))
}

/// Moves a stopped pull datasource's place in its source.
#[endpoint(operation_id = "putCheckpoint", tags("observation"), responses(StateConflict))]
pub(crate) async fn put_checkpoint(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<WriteCheckpoint>,
) -> Outcome<Found<CheckpointView>> {
    let put = caller
        .app
        .put_checkpoint(&caller.context, id.0, body.0, if_match.0)
        .await?;
    Ok(at(put))
}

/// Clears a stopped pull datasource's place in its source: it begins anew.
#[endpoint(
    operation_id = "deleteCheckpoint",
    tags("observation"),
    responses(StateConflict)
)]
pub(crate) async fn delete_checkpoint(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
) -> Outcome<Done> {
    caller
        .app
        .delete_checkpoint(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}
