//! `/users`.

use halcyon_domain::id::UserId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::{
    app::{
        ChangePassword, CreateUser, ListUsers, UpdateUser,
        views::{List, UserView},
    },
    openapi,
};

/// Lists the users who belong to the organisation.
#[endpoint(operation_id = "listUsers", tags("access"))]
pub(crate) async fn list(caller: QueryCaller, query: Query<ListUsers>) -> Outcome<Found<List<UserView>>> {
    let page = caller.app.list_users(&caller.context, query.0).await?;
    Ok(Found::new(page))
}

/// Adds a user, without any role.
#[endpoint(operation_id = "createUser", tags("access"), responses(StateConflict))]
pub(crate) async fn create(caller: Caller, body: Body<CreateUser>) -> Outcome<Created<UserView>> {
    let view = caller.app.create_user(&caller.context, body.0).await?;
    let (revision, path) = (view.revision, format!("/api/v1/users/{}", view.id));
    Ok(Created::at(view, revision).located(path))
}

/// Shows a user.
#[endpoint(operation_id = "getUser", tags("access"))]
pub(crate) async fn get(caller: Caller, id: Path<UserId>) -> Outcome<Found<UserView>> {
    let view = caller.app.get_user(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes what is given of a user. A new password, or `disabled`, ends their sessions.
#[endpoint(operation_id = "updateUser", tags("access"), responses(StateConflict))]
pub(crate) async fn update(
    caller: Caller,
    id: Path<UserId>,
    if_match: Precondition,
    body: Body<UpdateUser>,
) -> Outcome<Found<UserView>> {
    let view = caller
        .app
        .update_user(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Deletes a user with their roles, and ends their sessions.
#[endpoint(operation_id = "deleteUser", tags("access"), responses(StateConflict))]
pub(crate) async fn delete(caller: Caller, id: Path<UserId>, if_match: Precondition) -> Outcome<Done> {
    caller.app.delete_user(&caller.context, id.0, if_match.0).await?;
    Ok(Done)
}

/// Sets a new password of one's own, and ends one's other sessions.
#[endpoint(
    operation_id = "changePassword",
    tags("session"),
    responses(StateConflict, Slowed)
)]
pub(crate) async fn change_password(caller: Caller, body: Body<ChangePassword>) -> Outcome<Done> {
    caller.app.change_password(&caller.context, body.0).await?;
    Ok(Done)
}

/// What answers that a password was tried too often.
struct Slowed;

impl salvo::oapi::ToResponses for Slowed {
    fn to_responses(components: &mut salvo::oapi::Components) -> salvo::oapi::Responses {
        let mut operation = salvo::oapi::Operation::new();
        let text = "Too many attempts; see `Retry-After`.";
        openapi::add_problem(components, &mut operation, "429", text);
        operation.responses
    }
}
