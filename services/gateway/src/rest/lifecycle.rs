//! Publishing and rolling back; starting, stopping and the like.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Accepted, Found, Outcome, StateConflict},
    extract::{Body, Caller, Nothing, Path, Precondition},
};
use crate::app::{
    Operation, PublishVersion, RollBack,
    views::{DatasourceView, VersionView},
};

/// Publishes a draft: the newest one, unless `version` says which.
///
/// The configuration is checked and compiled, its secrets must exist, and its stored tests must pass; else the
/// answer is 422 and the version before stays in effect. Where the organisation or the project requires an approval
/// and there is none of exactly this configuration, the answer is 409 `approval_required`.
#[endpoint(operation_id = "publishVersion", tags("lifecycle"), responses(StateConflict))]
pub(crate) async fn publish(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<PublishVersion>,
) -> Outcome<Found<VersionView>> {
    let view = caller
        .app
        .publish(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Puts an earlier version's configuration back in effect, as a new version. It was in effect before, so it takes no
/// approval.
#[endpoint(operation_id = "rollBack", tags("lifecycle"), responses(StateConflict))]
pub(crate) async fn roll_back(
    caller: Caller,
    id: Path<DatasourceId>,
    if_match: Precondition,
    body: Body<RollBack>,
) -> Outcome<Found<VersionView>> {
    let view = caller
        .app
        .roll_back(&caller.context, id.0, body.0, if_match.0)
        .await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $operation:ident;)*) => {$(
        $(#[$doc])*
        #[endpoint(operation_id = $id, tags("lifecycle"), responses(StateConflict))]
        pub(crate) async fn $name(
            caller: Caller,
            id: Path<DatasourceId>,
            if_match: Precondition,
            _body: Body<Nothing>,
        ) -> Outcome<Accepted<DatasourceView>> {
            let operation = Operation::$operation;
            let view = caller.app.operate(&caller.context, id.0, operation, if_match.0).await?;
            let revision = view.revision;
            Ok(Accepted::at(view, revision))
        }
    )*};
}

operations! {
    /// Starts a datasource: its events are processed.
    start, "startDatasource", Start;
    /// Stops a datasource: its events are accepted and kept, and not processed.
    stop, "stopDatasource", Stop;
    /// Restarts a datasource.
    restart, "restartDatasource", Restart;
    /// Makes the workers read a datasource's configuration again.
    reload, "reloadDatasource", Reload;
    /// Enables a datasource: it takes events again.
    enable, "enableDatasource", Enable;
    /// Disables a datasource: it takes no events.
    disable, "disableDatasource", Disable;
    /// Accepts what records have come to be like, where a version's policy has stopped the datasource for that: it goes
    /// on, and what was seen counts as expected until a worker begins anew. To make it last, publish what is expected.
    accept_schema, "acceptSchema", AcceptSchema;
}
