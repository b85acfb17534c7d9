//! `/datasources/{id}/secrets`.

use halcyon_domain::id::DatasourceId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Done, Found, Outcome},
    extract::{Body, Caller, Path},
};
use crate::app::{
    RotateSecret, WriteSecret,
    views::{List, SecretView},
};

/// Lists a datasource's secrets: names, versions and ages, never values.
#[endpoint(operation_id = "listSecrets", tags("secrets"))]
pub(crate) async fn list(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<List<SecretView>>> {
    Ok(Found::new(caller.app.list_secrets(&caller.context, id.0).await?))
}

/// Writes a secret. Its value is never shown again.
#[endpoint(operation_id = "putSecret", tags("secrets"))]
pub(crate) async fn put(
    caller: Caller,
    id: Path<DatasourceId>,
    name: Path<String>,
    body: Body<WriteSecret>,
) -> Outcome<Found<SecretView>> {
    Ok(Found::new(
        caller
            .app
            .write_secret(&caller.context, id.0, &name.0, body.0)
            .await?,
    ))
}

/// Rotates a secret: the new value is used at once, and the previous one is still accepted for a while.
#[endpoint(operation_id = "rotateSecret", tags("secrets"))]
pub(crate) async fn rotate(
    caller: Caller,
    id: Path<DatasourceId>,
    name: Path<String>,
    body: Body<RotateSecret>,
) -> Outcome<Found<SecretView>> {
    Ok(Found::new(
        caller
            .app
            .rotate_secret(&caller.context, id.0, &name.0, body.0)
            .await?,
    ))
}

/// Destroys a secret with all its versions.
#[endpoint(operation_id = "deleteSecret", tags("secrets"))]
pub(crate) async fn delete(caller: Caller, id: Path<DatasourceId>, name: Path<String>) -> Outcome<Done> {
    caller.app.delete_secret(&caller.context, id.0, &name.0).await?;
    Ok(Done)
}
