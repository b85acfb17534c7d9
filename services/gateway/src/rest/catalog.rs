//! `/connectors`.

use halcyon_connectors::ConnectorSpec;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome},
    extract::{Caller, Path},
};
use crate::app::views::List;

/// Lists the connectors.
#[endpoint(operation_id = "listConnectors", tags("connectors"))]
pub(crate) async fn list(caller: Caller) -> Outcome<Found<List<&'static ConnectorSpec>>> {
    Ok(Found::new(caller.app.list_connectors(&caller.context).await?))
}

/// Shows a connector: the JSON Schema of its connection, its capabilities, samples and presets.
#[endpoint(operation_id = "getConnector", tags("connectors"))]
pub(crate) async fn get(caller: Caller, connector: Path<String>) -> Outcome<Found<&'static ConnectorSpec>> {
    Ok(Found::new(
        caller.app.get_connector(&caller.context, &connector.0).await?,
    ))
}
