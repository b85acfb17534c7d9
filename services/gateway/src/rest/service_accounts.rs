//! `/service-accounts`.

use halcyon_domain::id::{ServiceAccountId, ServiceAccountTokenId};
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Created, Done, Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Precondition, Query, QueryCaller},
};
use crate::app::{
    CreateServiceAccount, CreateServiceAccountToken, ListServiceAccountTokens, ListServiceAccounts,
    UpdateServiceAccount,
    views::{List, NewTokenView, ServiceAccountView, TokenView},
};

/// Lists the service accounts of the organisation.
#[endpoint(operation_id = "listServiceAccounts", tags("access"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListServiceAccounts>,
) -> Outcome<Found<List<ServiceAccountView>>> {
    let page = caller.app.list_service_accounts(&caller.context, query.0).await?;
    Ok(Found::new(page))
}

/// Makes a service account, without any role or token.
#[endpoint(
    operation_id = "createServiceAccount",
    tags("access"),
    responses(StateConflict)
)]
pub(crate) async fn create(
    caller: Caller,
    body: Body<CreateServiceAccount>,
) -> Outcome<Created<ServiceAccountView>> {
    let view = caller.app.create_service_account(&caller.context, body.0).await?;
    let (revision, path) = (view.revision, format!("/api/v1/service-accounts/{}", view.id));
    Ok(Created::at(view, revision).located(path))
}

/// Shows a service account.
#[endpoint(operation_id = "getServiceAccount", tags("access"))]
pub(crate) async fn get(caller: Caller, id: Path<ServiceAccountId>) -> Outcome<Found<ServiceAccountView>> {
    let view = caller.app.get_service_account(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Changes what is given of a service account. While it is disabled, its tokens do not count.
#[endpoint(
    operation_id = "updateServiceAccount",
    tags("access"),
    responses(StateConflict)
)]
pub(crate) async fn update(
    caller: Caller,
    id: Path<ServiceAccountId>,
    if_match: Precondition,
    body: Body<UpdateServiceAccount>,
) -> Outcome<Found<ServiceAccountView>> {
    let view = caller
        .app
        .update_service_account(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Deletes a service account with its roles, and revokes its tokens.
#[endpoint(operation_id = "deleteServiceAccount", tags("access"))]
pub(crate) async fn delete(
    caller: Caller,
    id: Path<ServiceAccountId>,
    if_match: Precondition,
) -> Outcome<Done> {
    caller
        .app
        .delete_service_account(&caller.context, id.0, if_match.0)
        .await?;
    Ok(Done)
}

/// Lists the tokens of a service account: names and ages, revoked ones too.
#[endpoint(operation_id = "listServiceAccountTokens", tags("access"))]
pub(crate) async fn tokens(
    caller: QueryCaller,
    id: Path<ServiceAccountId>,
    query: Query<ListServiceAccountTokens>,
) -> Outcome<Found<List<TokenView>>> {
    let app = &caller.app;
    let page = app
        .list_service_account_tokens(&caller.context, id.0, query.0)
        .await?;
    Ok(Found::new(page))
}

/// Makes a token of a service account. It is shown in the answer, and never again.
#[endpoint(
    operation_id = "createServiceAccountToken",
    tags("access"),
    responses(StateConflict)
)]
pub(crate) async fn create_token(
    caller: Caller,
    id: Path<ServiceAccountId>,
    body: Body<CreateServiceAccountToken>,
) -> Outcome<Created<NewTokenView>> {
    let app = &caller.app;
    let made = app
        .create_service_account_token(&caller.context, id.0, body.0)
        .await?;
    Ok(Created::new(made))
}

/// Revokes a token of a service account; it counts no more at once.
#[endpoint(operation_id = "deleteServiceAccountToken", tags("access"))]
pub(crate) async fn delete_token(
    caller: Caller,
    id: Path<ServiceAccountId>,
    token: Path<ServiceAccountTokenId>,
) -> Outcome<Done> {
    let app = &caller.app;
    app.delete_service_account_token(&caller.context, id.0, token.0)
        .await?;
    Ok(Done)
}
