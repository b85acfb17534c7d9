//! `/approvals` and `/datasources/{id}/approvals`.

use halcyon_domain::id::{ApprovalId, DatasourceId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    ApprovalView, CommentView, DecideApproval, ListApprovals, ListComments, ListInbox, RequestApproval,
    WithdrawApproval, WriteComment, views::List,
};

fn found(view: ApprovalView) -> Found<ApprovalView> {
    let revision = view.revision;
    Found::at(view, revision)
}

/// Lists the approvals of all datasources that the caller may see.
#[endpoint(operation_id = "listInbox", tags("approvals"))]
pub(crate) async fn inbox(
    caller: QueryCaller,
    query: Query<ListInbox>,
) -> Outcome<Found<List<ApprovalView>>> {
    Ok(Found::new(caller.app.list_inbox(&caller.context, query.0).await?))
}

/// Lists a datasource's approvals.
#[endpoint(operation_id = "listApprovals", tags("approvals"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListApprovals>,
) -> Outcome<Found<List<ApprovalView>>> {
    Ok(Found::new(
        caller.app.list_approvals(&caller.context, id.0, query.0).await?,
    ))
}

/// Asks somebody else to approve a draft as it is now.
///
/// An edit of the draft ends the request: another configuration needs another approval.
#[endpoint(operation_id = "requestApproval", tags("approvals"), responses(StateConflict))]
pub(crate) async fn request(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<RequestApproval>,
) -> Outcome<Created<ApprovalView>> {
    let view = caller.app.request_approval(&caller.context, id.0, body.0).await?;
    let (revision, path) = (
        view.revision,
        format!("/api/v1/datasources/{}/approvals/{}", id.0, view.id),
    );
    Ok(Created::at(view, revision).located(path))
}

/// Shows an approval.
#[endpoint(operation_id = "getApproval", tags("approvals"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    approval: Path<ApprovalId>,
) -> Outcome<Found<ApprovalView>> {
    Ok(found(
        caller.app.get_approval(&caller.context, id.0, approval.0).await?,
    ))
}

macro_rules! decisions {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $method:ident, $body:ident;)*) => {$(
        $(#[$doc])*
        #[endpoint(operation_id = $id, tags("approvals"), responses(StateConflict))]
        pub(crate) async fn $name(
            caller: Caller,
            id: Path<DatasourceId>,
            approval: Path<ApprovalId>,
            if_match: Precondition,
            body: Body<$body>,
        ) -> Outcome<Found<ApprovalView>> {
            let (app, context) = (&caller.app, &caller.context);
            let view = app.$method(context, id.0, approval.0, body.0, if_match.0).await?;
            Ok(found(view))
        }
    )*};
}

decisions! {
    /// Approves a draft. Whoever wrote it or asked may not, nor may a service account.
    approve, "approve", approve, DecideApproval;
    /// Rejects a draft, and says why. Whoever wrote it or asked may not, nor may a service account.
    reject, "reject", reject, DecideApproval;
    /// Takes a request back that the caller made.
    withdraw, "withdrawApproval", withdraw_approval, WithdrawApproval;
}

/// Lists the comments on an approval, the oldest first.
#[endpoint(operation_id = "listApprovalComments", tags("approvals"))]
pub(crate) async fn comments(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    approval: Path<ApprovalId>,
    query: Query<ListComments>,
) -> Outcome<Found<List<CommentView>>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(Found::new(
        app.list_approval_comments(context, id.0, approval.0, query.0)
            .await?,
    ))
}

/// Comments on an approval. The comment stands with those on its version.
#[endpoint(
    operation_id = "createApprovalComment",
    tags("approvals"),
    responses(StateConflict)
)]
pub(crate) async fn comment(
    caller: Caller,
    id: Path<DatasourceId>,
    approval: Path<ApprovalId>,
    body: Body<WriteComment>,
) -> Outcome<Created<CommentView>> {
    let (app, context) = (&caller.app, &caller.context);
    let view = app.comment_on_approval(context, id.0, approval.0, body.0).await?;
    Ok(super::comments::created(view))
}
