//! `/datasources/{id}/versions/{number}/comments`.

use halcyon_domain::id::{CommentId, DatasourceId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Nothing, Path, Precondition, Query, QueryCaller},
};
use crate::app::{CommentView, EditComment, ListComments, WriteComment, views::List};

pub(super) fn created(view: CommentView) -> Created<CommentView> {
    let (revision, path) = (
        view.revision,
        format!(
            "/api/v1/datasources/{}/versions/{}/comments/{}",
            view.datasource, view.version, view.id
        ),
    );
    Created::at(view, revision).located(path)
}

fn found(view: CommentView) -> Found<CommentView> {
    let revision = view.revision;
    Found::at(view, revision)
}

/// Lists the comments on a version, the oldest first.
#[endpoint(operation_id = "listComments", tags("approvals"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    query: Query<ListComments>,
) -> Outcome<Found<List<CommentView>>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(Found::new(
        app.list_comments(context, id.0, number.0, query.0).await?,
    ))
}

/// Comments on a version, or answers a comment.
#[endpoint(operation_id = "createComment", tags("approvals"), responses(StateConflict))]
pub(crate) async fn create(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    body: Body<WriteComment>,
) -> Outcome<Created<CommentView>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(created(
        app.comment_on_version(context, id.0, number.0, body.0).await?,
    ))
}

/// Shows a comment.
#[endpoint(operation_id = "getComment", tags("approvals"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    comment: Path<CommentId>,
) -> Outcome<Found<CommentView>> {
    let path = (id.0, number.0, comment.0);
    Ok(found(caller.app.get_comment(&caller.context, path).await?))
}

/// Changes what the caller said.
#[endpoint(operation_id = "editComment", tags("approvals"))]
pub(crate) async fn edit(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    comment: Path<CommentId>,
    if_match: Precondition,
    body: Body<EditComment>,
) -> Outcome<Found<CommentView>> {
    let (app, path) = (&caller.app, (id.0, number.0, comment.0));
    Ok(found(
        app.edit_comment(&caller.context, path, body.0, if_match.0)
            .await?,
    ))
}

/// Deletes what the caller said; its place in the thread stays.
#[endpoint(operation_id = "deleteComment", tags("approvals"))]
pub(crate) async fn delete(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    comment: Path<CommentId>,
    if_match: Precondition,
) -> Outcome<Done> {
    let (app, path) = (&caller.app, (id.0, number.0, comment.0));
    app.delete_comment(&caller.context, path, if_match.0).await?;
    Ok(Done)
}

/// Settles a thread.
#[endpoint(operation_id = "resolveComment", tags("approvals"), responses(StateConflict))]
pub(crate) async fn resolve(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    comment: Path<CommentId>,
    if_match: Precondition,
    _body: Body<Nothing>,
) -> Outcome<Found<CommentView>> {
    let (app, path) = (&caller.app, (id.0, number.0, comment.0));
    Ok(found(
        app.resolve_comment(&caller.context, path, if_match.0).await?,
    ))
}

/// Takes a settled thread up again.
#[endpoint(operation_id = "reopenComment", tags("approvals"), responses(StateConflict))]
pub(crate) async fn reopen(
    caller: Caller,
    id: Path<DatasourceId>,
    number: Path<u32>,
    comment: Path<CommentId>,
    if_match: Precondition,
    _body: Body<Nothing>,
) -> Outcome<Found<CommentView>> {
    let (app, path) = (&caller.app, (id.0, number.0, comment.0));
    Ok(found(
        app.reopen_comment(&caller.context, path, if_match.0).await?,
    ))
}
