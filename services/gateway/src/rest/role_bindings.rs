//! `/role-bindings`.

use halcyon_domain::id::RoleBindingId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    CreateRoleBinding, ListRoleBindings, UpdateRoleBinding,
    views::{List, RoleBindingView},
};

/// Lists the roles that were given, as far as the caller may give and take them.
#[endpoint(operation_id = "listRoleBindings", tags("access"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListRoleBindings>,
) -> Outcome<Found<List<RoleBindingView>>> {
    let page = caller.app.list_role_bindings(&caller.context, query.0).await?;
    Ok(Found::new(page))
}

/// Gives a role to a user or a service account. Nobody gives more than they hold there themselves.
#[endpoint(operation_id = "createRoleBinding", tags("access"), responses(StateConflict))]
pub(crate) async fn create(
    caller: Caller,
    body: Body<CreateRoleBinding>,
) -> Outcome<Created<RoleBindingView>> {
    let view = caller.app.create_role_binding(&caller.context, body.0).await?;
    let (revision, path) = (view.revision, format!("/api/v1/role-bindings/{}", view.id));
    Ok(Created::at(view, revision).located(path))
}

/// Shows a role binding.
#[endpoint(operation_id = "getRoleBinding", tags("access"))]
pub(crate) async fn get(caller: Caller, id: Path<RoleBindingId>) -> Outcome<Found<RoleBindingView>> {
    let view = caller.app.get_role_binding(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes the role of a binding.
#[endpoint(operation_id = "updateRoleBinding", tags("access"), responses(StateConflict))]
pub(crate) async fn update(
    caller: Caller,
    id: Path<RoleBindingId>,
    if_match: Precondition,
    body: Body<UpdateRoleBinding>,
) -> Outcome<Found<RoleBindingView>> {
    let view = caller
        .app
        .update_role_binding(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Takes a role back. The last admin of an organisation, and the last of all, stay.
#[endpoint(operation_id = "deleteRoleBinding", tags("access"), responses(StateConflict))]
pub(crate) async fn delete(caller: Caller, id: Path<RoleBindingId>, if_match: Precondition) -> Outcome<Done> {
    caller
        .app
        .delete_role_binding(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}
