//! Backfills.

use halcyon_domain::id::{BackfillId, DatasourceId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, Within},
};
use crate::app::{CreateBackfill, ListBackfills};

/// Which backfill.
#[derive(Deserialize, JsonSchema)]
struct Backfill {
    /// The datasource.
    datasource: DatasourceId,
    /// The backfill's identifier.
    id: BackfillId,
}

pub(super) fn add(api: &mut Api) {
    api.page(
        "listBackfills",
        "backfills",
        |call, of: Within<ListBackfills>| async move {
            call.app
                .list_backfills(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.query("getBackfill", "backfill", |call, of: Backfill| async move {
        call.app.get_backfill(&call.context, of.datasource, of.id).await
    });
    api.mutation(
        "createBackfill",
        |call, about: About<DatasourceId, CreateBackfill>| async move {
            call.app
                .create_backfill(&call.context, about.id, about.input)
                .await
        },
    );
    api.mutation("cancelBackfill", |call, of: Backfill| async move {
        call.app
            .cancel_backfill(&call.context, of.datasource, of.id)
            .await
    });
}
