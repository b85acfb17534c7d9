//! `/projects`.

use halcyon_domain::id::ProjectId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    CreateProject, ListProjects, UpdateProject,
    views::{List, ProjectView},
};

/// Lists the projects that the caller may see.
#[endpoint(operation_id = "listProjects", tags("organizations"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListProjects>,
) -> Outcome<Found<List<ProjectView>>> {
    let page = caller.app.list_projects(&caller.context, query.0).await?;
    Ok(Found::new(page))
}

/// Makes a project.
#[endpoint(
    operation_id = "createProject",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn create(caller: Caller, body: Body<CreateProject>) -> Outcome<Created<ProjectView>> {
    let view = caller.app.create_project(&caller.context, body.0).await?;
    let (revision, path) = (view.revision, format!("/api/v1/projects/{}", view.id));
    Ok(Created::at(view, revision).located(path))
}

/// Shows a project.
#[endpoint(operation_id = "getProject", tags("organizations"))]
pub(crate) async fn get(caller: Caller, id: Path<ProjectId>) -> Outcome<Found<ProjectView>> {
    let view = caller.app.get_project(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes what is given of a project.
///
/// Whether what is published needs an approval is for admins of the organisation to change.
#[endpoint(
    operation_id = "updateProject",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn update(
    caller: Caller,
    id: Path<ProjectId>,
    if_match: Precondition,
    body: Body<UpdateProject>,
) -> Outcome<Found<ProjectView>> {
    let view = caller
        .app
        .update_project(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Deletes a project that has no datasources, with the roles that were given in it.
#[endpoint(
    operation_id = "deleteProject",
    tags("organizations"),
    responses(StateConflict)
)]
pub(crate) async fn delete(caller: Caller, id: Path<ProjectId>, if_match: Precondition) -> Outcome<Done> {
    caller
        .app
        .delete_project(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}
