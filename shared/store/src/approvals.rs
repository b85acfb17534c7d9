//! Requests to publish drafts, and what became of them.

use halcyon_domain::{
    approval::{ApprovalRecord, ApprovalStatus, ConfigHash},
    clock::Timestamp,
    id::{ApprovalId, DatasourceId, VersionId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    datasources::Visibility,
    db::{Connection, Executes},
    entity::{
        approvals::{ActiveModel, Column, Entity, Model},
        datasources,
    },
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{actor, number, optional_actor, word},
    tenant::Tenant,
};

/// Which approvals a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Their state.
    pub status: Option<ApprovalStatus>,
    /// Of this datasource.
    pub datasource: Option<DatasourceId>,
    /// Of this version.
    pub number: Option<u32>,
    /// Asked for by this user or service account.
    pub requested_by: Option<Uuid>,
    /// What the asker may see, when that is not the whole organisation.
    pub visible: Option<Visibility>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("created_at", Column::CreatedAt),
        ("updated_at", Column::UpdatedAt),
    ],
    default: "-created_at",
    id: Column::Id,
};

fn record(row: Model) -> Result<ApprovalRecord> {
    let hash: [u8; 32] = row
        .config_hash
        .try_into()
        .map_err(|_| Error::internal("a hash of another length"))?;
    Ok(ApprovalRecord {
        id: ApprovalId(row.id),
        datasource: DatasourceId(row.datasource_id),
        version: VersionId(row.version_id),
        number: number(row.number)?,
        config_hash: ConfigHash(hash),
        status: word(&row.status)?,
        note: row.note,
        requested_by: actor(&row.requested_kind, row.requested_by, row.requested_name)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
        decided_by: optional_actor(row.decided_kind.as_deref(), row.decided_by, row.decided_name)?,
        decided_at: row.decided_at,
        decision_comment: row.decision_comment,
        updated_at: row.updated_at,
        revision: row.revision,
    })
}

fn row(tenant: Tenant, record: &ApprovalRecord) -> ActiveModel {
    let decided = record.decided_by.as_ref();
    ActiveModel {
        id: Set(record.id.0),
        organization_id: Set(tenant.uuid()),
        datasource_id: Set(record.datasource.0),
        version_id: Set(record.version.0),
        number: Set(i64::from(record.number)),
        config_hash: Set(record.config_hash.0.to_vec()),
        status: Set(record.status.to_string()),
        note: Set(record.note.clone()),
        requested_kind: Set(record.requested_by.kind.to_string()),
        requested_by: Set(record.requested_by.id),
        requested_name: Set(record.requested_by.name.clone()),
        created_at: Set(record.created_at),
        expires_at: Set(record.expires_at),
        decided_kind: Set(decided.map(|actor| actor.kind.to_string())),
        decided_by: Set(decided.and_then(|actor| actor.id)),
        decided_name: Set(decided.map(|actor| actor.name.clone())),
        decided_at: Set(record.decided_at),
        decision_comment: Set(record.decision_comment.clone()),
        updated_at: Set(record.updated_at),
        revision: Set(record.revision),
    }
}

fn of(tenant: Tenant) -> Select<Entity> {
    Entity::find().filter(Column::OrganizationId.eq(tenant.uuid()))
}

fn open() -> Condition {
    let words = [ApprovalStatus::Pending, ApprovalStatus::Approved].map(ApprovalStatus::as_str);
    Condition::all().add(Column::Status.is_in(words))
}

/// Those in a state at `now`: what is open ends at its time.
fn in_state(status: ApprovalStatus, now: Timestamp) -> Condition {
    let named = Condition::all().add(Column::Status.eq(status.as_str()));
    if status.is_open() {
        let lasts = Condition::any()
            .add(Column::ExpiresAt.is_null())
            .add(Column::ExpiresAt.gt(now));
        named.add(lasts)
    } else if status == ApprovalStatus::Expired {
        Condition::any()
            .add(named)
            .add(open().add(Column::ExpiresAt.lte(now)))
    } else {
        named
    }
}

/// Requests to publish drafts.
#[derive(Debug)]
pub struct Approvals<'c, C>(pub(crate) &'c C);

impl<C: Connection> Approvals<'_, C> {
    /// An approval of a datasource.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        id: ApprovalId,
    ) -> Result<Option<ApprovalRecord>> {
        let select = of(tenant)
            .filter(Column::Id.eq(id.0))
            .filter(Column::DatasourceId.eq(datasource.0));
        select.one(&self.0.db()).await?.map(record).transpose()
    }

    /// The one of a version that something can still come of; its time may be over.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open(&self, tenant: Tenant, version: VersionId) -> Result<Option<ApprovalRecord>> {
        let select = of(tenant).filter(Column::VersionId.eq(version.0)).filter(open());
        select.one(&self.0.db()).await?.map(record).transpose()
    }

    /// Those of a datasource that something can still come of.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_of(&self, tenant: Tenant, datasource: DatasourceId) -> Result<Vec<ApprovalRecord>> {
        let select = of(tenant)
            .filter(Column::DatasourceId.eq(datasource.0))
            .filter(open());
        select.all(&self.0.db()).await?.into_iter().map(record).collect()
    }

    /// The approvals of datasources that were not deleted; sorted by `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        filter: &ApprovalFilter,
        now: Timestamp,
        request: &PageRequest,
    ) -> Result<Page<ApprovalRecord>> {
        let mut there = datasources::Entity::find()
            .select_only()
            .column(datasources::Column::Id)
            .filter(datasources::Column::OrganizationId.eq(tenant.uuid()))
            .filter(datasources::Column::DeletedAt.is_null());
        if let Some(visible) = &filter.visible {
            let seen = Condition::any()
                .add(datasources::Column::ProjectId.is_in(visible.projects.iter().map(|id| id.0)))
                .add(datasources::Column::Id.is_in(visible.datasources.iter().map(|id| id.0)));
            there = there.filter(seen);
        }
        let wanted = Condition::all()
            .add(Expr::col(Column::DatasourceId).in_subquery(there.into_query()))
            .add_option(filter.status.map(|status| in_state(status, now)))
            .add_option(filter.datasource.map(|id| Column::DatasourceId.eq(id.0)))
            .add_option(filter.number.map(|number| Column::Number.eq(i64::from(number))))
            .add_option(filter.requested_by.map(|id| Column::RequestedBy.eq(id)));
        page::fetch(self.0, of(tenant).filter(wanted), &SORTING, request)
            .await?
            .try_map(record)
    }
}

impl Approvals<'_, WriteTx> {
    /// Adds a request.
    ///
    /// # Errors
    /// [`Unique::OpenApproval`](crate::Unique::OpenApproval), or the database fails.
    pub async fn insert(&self, tenant: Tenant, record: &ApprovalRecord) -> Result<()> {
        Entity::insert(row(tenant, record))
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Writes an approval after one transition, which raised its revision by one.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn update(&self, tenant: Tenant, record: &ApprovalRecord) -> Result<()> {
        let done = Entity::update_many()
            .set(ActiveModel {
                id: sea_orm::NotSet,
                ..row(tenant, record)
            })
            .filter(Column::Id.eq(record.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Revision.eq(record.revision - 1))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.find(tenant, record.datasource, record.id).await?;
        Err(
            current.map_or(Error::NotFound("approval"), |current| Error::StaleRevision {
                current: current.revision,
            }),
        )
    }
}
