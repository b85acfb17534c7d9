//! The table of relationships.

use halcyon_domain::{
    id::{DatasourceId, ObjectId, OrganizationId},
    ontology::End,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter};

use super::{
    Ontology, StoredObject,
    bulk::ObjectTable,
    merged::{Documents, Identity, Merged},
};
use crate::{
    db::Connection,
    entity::relationships::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    tenant::Tenant,
};

/// Which relationships a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationshipFilter {
    /// Their type, such as `targets`.
    pub kind: Option<String>,
    /// The object they start at.
    pub source: Option<ObjectId>,
    /// The object they end at.
    pub target: Option<ObjectId>,
    /// An object at either end.
    pub end: Option<ObjectId>,
    /// The feed that observed them last.
    pub datasource: Option<DatasourceId>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("last_seen", Column::LastSeen),
        ("first_seen", Column::FirstSeen),
        ("type", Column::Kind),
    ],
    default: "-last_seen",
    id: Column::Id,
};

pub(super) struct Relationships;

impl ObjectTable for Relationships {
    type Entity = Entity;
    type Model = Model;
    type Row = ActiveModel;

    fn id() -> Column {
        Column::Id
    }

    fn row(object: &Merged) -> Result<ActiveModel> {
        let Identity::Relationship {
            kind,
            source,
            source_id,
            target,
            target_id,
        } = &object.identity
        else {
            return Err(Error::internal("not a relationship"));
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
            source_id: Set(source_id.0),
            source_type: Set(source.kind.clone()),
            source_key: Set(source.key.clone()),
            target_id: Set(target_id.0),
            target_type: Set(target.kind.clone()),
            target_key: Set(target.key.clone()),
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
        let identity = Identity::Relationship {
            kind: row.kind,
            source: End {
                kind: row.source_type,
                key: row.source_key,
            },
            source_id: ObjectId(row.source_id),
            target: End {
                kind: row.target_type,
                key: row.target_key,
            },
            target_id: ObjectId(row.target_id),
        };
        Ok(Merged {
            id: ObjectId(row.id),
            organization: OrganizationId(row.organization_id),
            identity,
            fields,
            provenance,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            revision: row.revision,
        })
    }
}

fn stored(row: Model) -> Result<StoredObject> {
    Relationships::merged(row)?.stored()
}

impl<C: Connection> Ontology<'_, C> {
    /// A relationship.
    ///
    /// # Errors
    /// The database fails.
    pub async fn relationship(&self, tenant: Tenant, id: ObjectId) -> Result<Option<StoredObject>> {
        let select = Entity::find_by_id(id.0).filter(Column::OrganizationId.eq(tenant.uuid()));
        select.one(&self.0.db()).await?.map(stored).transpose()
    }

    /// The relationships; sorted by `last_seen`, `first_seen` or `type`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn relationships(
        &self,
        tenant: Tenant,
        filter: &RelationshipFilter,
        request: &PageRequest,
    ) -> Result<Page<StoredObject>> {
        let either = filter.end.map(|id| {
            Condition::any()
                .add(Column::SourceId.eq(id.0))
                .add(Column::TargetId.eq(id.0))
        });
        let wanted = Condition::all()
            .add(Column::OrganizationId.eq(tenant.uuid()))
            .add_option(filter.kind.as_deref().map(|kind| Column::Kind.eq(kind)))
            .add_option(filter.source.map(|id| Column::SourceId.eq(id.0)))
            .add_option(filter.target.map(|id| Column::TargetId.eq(id.0)))
            .add_option(filter.datasource.map(|id| Column::DatasourceId.eq(id.0)))
            .add_option(either);
        page::fetch(self.0, Entity::find().filter(wanted), &SORTING, request)
            .await?
            .try_map(stored)
    }
}
