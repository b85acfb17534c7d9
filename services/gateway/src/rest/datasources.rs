//! `/datasources`.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    CloneDatasource, CreateDatasource, DelegateDatasource, ListDatasources, UpdateDatasource,
    ValidateDatasource,
    views::{DatasourceView, List, Validation},
};

fn created(view: DatasourceView) -> Created<DatasourceView> {
    let (revision, path) = (view.revision, format!("/api/v1/datasources/{}", view.id));
    Created::at(view, revision).located(path)
}

/// Lists datasources.
#[endpoint(operation_id = "listDatasources", tags("datasources"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListDatasources>,
) -> Outcome<Found<List<DatasourceView>>> {
    Ok(Found::new(
        caller.app.list_datasources(&caller.context, query.0).await?,
    ))
}

/// Makes a datasource, with draft version 1 if `config` is given.
#[endpoint(
    operation_id = "createDatasource",
    tags("datasources"),
    responses(StateConflict)
)]
pub(crate) async fn create(caller: Caller, body: Body<CreateDatasource>) -> Outcome<Created<DatasourceView>> {
    Ok(created(
        caller.app.create_datasource(&caller.context, body.0).await?,
    ))
}

/// Checks a datasource as it would be checked if it was made, and writes nothing.
///
/// With `publishable` its configuration must be whole, as for a publish; the secrets and the stored tests are not
/// looked at. Whether its name is taken is not either.
#[endpoint(operation_id = "validateDatasource", tags("datasources"))]
pub(crate) async fn validate(
    caller: QueryCaller,
    query: Query<ValidateDatasource>,
    body: Body<CreateDatasource>,
) -> Outcome<Found<Validation>> {
    Ok(Found::new(
        caller
            .app
            .validate_datasource(&caller.context, body.0, &query.0)
            .await?,
    ))
}

/// Shows a datasource with its state and numbers.
#[endpoint(operation_id = "getDatasource", tags("datasources"))]
pub(crate) async fn get(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<DatasourceView>> {
    let view = caller.app.get_datasource(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes what is given of a datasource.
#[endpoint(
    operation_id = "updateDatasource",
    tags("datasources"),
    responses(StateConflict)
)]
pub(crate) async fn update(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<UpdateDatasource>,
) -> Outcome<Found<DatasourceView>> {
    let view = caller
        .app
        .update_datasource(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Deletes a datasource and destroys its secrets.
#[endpoint(operation_id = "deleteDatasource", tags("datasources"))]
pub(crate) async fn delete(caller: Caller, id: Path<DatasourceId>, if_match: Precondition) -> Outcome<Done> {
    caller
        .app
        .delete_datasource(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}

/// Hands a datasource over: a user becomes its owner, and is given a role for this one datasource.
#[endpoint(
    operation_id = "delegateDatasource",
    tags("datasources"),
    responses(StateConflict)
)]
pub(crate) async fn delegate(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<DelegateDatasource>,
) -> Outcome<Found<DatasourceView>> {
    let view = caller
        .app
        .delegate_datasource(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Copies a datasource's newest configuration into a new datasource.
///
/// Secrets are not copied.
#[endpoint(
    operation_id = "cloneDatasource",
    tags("datasources"),
    responses(StateConflict)
)]
pub(crate) async fn clone(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<CloneDatasource>,
) -> Outcome<Created<DatasourceView>> {
    Ok(created(
        caller.app.clone_datasource(&caller.context, id.0, body.0).await?,
    ))
}
