//! Alerts, entities and relationships, read.

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, ObjectId},
    ontology::{Alert, AlertStatus, Entity, OntologyObject, Provenance, Relationship, Severity},
};
use halcyon_store::{AlertFilter, EntityFilter, Page, RelationshipFilter, StoredObject};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, target_of, tenant},
    paged,
    request::check_times,
    views::List,
};

paged! {
    /// Which alerts to list.
    ListAlerts {
        /// Those of this datasource.
        datasource: Option<DatasourceId>,
        /// Those this bad.
        severity: Option<Severity>,
        /// Those in this status.
        status: Option<AlertStatus>,
        /// The one with this vendor's identifier.
        external_id: Option<String>,
        /// Those with this text in their title or vendor's identifier.
        q: Option<String>,
        /// Those that happened at or after this time.
        from: Option<Timestamp>,
        /// Those that happened before this time.
        to: Option<Timestamp>,
    }
}

paged! {
    /// Which entities to list.
    ListEntities {
        /// Those of this type, such as `host`.
        r#type: Option<String>,
        /// Those with this key.
        key: Option<String>,
        /// Those that this datasource observed last.
        datasource: Option<DatasourceId>,
        /// Those with this text in their name or key.
        q: Option<String>,
    }
}

paged! {
    /// Which relationships to list.
    ListRelationships {
        /// Those of this type, such as `targets`.
        r#type: Option<String>,
        /// Those that start at this object.
        source: Option<ObjectId>,
        /// Those that end at this object.
        target: Option<ObjectId>,
        /// Those with this object at either end.
        object: Option<ObjectId>,
        /// Those that this datasource observed last.
        datasource: Option<DatasourceId>,
    }
}

/// An object of the ontology, as it is now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Stored{T}")]
pub struct ObjectView<T> {
    /// Its deterministic identifier.
    pub id: ObjectId,
    /// The datasource that observed it last.
    pub datasource: DatasourceId,
    /// What is known of it.
    #[serde(flatten)]
    pub object: T,
    /// Where its content came from: the newest event of each datasource, newest first.
    pub provenance: Vec<Provenance>,
    /// The earliest time it was observed.
    pub first_seen: Timestamp,
    /// The latest time it was observed.
    pub last_seen: Timestamp,
    /// Grows by one with each event that was applied to it; the `ETag`.
    pub revision: i64,
}

/// An alert, as it is now.
pub type AlertView = ObjectView<Alert>;
/// An entity, as it is now.
pub type EntityView = ObjectView<Entity>;
/// A relationship, as it is now.
pub type RelationshipView = ObjectView<LinkedRelationship>;

/// A relationship with the identifiers of what it connects.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Relationship")]
pub struct LinkedRelationship {
    /// What connects them.
    #[serde(flatten)]
    pub relationship: Relationship,
    /// The object it starts at.
    pub source_id: ObjectId,
    /// The object it ends at.
    pub target_id: ObjectId,
}

/// What a kind of object is made of.
trait FromObject: Sized {
    /// The object, if it is one of this kind.
    fn of(stored: &StoredObject) -> Option<Self>;
}

impl FromObject for Alert {
    fn of(stored: &StoredObject) -> Option<Self> {
        match &stored.object {
            OntologyObject::Alert(alert) => Some(alert.clone()),
            _ => None,
        }
    }
}

impl FromObject for Entity {
    fn of(stored: &StoredObject) -> Option<Self> {
        match &stored.object {
            OntologyObject::Entity(entity) => Some(entity.clone()),
            _ => None,
        }
    }
}

impl FromObject for LinkedRelationship {
    fn of(stored: &StoredObject) -> Option<Self> {
        let OntologyObject::Relationship(relationship) = &stored.object else {
            return None;
        };
        let id_of =
            |end: &halcyon_domain::ontology::End| end.object_id(stored.organization, stored.datasource);
        Some(Self {
            source_id: id_of(&relationship.source),
            target_id: id_of(&relationship.target),
            relationship: relationship.clone(),
        })
    }
}

fn view<T: FromObject>(stored: StoredObject) -> Result<ObjectView<T>> {
    let object =
        T::of(&stored).ok_or_else(|| Error::internal("an object is of another kind than its table"))?;
    Ok(ObjectView {
        id: stored.id,
        datasource: stored.datasource,
        object,
        provenance: stored.provenance,
        first_seen: stored.first_seen,
        last_seen: stored.last_seen,
        revision: stored.revision,
    })
}

