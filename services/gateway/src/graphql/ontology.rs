//! Alerts, entities and relationships.

use halcyon_domain::id::{DatasourceId, ObjectId};
use serde::Deserialize;

use super::{api::Api, arguments::Of};
use crate::app::{ListAlerts, ListEntities, ListRelationships};

/// What is needed of an object to find where it came from.
#[derive(Deserialize)]
struct Observed {
    datasource: DatasourceId,
}

pub(super) fn add(api: &mut Api) {
    for kind in ["Alert", "Entity", "Relationship"] {
        api.node(kind);
        let about = "The datasource that observed it last.";
        api.link(kind, "datasource", about, |call, object: Observed| async move {
            call.loaders.find(object.datasource).await
        });
    }
    api.page("listAlerts", "alerts", |call, list: ListAlerts| async move {
        call.app.list_alerts(&call.context, list).await
    });
    api.query("getAlert", "alert", |call, of: Of<ObjectId>| async move {
        call.app.get_alert(&call.context, of.id).await
    });
    api.page(
        "listEntities",
        "entities",
        |call, list: ListEntities| async move { call.app.list_entities(&call.context, list).await },
    );
    api.query("getEntity", "entity", |call, of: Of<ObjectId>| async move {
        call.app.get_entity(&call.context, of.id).await
    });
    api.page(
        "listRelationships",
        "relationships",
        |call, list: ListRelationships| async move { call.app.list_relationships(&call.context, list).await },
    );
    api.query(
        "getRelationship",
        "relationship",
        |call, of: Of<ObjectId>| async move { call.app.get_relationship(&call.context, of.id).await },
    );
}
