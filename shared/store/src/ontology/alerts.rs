//! The table of alerts.

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, ObjectId, OrganizationId},
    ontology::{AlertStatus, Severity},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter};

use super::{
    Ontology, StoredObject,
    bulk::ObjectTable,
    merged::{Documents, Identity, Merged},
};
use crate::{
    db::Connection,
    entity::alerts::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{storable, storable_time},
    tenant::Tenant,
};

/// Which alerts a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// The feed.
    pub datasource: Option<DatasourceId>,
    /// How bad they are.
    pub severity: Option<Severity>,
    /// What is being done about them.
    pub status: Option<AlertStatus>,
    /// The vendor's identifier.
    pub external_id: Option<String>,
    /// Happened not before.
    pub from: Option<Timestamp>,
    /// Happened before.
    pub to: Option<Timestamp>,
    /// Text in the title or the vendor's identifier, whatever the case of its letters.
    pub q: Option<String>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("time", Column::Time),
        ("first_seen", Column::FirstSeen),
        ("last_seen", Column::LastSeen),
        ("title", Column::Title),
    ],
    default: "-time",
    id: Column::Id,
};

pub(super) struct Alerts;

impl ObjectTable for Alerts {
    type Entity = Entity;
    type Model = Model;
    type Row = ActiveModel;

    fn id() -> Column {
        Column::Id
    }

    fn row(object: &Merged) -> Result<ActiveModel> {
        let Identity::Alert { external_id } = &object.identity else {
            return Err(Error::internal("not an alert"));
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
            external_id: Set(external_id.clone()),
            title: Set(storable(&object.text("title").unwrap_or_default())),
            time: Set(storable_time(object.time("time").unwrap_or(object.last_seen))),
            severity: Set(object.severity()?.to_string()),
            status: Set(object.status()?.to_string()),
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
            identity: Identity::Alert {
                external_id: row.external_id,
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
    Alerts::merged(row)?.stored()
}

impl<C: Connection> Ontology<'_, C> {
    /// An alert.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alert(&self, tenant: Tenant, id: ObjectId) -> Result<Option<StoredObject>> {
        let select = Entity::find_by_id(id.0).filter(Column::OrganizationId.eq(tenant.uuid()));
        select.one(&self.0.db()).await?.map(stored).transpose()
    }

    /// The alerts; sorted by `time`, `first_seen`, `last_seen` or `title`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn alerts(
        &self,
        tenant: Tenant,
        filter: &AlertFilter,
        request: &PageRequest,
    ) -> Result<Page<StoredObject>> {
        let found = filter.q.as_deref().map(|q| {
            Condition::any()
                .add(page::contains(Column::Title, q))
                .add(page::contains(Column::ExternalId, q))
        });
        let wanted = Condition::all()
            .add(Column::OrganizationId.eq(tenant.uuid()))
            .add_option(filter.datasource.map(|id| Column::DatasourceId.eq(id.0)))
            .add_option(
                filter
                    .severity
                    .map(|severity| Column::Severity.eq(severity.as_str())),
            )
            .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
            .add_option(filter.external_id.as_deref().map(|id| Column::ExternalId.eq(id)))
            .add_option(filter.from.map(|from| Column::Time.gte(from)))
            .add_option(filter.to.map(|to| Column::Time.lt(to)))
            .add_option(found);
        page::fetch(self.0, Entity::find().filter(wanted), &SORTING, request)
            .await?
            .try_map(stored)
    }
}