fn list<T: FromObject>(page: Page<StoredObject>) -> Result<List<ObjectView<T>>> {
    Ok(List::of(page.try_map(view)?, |view| view))
}

impl App {
    /// The alerts.
    ///
    /// # Errors
    /// The page cannot be had.
    pub async fn list_alerts(&self, context: &RequestContext, query: ListAlerts) -> Result<List<AlertView>> {
        self.may_list(context, query.datasource).await?;
        check_times(query.from, query.to).map_err(Error::Query)?;
        let page = query.page();
        let filter = AlertFilter {
            datasource: query.datasource,
            severity: query.severity,
            status: query.status,
            external_id: query.external_id,
            from: query.from,
            to: query.to,
            q: query.q,
        };
        list(
            self.store
                .read()
                .ontology()
                .alerts(tenant(context), &filter, &page)
                .await?,
        )
    }

    /// An alert.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_alert(&self, context: &RequestContext, id: ObjectId) -> Result<AlertView> {
        let found = self.store.read().ontology().alert(tenant(context), id).await?;
        self.shown(context, found, "alert").await
    }

    /// The entities.
    ///
    /// # Errors
    /// The page cannot be had.
    pub async fn list_entities(
        &self,
        context: &RequestContext,
        query: ListEntities,
    ) -> Result<List<EntityView>> {
        self.may_list(context, query.datasource).await?;
        let page = query.page();
        let filter = EntityFilter {
            kind: query.r#type,
            key: query.key,
            datasource: query.datasource,
            q: query.q,
        };
        list(
            self.store
                .read()
                .ontology()
                .entities(tenant(context), &filter, &page)
                .await?,
        )
    }

    /// An entity.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_entity(&self, context: &RequestContext, id: ObjectId) -> Result<EntityView> {
        let found = self.store.read().ontology().entity(tenant(context), id).await?;
        self.shown(context, found, "entity").await
    }

    /// The relationships.
    ///
    /// # Errors
    /// The page cannot be had.
    pub async fn list_relationships(
        &self,
        context: &RequestContext,
        query: ListRelationships,
    ) -> Result<List<RelationshipView>> {
        self.may_list(context, query.datasource).await?;
        let page = query.page();
        let filter = RelationshipFilter {
            kind: query.r#type,
            source: query.source,
            target: query.target,
            end: query.object,
            datasource: query.datasource,
        };
        list(
            self.store
                .read()
                .ontology()
                .relationships(tenant(context), &filter, &page)
                .await?,
        )
    }

    /// A relationship.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_relationship(&self, context: &RequestContext, id: ObjectId) -> Result<RelationshipView> {
        let found = self
            .store
            .read()
            .ontology()
            .relationship(tenant(context), id)
            .await?;
        self.shown(context, found, "relationship").await
    }

    /// A role for one datasource is enough to list what comes from it; to see all takes one for the organisation.
    async fn may_list(&self, context: &RequestContext, datasource: Option<DatasourceId>) -> Result<()> {
        if context
            .principal
            .may(Action::READ_ONTOLOGY.permission, &context.tenant())
        {
            return Ok(());
        }
        match datasource {
            Some(id) => self
                .datasource(context, id, Action::READ_ONTOLOGY)
                .await
                .map(|_| ()),
            None => self.authorize_tenant(context, Action::READ_ONTOLOGY).await,
        }
    }

    /// An object that the caller may see; else it does not exist.
    async fn shown<T: FromObject>(
        &self,
        context: &RequestContext,
        found: Option<StoredObject>,
        what: &'static str,
    ) -> Result<ObjectView<T>> {
        let stored = found.ok_or(Error::NotFound(what))?;
        let permission = Action::READ_ONTOLOGY.permission;
        if !context.principal.may(permission, &context.tenant()) {
            let datasource = self
                .store
                .read()
                .datasources()
                .find(tenant(context), stored.datasource)
                .await?;
            let sees = |datasource| context.principal.may(permission, &target_of(datasource));
            if !datasource.as_ref().is_some_and(sees) {
                return Err(Error::NotFound(what));
            }
        }
        view(stored)
    }
}
