//! Saved samples: what is known of them in one table, their bytes in another.

use std::collections::HashMap;

use halcyon_domain::{
    id::{DatasourceId, SampleId},
    sample::{Sample, SampleOrigin},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{
        datasource_samples::{ActiveModel, Column, Entity, Model},
        sample_payloads,
    },
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{actor, word},
    tenant::Tenant,
};

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("created_at", Column::CreatedAt),
        ("name", Column::Name),
        ("size", Column::Size),
    ],
    default: "-created_at",
    id: Column::Id,
};

fn sample(row: Model) -> Result<Sample> {
    Ok(Sample {
        id: SampleId(row.id),
        datasource: DatasourceId(row.datasource_id),
        name: row.name,
        content_type: row.content_type,
        note: row.note,
        origin: word(&row.origin)?,
        origin_id: row.origin_id,
        size: u64::try_from(row.size).map_err(Error::internal)?,
        created_by: actor(&row.created_kind, row.created_by, row.created_name)?,
        created_at: row.created_at,
    })
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

/// Saved samples.
#[derive(Debug)]
pub struct Samples<'c, C>(pub(crate) &'c C);

impl<C: Connection> Samples<'_, C> {
    /// A sample with its bytes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        id: SampleId,
    ) -> Result<Option<(Sample, Vec<u8>)>> {
        let db = self.0.db();
        let select = of(tenant, datasource).filter(Column::Id.eq(id.0));
        let Some(row) = select.one(&db).await? else {
            return Ok(None);
        };
        let payload = sample_payloads::Entity::find_by_id(id.0)
            .filter(sample_payloads::Column::OrganizationId.eq(tenant.uuid()))
            .one(&db)
            .await?;
        // Without its bytes it was deleted between the two statements.
        payload
            .map(|payload| Ok((sample(row)?, payload.payload)))
            .transpose()
    }

    /// The samples of a datasource, without their bytes; sorted by `created_at`, `name` or `size`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        request: &PageRequest,
    ) -> Result<Page<Sample>> {
        page::fetch(self.0, of(tenant, datasource), &SORTING, request)
            .await?
            .try_map(sample)
    }

    /// The newest samples of a datasource that are something to map: what a mapping had made is not. Without their bytes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_to_map(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        limit: u64,
    ) -> Result<Vec<Sample>> {
        let rows = of(tenant, datasource)
            .filter(Column::Origin.ne(SampleOrigin::Mapped.as_str()))
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(sample).collect()
    }

    /// How many samples a datasource has of one origin.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_of(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        origin: SampleOrigin,
        origin_id: &str,
    ) -> Result<u64> {
        let select = of(tenant, datasource)
            .filter(Column::Origin.eq(origin.as_str()))
            .filter(Column::OriginId.eq(origin_id));
        Ok(select.count(&self.0.db()).await?)
    }

    /// How many samples a datasource has of each origin that has an identifier.
    ///
    /// # Errors
    /// The database fails.
    pub async fn counts(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
    ) -> Result<HashMap<(SampleOrigin, String), u64>> {
        let rows: Vec<(String, String, i64)> = of(tenant, datasource)
            .select_only()
            .column(Column::Origin)
            .column(Column::OriginId)
            .column_as(Column::Id.count(), "count")
            .filter(Column::OriginId.is_not_null())
            .group_by(Column::Origin)
            .group_by(Column::OriginId)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        let counts = rows.into_iter().map(|(origin, id, count)| {
            let count = u64::try_from(count).map_err(Error::internal)?;
            Ok(((word(&origin)?, id), count))
        });
        counts.collect()
    }

    /// The names of a datasource's samples that begin so.
    ///
    /// # Errors
    /// The database fails.
    pub async fn names_beginning(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        prefix: &str,
    ) -> Result<Vec<String>> {
        let names: Vec<String> = of(tenant, datasource)
            .select_only()
            .column(Column::Name)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        // A datasource has few of them, and `LIKE` has its own mind about case and wildcards.
        Ok(names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect())
    }

    /// How many samples a datasource has, and how many bytes they have together.
    ///
    /// # Errors
    /// The database fails.
    pub async fn usage(&self, tenant: Tenant, datasource: DatasourceId) -> Result<(u64, u64)> {
        let sizes: Vec<i64> = of(tenant, datasource)
            .select_only()
            .column(Column::Size)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        let bytes: i64 = sizes.iter().sum();
        Ok((sizes.len() as u64, u64::try_from(bytes).map_err(Error::internal)?))
    }
}

impl Samples<'_, WriteTx> {
    /// Adds a sample with its bytes.
    ///
    /// # Errors
    /// [`Unique::SampleName`](crate::Unique::SampleName), or the database fails.
    pub async fn insert(&self, tenant: Tenant, sample: &Sample, payload: Vec<u8>) -> Result<()> {
        let row = ActiveModel {
            id: Set(sample.id.0),
            organization_id: Set(tenant.uuid()),
            datasource_id: Set(sample.datasource.0),
            name: Set(sample.name.clone()),
            content_type: Set(sample.content_type.clone()),
            note: Set(sample.note.clone()),
            origin: Set(sample.origin.to_string()),
            origin_id: Set(sample.origin_id.clone()),
            size: Set(i64::try_from(sample.size).map_err(Error::internal)?),
            created_kind: Set(sample.created_by.kind.to_string()),
            created_by: Set(sample.created_by.id),
            created_name: Set(sample.created_by.name.clone()),
            created_at: Set(sample.created_at),
        };
        let db = self.0.db();
        Entity::insert(row).exec_without_returning(&db).await?;
        let payload = sample_payloads::ActiveModel {
            sample_id: Set(sample.id.0),
            organization_id: Set(tenant.uuid()),
            payload: Set(payload),
        };
        sample_payloads::Entity::insert(payload)
            .exec_without_returning(&db)
            .await?;
        Ok(())
    }

    /// Deletes a sample. Returns whether there was one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, tenant: Tenant, datasource: DatasourceId, id: SampleId) -> Result<bool> {
        Ok(self.delete_where(tenant, datasource, Some(id)).await? > 0)
    }

    /// Deletes all samples of a datasource. Returns how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_all(&self, tenant: Tenant, datasource: DatasourceId) -> Result<u64> {
        self.delete_where(tenant, datasource, None).await
    }

    async fn delete_where(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        id: Option<SampleId>,
    ) -> Result<u64> {
        let db = self.0.db();
        let mut which = of(tenant, datasource).select_only().column(Column::Id);
        let mut rows = Entity::delete_many()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(datasource.0));
        if let Some(id) = id {
            which = which.filter(Column::Id.eq(id.0));
            rows = rows.filter(Column::Id.eq(id.0));
        }
        // The bytes go first: SQLite does not cascade unless it is told to for each connection.
        sample_payloads::Entity::delete_many()
            .filter(sample_payloads::Column::OrganizationId.eq(tenant.uuid()))
            .filter(sample_payloads::Column::SampleId.in_subquery(which.into_query()))
            .exec(&db)
            .await?;
        Ok(rows.exec(&db).await?.rows_affected)
    }
}
