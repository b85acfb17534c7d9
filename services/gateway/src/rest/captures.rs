//! `/datasources/{id}/captures`: live records, kept as samples.

use halcyon_domain::id::{CaptureId, DatasourceId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Accepted, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path},
};
use crate::app::{CaptureView, StartCapture, views::List};

/// Captures live records: the next ones that come by are kept as samples.
///
/// The workers take them and take out what tells of secrets before it leaves them. A capture ends when it has its
/// records, when its time is over, when it is ended, or when the datasource has no room for more samples.
#[endpoint(operation_id = "startCapture", tags("samples"), responses(StateConflict))]
pub(crate) async fn start(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<StartCapture>,
) -> Outcome<Accepted<CaptureView>> {
    let view = caller.app.start_capture(&caller.context, id.0, body.0).await?;
    let path = format!("/api/v1/datasources/{}/captures/{}", id.0, view.id);
    Ok(Accepted::new(view).located(path))
}

/// Lists the captures of the last day, the newest first.
#[endpoint(operation_id = "listCaptures", tags("samples"))]
pub(crate) async fn list(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<List<CaptureView>>> {
    Ok(Found::new(caller.app.list_captures(&caller.context, id.0).await?))
}

/// Shows a capture.
#[endpoint(operation_id = "getCapture", tags("samples"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    capture: Path<CaptureId>,
) -> Outcome<Found<CaptureView>> {
    Ok(Found::new(
        caller.app.get_capture(&caller.context, id.0, capture.0).await?,
    ))
}

/// Ends a capture. What it has is kept.
#[endpoint(operation_id = "stopCapture", tags("samples"))]
pub(crate) async fn stop(caller: Caller, id: Path<DatasourceId>, capture: Path<CaptureId>) -> Outcome<Done> {
    caller.app.stop_capture(&caller.context, id.0, capture.0).await?;
    Ok(Done)
}
