//! The connector catalog.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{api::Api, arguments::Nothing};

/// Which connector.
#[derive(Deserialize, JsonSchema)]
struct Which {
    /// The connector's type, such as `http_webhook`.
    r#type: String,
}

pub(super) fn add(api: &mut Api) {
    api.query("listConnectors", "connectors", |call, Nothing {}| async move {
        let list = call.app.list_connectors(&call.context).await;
        list.map(|list| list.items)
    });
    api.query("getConnector", "connector", |call, which: Which| async move {
        call.app.get_connector(&call.context, &which.r#type).await
    });
}
