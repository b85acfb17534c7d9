//! The table of entities.

use halcyon_domain::{
    id::{DatasourceId, ObjectId, OrganizationId},
    ontology::entity_id,
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};

use super::{
    Ontology, StoredObject,
    bulk::ObjectTable,
    merged::{Documents, Identity, Merged},
};
use crate::{
    db::Connection,
    entity::entities::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::storable,
    tenant::Tenant,
};

/// Which entities a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityFilter {
    /// Their type, such as `host`.
    pub kind: Option<String>,
    /// Their key.
    pub key: Option<String>,
    /// The feed that observed them last.
    pub datasource: Option<DatasourceId>,
    /// Text in the name or key, whatever the case of its letters.
    pub q: Option<String>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("last_seen", Column::LastSeen),
        ("first_seen", Column::FirstSeen),
        ("type", Column::Kind),
        ("key", Column::Key),
    ],
    default: "-last_seen",
    id: Column::Id,
};

pub(super) struct Entities;

impl ObjectTable for Entities {
    type Entity = Entity;
    type Model = Model;
    type Row = ActiveModel;

    fn id() -> Column {
        Column::Id
    }

    fn row(object: &Merged) -> Result<ActiveModel> {
        let Identity::Entity { kind, key } = &object.identity else {
            return Err(Error::internal("not an entity"));
        };
        let Documents {
            fields,
            stamps,
            provenance,
        } = object.documents()?;
        Ok(ActiveModel {
            id: Set(object.id.0),
            organization_id: Set(object.organization.0),
            datasource_id: Set(object.datasource()?.0),
            kind: Set(kind.clone()),
            key: Set(key.clone()),
            name: Set(object.text("name").as_deref().map(storable)),
            fields: Set(fields),
            stamps: Set(stamps),
            provenance: Set(provenance),
            first_seen: Set(object.first_seen),
            last_seen: Set(object.last_seen),
            revision: Set(object.revision),
        })
    }

    fn merged(row: Model) -> Result<Merged> {
        let Model {
            fields,
            stamps,
            provenance,
            ..
        } = row;
        let (fields, provenance) = Documents {
            fields,
            stamps,
            provenance,
        }
        .read()?;
        Ok(Merged {
            id: ObjectId(row.id),
            organization: OrganizationId(row.organization_id),
            identity: Identity::Entity {
                kind: row.kind,
                key: row.key,
            },
            fields,
            provenance,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            revision: row.revision,
        })
    }
}

fn stored(row: Model) -> Result<StoredObject> {
    Entities::merged(row)?.stored()
}

/// Type and key make the identifier; a key alone is found by its first letters, which an index holds.
fn keyed(tenant: Tenant, filter: &EntityFilter) -> Option<Condition> {
    let key = filter.key.as_deref()?;
    if let Some(kind) = &filter.kind {
        return Some(Condition::all().add(Column::Id.eq(entity_id(tenant.0, kind, key).0)));
    }
    let begin: String = key.chars().take(64).collect();
    let indexed = Expr::cust("substr(key, 1, 64)").eq(begin);
    Some(Condition::all().add(indexed).add(Column::Key.eq(key)))
}

impl<C: Connection> Ontology<'_, C> {
    /// An entity.
    ///
    /// # Errors
    /// The database fails.
    pub async fn entity(&self, tenant: Tenant, id: ObjectId) -> Result<Option<StoredObject>> {
        let select = Entity::find_by_id(id.0).filter(Column::OrganizationId.eq(tenant.uuid()));
        select.one(&self.0.db()).await?.map(stored).transpose()
    }

    /// The entities; sorted by `last_seen`, `first_seen`, `type` or `key`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn entities(
        &self,
        tenant: Tenant,
        filter: &EntityFilter,
        request: &PageRequest,
    ) -> Result<Page<StoredObject>> {
        let found = filter.q.as_deref().map(|q| {
            Condition::any()
                .add(page::contains(Column::Name, q))
                .add(page::contains(Column::Key, q))
        });
        let wanted = Condition::all()
            .add(Column::OrganizationId.eq(tenant.uuid()))
            .add_option(filter.kind.as_deref().map(|kind| Column::Kind.eq(kind)))
            .add_option(filter.datasource.map(|id| Column::DatasourceId.eq(id.0)))
            .add_option(keyed(tenant, filter))
            .add_option(found);
        page::fetch(self.0, Entity::find().filter(wanted), &SORTING, request)
            .await?
            .try_map(stored)
    }
}
