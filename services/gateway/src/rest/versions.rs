//! `/datasources/{id}/versions`.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    ArchiveVersion, CreateVersion, EditVersion, ListVersions,
    views::{List, VersionDiff, VersionView},
};

/// Lists a datasource's versions.
#[endpoint(operation_id = "listVersions", tags("versions"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListVersions>,
) -> Outcome<Found<List<VersionView>>> {
    Ok(Found::new(
        caller.app.list_versions(&caller.context, id.0, query.0).await?,
    ))
}

/// Makes a draft. It may be unfinished: it is checked in full when it is published.
#[endpoint(operation_id = "createVersion", tags("versions"))]
pub(crate) async fn create(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<CreateVersion>,
) -> Outcome<Created<VersionView>> {
    let view = caller.app.create_version(&caller.context, id.0, body.0).await?;
    let (revision, path) = (
        view.revision,
        format!("/api/v1/datasources/{}/versions/{}", id.0, view.number),
    );
    Ok(Created::at(view, revision).located(path))
}

/// Shows a version.
#[endpoint(operation_id = "getVersion", tags("versions"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
) -> Outcome<Found<VersionView>> {
    let view = caller.app.get_version(&caller.context, id.0, number.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes a draft.
#[endpoint(operation_id = "editVersion", tags("versions"), responses(StateConflict))]
pub(crate) async fn edit(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    if_match: Precondition,
    body: Body<EditVersion>,
) -> Outcome<Found<VersionView>> {
    let view = caller
        .app
        .edit_version(&caller.context, id.0, number.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Compares two versions.
#[endpoint(operation_id = "diffVersions", tags("versions"))]
pub(crate) async fn diff(
    caller: Caller,
    id: Path<DatasourceId>,
    from: Path<u32>,
    to: Path<u32>,
) -> Outcome<Found<VersionDiff>> {
    Ok(Found::new(
        caller
            .app
            .diff_versions(&caller.context, id.0, from.0, to.0)
            .await?,
    ))
}

/// Archives a draft: it will not be published.
#[endpoint(operation_id = "archiveVersion", tags("versions"), responses(StateConflict))]
pub(crate) async fn archive(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    if_match: Precondition,
    body: Body<ArchiveVersion>,
) -> Outcome<Found<VersionView>> {
    let view = caller
        .app
        .archive_version(&caller.context, id.0, number.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}
