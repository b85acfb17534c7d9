//! `/datasources/{id}/samples`.

use halcyon_domain::id::{DatasourceId, SampleId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, ExactBody, Path, Query, QueryCaller},
};
use crate::app::{
    Impact, InferSchema, InferredSchema, ListSamples, PreviewImpact, SampleView, SampleWithPayload,
    SaveSample, views::List,
};

/// Lists a datasource's saved samples, without their payloads.
#[endpoint(operation_id = "listSamples", tags("samples"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListSamples>,
) -> Outcome<Found<List<SampleView>>> {
    Ok(Found::new(
        caller.app.list_samples(&caller.context, id.0, query.0).await?,
    ))
}

/// Saves a sample: a payload, a dead letter's event, or one of the catalog's.
#[endpoint(operation_id = "saveSample", tags("samples"), responses(StateConflict))]
pub(crate) async fn save(
    caller: Caller,
    id: Path<DatasourceId>,
    body: ExactBody<SaveSample>,
) -> Outcome<Created<SampleView>> {
    let view = caller.app.save_sample(&caller.context, id.0, body.0).await?;
    let path = format!("/api/v1/datasources/{}/samples/{}", id.0, view.id);
    Ok(Created::new(view).located(path))
}

/// Shows a sample with its payload.
#[endpoint(operation_id = "getSample", tags("samples"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    sample: Path<SampleId>,
) -> Outcome<Found<SampleWithPayload>> {
    Ok(Found::new(
        caller.app.get_sample(&caller.context, id.0, sample.0).await?,
    ))
}

/// Learns the shape of the records from the samples, as JSON Schema: types, formats, fixed values, and which fields
/// are always there.
#[endpoint(operation_id = "inferSchema", tags("samples"))]
pub(crate) async fn schema(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<InferSchema>,
) -> Outcome<Found<InferredSchema>> {
    Ok(Found::new(
        caller.app.infer_schema(&caller.context, id.0, query.0).await?,
    ))
}

/// Deletes a sample.
#[endpoint(operation_id = "deleteSample", tags("samples"))]
pub(crate) async fn delete(caller: Caller, id: Path<DatasourceId>, sample: Path<SampleId>) -> Outcome<Done> {
    caller.app.delete_sample(&caller.context, id.0, sample.0).await?;
    Ok(Done)
}

/// Tells what publishing a version would do: what restarts, which outputs change on the saved samples, and what
/// stands against it. Nothing is changed by asking.
#[endpoint(operation_id = "previewImpact", tags("versions"))]
pub(crate) async fn impact(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    body: Body<PreviewImpact>,
) -> Outcome<Found<Impact>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(Found::new(
        app.preview_impact(context, id.0, number.0, body.0).await?,
    ))
}
