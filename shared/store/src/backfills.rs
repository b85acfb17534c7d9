//! Backfills: asked for by users, carried on by the registry.

use halcyon_domain::{
    backfill::{Backfill, BackfillProgress, BackfillStatus},
    clock::Timestamp,
    id::{BackfillId, DatasourceId, OrganizationId, WorkerId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::Expr,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::backfills::{ActiveModel, Column, Entity, Model},
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    rows::{actor, document, number, optional_number, storable, storable_time, text, word},
    tenant::{AllTenants, Tenant},
};

const SORTING: Sorting<Column> = Sorting {
    fields: &[("created_at", Column::CreatedAt)],
    default: "-created_at",
    id: Column::Id,
};

/// What has become of a backfill.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillUpdate {
    /// What has become of it.
    pub status: BackfillStatus,
    /// How far it is.
    pub progress: BackfillProgress,
    /// Why it failed, or what stands in its way.
    pub message: Option<String>,
    /// The worker that reads, or read last.
    pub worker: Option<WorkerId>,
}

fn backfill(row: Model) -> Result<Backfill> {
    Ok(Backfill {
        id: BackfillId(row.id),
        organization: OrganizationId(row.organization_id),
        datasource: DatasourceId(row.datasource_id),
        version: number(row.number)?,
        from: row.range_from,
        to: row.range_to,
        records_per_second: optional_number(row.records_per_second)?,
        comment: row.comment,
        status: word(&row.status)?,
        progress: document(&row.progress)?,
        message: row.message,
        worker: row.worker_id.map(WorkerId),
        created_by: actor(&row.created_kind, row.created_by, row.created_name)?,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        revision: row.revision,
    })
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

fn is_open() -> sea_orm::sea_query::SimpleExpr {
    // In the words of the index: neither database takes bound values for them.
    Expr::cust("status IN ('queued', 'running')")
}

/// Backfills.
#[derive(Debug)]
pub struct Backfills<'c, C>(pub(crate) &'c C);

impl<C: Connection> Backfills<'_, C> {
    /// A backfill.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        id: BackfillId,
    ) -> Result<Option<Backfill>> {
        let select = of(tenant, datasource).filter(Column::Id.eq(id.0));
        select.one(&self.0.db()).await?.map(backfill).transpose()
    }

    /// The backfills of a datasource, sorted by `created_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        request: &PageRequest,
    ) -> Result<Page<Backfill>> {
        page::fetch(self.0, of(tenant, datasource), &SORTING, request)
            .await?
            .try_map(backfill)
    }

    /// How many backfills of a datasource are queued or run.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_open(&self, tenant: Tenant, datasource: DatasourceId) -> Result<u64> {
        let open: Vec<uuid::Uuid> = of(tenant, datasource)
            .filter(is_open())
            .select_only()
            .column(Column::Id)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(open.len() as u64)
    }

    /// All that are queued or run, the oldest first: the control plane has them carried out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all_open(&self, _: AllTenants) -> Result<Vec<Backfill>> {
        let open = Entity::find()
            .filter(is_open())
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::Id);
        open.all(&self.0.db()).await?.into_iter().map(backfill).collect()
    }
}

impl Backfills<'_, WriteTx> {
    /// Adds a backfill.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert(&self, backfill: &Backfill) -> Result<()> {
        let row = ActiveModel {
            id: Set(backfill.id.0),
            organization_id: Set(backfill.organization.0),
            datasource_id: Set(backfill.datasource.0),
            number: Set(i64::from(backfill.version)),
            range_from: Set(storable_time(backfill.from)),
            range_to: Set(storable_time(backfill.to)),
            records_per_second: Set(backfill.records_per_second.map(i64::from)),
            comment: Set(backfill.comment.as_deref().map(storable)),
            status: Set(backfill.status.to_string()),
            progress: Set(text(&backfill.progress)?),
            message: Set(backfill.message.as_deref().map(storable)),
            worker_id: Set(backfill.worker.map(|worker| worker.0)),
            created_kind: Set(backfill.created_by.kind.to_string()),
            created_by: Set(backfill.created_by.id),
            created_name: Set(backfill.created_by.name.clone()),
            created_at: Set(backfill.created_at),
            started_at: Set(backfill.started_at),
            finished_at: Set(backfill.finished_at),
            revision: Set(backfill.revision),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Writes what has become of a backfill. Of one of which nothing becomes any more it stays what it was. Returns
    /// whether it was written.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update(
        &self,
        tenant: Tenant,
        id: BackfillId,
        update: &BackfillUpdate,
        now: Timestamp,
    ) -> Result<bool> {
        let mut rows = Entity::update_many()
            .col_expr(Column::Status, Expr::value(update.status.to_string()))
            .col_expr(Column::Progress, Expr::value(text(&update.progress)?))
            .col_expr(
                Column::Message,
                Expr::value(update.message.as_deref().map(storable)),
            )
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.eq(id.0))
            .filter(is_open());
        if let Some(worker) = update.worker {
            rows = rows.col_expr(Column::WorkerId, Expr::value(worker.0));
        }
        if update.status.is_final() {
            rows = rows.col_expr(Column::FinishedAt, Expr::value(now));
        }
        let db = self.0.db();
        if update.status != BackfillStatus::Queued {
            // The first time counts.
            Entity::update_many()
                .col_expr(Column::StartedAt, Expr::value(now))
                .filter(Column::OrganizationId.eq(tenant.uuid()))
                .filter(Column::Id.eq(id.0))
                .filter(Column::StartedAt.is_null())
                .filter(is_open())
                .exec(&db)
                .await?;
        }
        Ok(rows.exec(&db).await?.rows_affected > 0)
    }

    /// Cancels a backfill. Returns whether it was not at its end.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cancel(&self, tenant: Tenant, id: BackfillId, now: Timestamp) -> Result<bool> {
        let cancelled = self.cancelling(tenant, now).filter(Column::Id.eq(id.0));
        Ok(cancelled.exec(&self.0.db()).await?.rows_affected > 0)
    }

    /// Cancels all backfills of a datasource. Returns how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cancel_all(&self, tenant: Tenant, datasource: DatasourceId, now: Timestamp) -> Result<u64> {
        let cancelled = self.cancelling(tenant, now);
        let cancelled = cancelled.filter(Column::DatasourceId.eq(datasource.0));
        Ok(cancelled.exec(&self.0.db()).await?.rows_affected)
    }

    fn cancelling(&self, tenant: Tenant, now: Timestamp) -> sea_orm::UpdateMany<Entity> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(BackfillStatus::Cancelled.to_string()))
            .col_expr(Column::FinishedAt, Expr::value(now))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(is_open())
    }
}
