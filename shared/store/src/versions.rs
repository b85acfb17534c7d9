//! Versions of datasources' configurations.

use halcyon_domain::{
    id::{ActorId, DatasourceId, VersionId},
    version::{VersionRecord, VersionState},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasource_versions::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{document, number, text, word},
    tenant::Tenant,
};

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("number", Column::Number),
        ("created_at", Column::CreatedAt),
        ("updated_at", Column::UpdatedAt),
    ],
    default: "-number",
    id: Column::Id,
};

fn record(row: Model) -> Result<VersionRecord> {
    Ok(VersionRecord {
        id: VersionId(row.id),
        datasource: DatasourceId(row.datasource_id),
        number: number(row.number)?,
        state: word(&row.state)?,
        config: document(&row.config)?,
        comment: row.comment,
        created_by: row.created_by.map(ActorId),
        created_at: row.created_at,
        updated_at: row.updated_at,
        published_by: row.published_by.map(ActorId),
        published_at: row.published_at,
        revision: row.revision,
    })
}

fn row(tenant: Tenant, record: &VersionRecord) -> Result<ActiveModel> {
    Ok(ActiveModel {
        id: Set(record.id.0),
        organization_id: Set(tenant.uuid()),
        datasource_id: Set(record.datasource.0),
        number: Set(i64::from(record.number)),
        state: Set(record.state.to_string()),
        config: Set(text(&record.config)?),
        comment: Set(record.comment.clone()),
        created_at: Set(record.created_at),
        created_by: Set(record.created_by.map(|id| id.0)),
        updated_at: Set(record.updated_at),
        published_at: Set(record.published_at),
        published_by: Set(record.published_by.map(|id| id.0)),
        revision: Set(record.revision),
    })
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

/// Versions of datasources' configurations.
#[derive(Debug)]
pub struct Versions<'c, C>(pub(crate) &'c C);

impl<C: Connection> Versions<'_, C> {
    /// A version.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        number: u32,
    ) -> Result<Option<VersionRecord>> {
        let select = of(tenant, datasource).filter(Column::Number.eq(i64::from(number)));
        select.one(&self.0.db()).await?.map(record).transpose()
    }

    /// Several versions, named by their datasources and numbers, in no order; those that there are not are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_many(
        &self,
        tenant: Tenant,
        wanted: &[(DatasourceId, u32)],
    ) -> Result<Vec<VersionRecord>> {
        let pair = Expr::tuple([Column::DatasourceId.into_expr(), Column::Number.into_expr()]);
        let pairs = wanted
            .iter()
            .map(|(datasource, number)| (datasource.0, i64::from(*number)));
        let select = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(pair.in_tuples(pairs));
        let rows = select.all(&self.0.db()).await?;
        rows.into_iter().map(record).collect()
    }

    /// The version in effect.
    ///
    /// # Errors
    /// The database fails.
    pub async fn published(&self, tenant: Tenant, datasource: DatasourceId) -> Result<Option<VersionRecord>> {
        self.newest_in(tenant, datasource, VersionState::Published).await
    }

    /// The newest draft.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_draft(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
    ) -> Result<Option<VersionRecord>> {
        self.newest_in(tenant, datasource, VersionState::Draft).await
    }

    async fn newest_in(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        state: VersionState,
    ) -> Result<Option<VersionRecord>> {
        let select = of(tenant, datasource)
            .filter(Column::State.eq(state.as_str()))
            .order_by_desc(Column::Number)
            .limit(1);
        select.one(&self.0.db()).await?.map(record).transpose()
    }

    /// The number that the next version gets. Hold the datasource's lock until the version is added.
    ///
    /// # Errors
    /// The database fails.
    pub async fn next_number(&self, tenant: Tenant, datasource: DatasourceId) -> Result<u32> {
        let newest = of(tenant, datasource)
            .order_by_desc(Column::Number)
            .limit(1)
            .one(&self.0.db())
            .await?;
        newest.map_or(Ok(1), |row| Ok(number(row.number)? + 1))
    }

    /// The versions; sorted by `number`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        state: Option<VersionState>,
        request: &PageRequest,
    ) -> Result<Page<VersionRecord>> {
        let mut select = of(tenant, datasource);
        if let Some(state) = state {
            select = select.filter(Column::State.eq(state.as_str()));
        }
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(record)
    }
}

impl Versions<'_, WriteTx> {
    /// Adds a version.
    ///
    /// # Errors
    /// [`Unique::Version`](crate::Unique::Version), or the database fails.
    pub async fn insert(&self, tenant: Tenant, record: &VersionRecord) -> Result<()> {
        Entity::insert(row(tenant, record)?)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Writes a version after one transition, which raised its revision by one. Archive the version in effect
    /// before another is written as published: two are a [`Unique::Version`](crate::Unique::Version) conflict.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn update(&self, tenant: Tenant, record: &VersionRecord) -> Result<()> {
        let done = Entity::update_many()
            .set(ActiveModel {
                id: sea_orm::NotSet,
                ..row(tenant, record)?
            })
            .filter(Column::Id.eq(record.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(record.datasource.0))
            .filter(Column::Revision.eq(record.revision - 1))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.find(tenant, record.datasource, record.number).await?;
        Err(
            current.map_or(Error::NotFound("version"), |current| Error::StaleRevision {
                current: current.revision,
            }),
        )
    }
}
