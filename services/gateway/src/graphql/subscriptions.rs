//! What happens, as it happens.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use halcyon_bus::objects::PublicObject;
use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, ObjectId},
    ontology::{Alert, Entity, ObjectKind, OntologyObject, Relationship},
};
use salvo::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    api::Api,
    arguments::{Of, Within},
};
use crate::{
    app::{FellBehind, ListLogs, Live, Result},
    problem::Problem,
};

/// Objects of which datasource.
#[derive(Deserialize, JsonSchema)]
struct From {
    /// The datasource; all of the organisation's if absent, which takes a role for the organisation.
    #[serde(default)]
    datasource: Option<DatasourceId>,
}

/// What a committed event made, or made new, of an object.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Committed{T}")]
struct Committed<T> {
    /// The object's identifier: with it, the object as a whole can be had.
    id: ObjectId,
    /// The datasource it came from.
    datasource: DatasourceId,
    /// The event it came from.
    event_id: String,
    /// The version that mapped it.
    version: u32,
    /// When the event was accepted.
    received_at: Timestamp,
    /// What the event said of it.
    #[serde(flatten)]
    object: T,
}

fn committed<T>(from: &PublicObject, object: T) -> Committed<T> {
    Committed {
        id: from.id,
        datasource: from.datasource,
        event_id: from.event.to_string(),
        version: from.version,
        received_at: from.received_at,
        object,
    }
}

/// What a subscription gives.
type Given<T> = BoxStream<'static, std::result::Result<T, Problem>>;

fn given<T: Send + 'static>(live: Live<T>) -> Given<T> {
    live.map(|item| item.map_err(|FellBehind(lost)| fell_behind(lost)))
        .boxed()
}

fn fell_behind(lost: u64) -> Problem {
    let detail = format!("{lost} items were lost: they came faster than they were taken; subscribe again");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "fell_behind", detail)
}

/// The objects of one kind among those that are committed.
fn of_kind<T: Send + 'static>(
    live: Result<Live<Arc<PublicObject>>>,
    pick: fn(&OntologyObject) -> Option<T>,
) -> Result<Given<Committed<T>>> {
    let objects = given(live?).filter_map(move |item| {
        let picked = match item {
            Ok(object) => pick(&object.object).map(|part| Ok(committed(&object, part))),
            Err(problem) => Some(Err(problem)),
        };
        std::future::ready(picked)
    });
    Ok(objects.boxed())
}

fn alert(object: &OntologyObject) -> Option<Alert> {
    match object {
        OntologyObject::Alert(alert) => Some(alert.clone()),
        _ => None,
    }
}

fn entity(object: &OntologyObject) -> Option<Entity> {
    match object {
        OntologyObject::Entity(entity) => Some(entity.clone()),
        _ => None,
    }
}

fn relationship(object: &OntologyObject) -> Option<Relationship> {
    match object {
        OntologyObject::Relationship(relationship) => Some(relationship.clone()),
        _ => None,
    }
}

pub(super) fn add(api: &mut Api) {
    let about = "A datasource's state: as it is now, then each time it changes.";
    api.subscription("datasourceState", about, |call, of: Of<DatasourceId>| async move {
        call.app.follow_state(&call.context, of.id).await.map(given)
    });
    let about = "A datasource's numbers: as they are now, then each time they change.";
    api.subscription("datasourceMetrics", about, |call, of: Of<DatasourceId>| async move {
        call.app.follow_metrics(&call.context, of.id).await.map(given)
    });
    let about = "A datasource's history, as rows are added to it.";
    api.subscription("datasourceEvents", about, |call, of: Of<DatasourceId>| async move {
        call.app.follow_events(&call.context, of.id).await.map(given)
    });
    let about = "A datasource's log lines, as they are written. `first` does not count here.";
    api.subscription("logs", about, |call, of: Within<ListLogs>| async move {
        call.app
            .follow_lines(&call.context, of.datasource, of.list)
            .await
            .map(given)
    });
    objects(api);
}

fn objects(api: &mut Api) {
    let about = "Alerts, as they are committed.";
    api.subscription("alerts", about, |call, from: From| async move {
        let live = call
            .app
            .follow_objects(&call.context, from.datasource, ObjectKind::Alert);
        of_kind(live.await, alert)
    });
    let about = "Entities, as they are committed.";
    api.subscription("entities", about, |call, from: From| async move {
        let live = call
            .app
            .follow_objects(&call.context, from.datasource, ObjectKind::Entity);
        of_kind(live.await, entity)
    });
    let about = "Relationships, as they are committed.";
    api.subscription("relationships", about, |call, from: From| async move {
        let live = call
            .app
            .follow_objects(&call.context, from.datasource, ObjectKind::Relationship);
        of_kind(live.await, relationship)
    });
}
