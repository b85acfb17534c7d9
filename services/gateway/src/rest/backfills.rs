//! `/datasources/{id}/backfill` and `/datasources/{id}/backfills`.

use halcyon_domain::id::{BackfillId, DatasourceId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Accepted, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Query, QueryCaller},
};
use crate::app::{BackfillView, CreateBackfill, ListBackfills, views::List};

/// Lists the backfills of a datasource, the newest first: those that wait and run, and what became of the others.
#[endpoint(operation_id = "listBackfills", tags("lifecycle"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListBackfills>,
) -> Outcome<Found<List<BackfillView>>> {
    Ok(Found::new(
        caller.app.list_backfills(&caller.context, id.0, query.0).await?,
    ))
}

/// Asks for a past range of the feed to be fetched again, beside what is fetched live.
///
/// One backfill of a datasource runs at a time, further ones wait. What was delivered before counts once: the events
/// have the identities that they had.
#[endpoint(operation_id = "createBackfill", tags("lifecycle"), responses(StateConflict))]
pub(crate) async fn create(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<CreateBackfill>,
) -> Outcome<Accepted<BackfillView>> {
    let view = caller.app.create_backfill(&caller.context, id.0, body.0).await?;
    let path = format!("/api/v1/datasources/{}/backfills/{}", id.0, view.id);
    let revision = view.revision;
    Ok(Accepted::at(view, revision).located(path))
}

/// Shows a backfill: what has become of it, and how far it is.
#[endpoint(operation_id = "getBackfill", tags("lifecycle"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    backfill: Path<BackfillId>,
) -> Outcome<Found<BackfillView>> {
    let view = caller.app.get_backfill(&caller.context, id.0, backfill.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Cancels a backfill that waits or runs. What it has delivered stays.
#[endpoint(operation_id = "cancelBackfill", tags("lifecycle"), responses(StateConflict))]
pub(crate) async fn cancel(
    caller: Caller,
    id: Path<DatasourceId>,
    backfill: Path<BackfillId>,
) -> Outcome<Found<BackfillView>> {
    let view = caller
        .app
        .cancel_backfill(&caller.context, id.0, backfill.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}
