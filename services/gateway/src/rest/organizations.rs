//! `/organizations`.

use halcyon_domain::id::OrganizationId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    CreateOrganization, ListOrganizations, UpdateOrganization,
    views::{List, OrganizationView},
};

/// Lists the organisations that the caller holds a role in; all, with a role everywhere.
#[endpoint(operation_id = "listOrganizations", tags("organizations"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListOrganizations>,
) -> Outcome<Found<List<OrganizationView>>> {
    let page = caller.app.list_organizations(&caller.context, query.0).await?;
    Ok(Found::new(page))
}

/// Makes an organisation with the project `default`. It takes an admin of everything.
#[endpoint(
    operation_id = "createOrganization",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn create(
    caller: Caller,
    body: Body<CreateOrganization>,
) -> Outcome<Created<OrganizationView>> {
    let view = caller.app.create_organization(&caller.context, body.0).await?;
    let (revision, path) = (view.revision, format!("/api/v1/organizations/{}", view.id));
    Ok(Created::at(view, revision).located(path))
}

/// Shows an organisation.
#[endpoint(operation_id = "getOrganization", tags("organizations"))]
pub(crate) async fn get(caller: Caller, id: Path<OrganizationId>) -> Outcome<Found<OrganizationView>> {
    let view = caller.app.get_organization(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes what is given of an organisation.
#[endpoint(
    operation_id = "updateOrganization",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn update(
    caller: Caller,
    id: Path<OrganizationId>,
    if_match: Precondition,
    body: Body<UpdateOrganization>,
) -> Outcome<Found<OrganizationView>> {
    let view = caller
        .app
        .update_organization(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Deletes an organisation that has no datasources, with its projects, users, service accounts and roles.
///
/// It takes an admin of everything, who acts in another organisation.
#[endpoint(
    operation_id = "deleteOrganization",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn delete(
    caller: Caller,
    id: Path<OrganizationId>,
    if_match: Precondition,
) -> Outcome<Done> {
    caller
        .app
        .delete_organization(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}
