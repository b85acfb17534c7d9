//! Captures of live records.

use halcyon_domain::id::{CaptureId, DatasourceId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, Whose, done},
};
use crate::app::StartCapture;

/// Which capture.
#[derive(Deserialize, JsonSchema)]
struct Capture {
    /// The datasource.
    datasource: DatasourceId,
    /// The capture's identifier.
    id: CaptureId,
}

pub(super) fn add(api: &mut Api) {
    api.query("listCaptures", "captures", |call, of: Whose| async move {
        let list = call.app.list_captures(&call.context, of.datasource).await;
        list.map(|list| list.items)
    });
    api.query("getCapture", "capture", |call, of: Capture| async move {
        call.app.get_capture(&call.context, of.datasource, of.id).await
    });
    api.mutation(
        "startCapture",
        |call, about: About<DatasourceId, StartCapture>| async move {
            call.app.start_capture(&call.context, about.id, about.input).await
        },
    );
    api.mutation("stopCapture", |call, of: Capture| async move {
        call.app
            .stop_capture(&call.context, of.datasource, of.id)
            .await
            .map(done)
    });
}
