//! `/alerts`, `/entities`, `/relationships`.

use halcyon_domain::id::ObjectId;
use salvo::{Writer, oapi::endpoint};

use super::{
    answer::{Found, Outcome},
    extract::{Caller, Path, Query, QueryCaller},
};
use crate::app::{
    AlertView, EntityView, ListAlerts, ListEntities, ListRelationships, RelationshipView, views::List,
};

/// Lists alerts, the newest first.
#[endpoint(operation_id = "listAlerts", tags("ontology"))]
pub(crate) async fn alerts(caller: QueryCaller, query: Query<ListAlerts>) -> Outcome<Found<List<AlertView>>> {
    Ok(Found::new(
        caller.app.list_alerts(&caller.context, query.0).await?,
    ))
}

/// Shows an alert.
#[endpoint(operation_id = "getAlert", tags("ontology"))]
pub(crate) async fn alert(caller: Caller, id: Path<ObjectId>) -> Outcome<Found<AlertView>> {
    let view = caller.app.get_alert(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Lists entities, those seen last first.
#[endpoint(operation_id = "listEntities", tags("ontology"))]
pub(crate) async fn entities(
    caller: QueryCaller,
    query: Query<ListEntities>,
) -> Outcome<Found<List<EntityView>>> {
    Ok(Found::new(
        caller.app.list_entities(&caller.context, query.0).await?,
    ))
}

/// Shows an entity.
#[endpoint(operation_id = "getEntity", tags("ontology"))]
pub(crate) async fn entity(caller: Caller, id: Path<ObjectId>) -> Outcome<Found<EntityView>> {
    let view = caller.app.get_entity(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}

/// Lists relationships, those seen last first.
#[endpoint(operation_id = "listRelationships", tags("ontology"))]
pub(crate) async fn relationships(
    caller: QueryCaller,
    query: Query<ListRelationships>,
) -> Outcome<Found<List<RelationshipView>>> {
    Ok(Found::new(
        caller.app.list_relationships(&caller.context, query.0).await?,
    ))
}

/// Shows a relationship.
#[endpoint(operation_id = "getRelationship", tags("ontology"))]
pub(crate) async fn relationship(caller: Caller, id: Path<ObjectId>) -> Outcome<Found<RelationshipView>> {
    let view = caller.app.get_relationship(&caller.context, id.0).await?;
    let revision = view.revision;
    Ok(Found::at(view, revision))
}
