//! Secrets of a datasource: their values go in and never come out.

use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{Whose, done},
};
use crate::app::{RotateSecret, WriteSecret};

/// Which secret.
#[derive(Deserialize, JsonSchema)]
struct Secret {
    /// The datasource.
    datasource: DatasourceId,
    /// The secret's name.
    name: String,
}

/// Which secret, and its new value.
#[derive(Deserialize, JsonSchema)]
struct Put {
    /// The datasource.
    datasource: DatasourceId,
    /// The secret's name.
    name: String,
    /// The new value.
    input: WriteSecret,
}

/// Which secret, and its next value.
#[derive(Deserialize, JsonSchema)]
struct Rotate {
    /// The datasource.
    datasource: DatasourceId,
    /// The secret's name.
    name: String,
    /// The next value.
    input: RotateSecret,
}

pub(super) fn add(api: &mut Api) {
    api.query("listSecrets", "secrets", |call, of: Whose| async move {
        let list = call.app.list_secrets(&call.context, of.datasource).await;
        list.map(|list| list.items)
    });
    api.mutation("putSecret", |call, put: Put| async move {
        call.app
            .write_secret(&call.context, put.datasource, &put.name, put.input)
            .await
    });
    api.mutation("deleteSecret", |call, of: Secret| async move {
        call.app
            .delete_secret(&call.context, of.datasource, &of.name)
            .await
            .map(done)
    });
    api.mutation("rotateSecret", |call, rotate: Rotate| async move {
        call.app
            .rotate_secret(&call.context, rotate.datasource, &rotate.name, rotate.input)
            .await
    });
}
