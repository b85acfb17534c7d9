//! The audit trail: a chain of entries for each organisation, which can only grow. The audit service makes
//! the links; this file keeps them.

use std::collections::HashSet;

use halcyon_domain::{
    audit::AuditEntry,
    clock::Timestamp,
    id::{AuditEntryId, OrganizationId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Statement, TryGetable,
};

use crate::{
    audit_filter::{AuditFilter, filtered},
    connection::WriteTx,
    db::{Connection, Executes},
    entity::audit_entries::{ActiveModel, Column, Entity, Model},
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    partitions::{AUDIT, Month},
    rows::{document, storable},
    tenant::{AllTenants, Tenant},
};

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The newest link's number, from 1.
    pub sequence: i64,
    /// The newest link's hash.
    pub hash: Vec<u8>,
    /// When it was added.
    pub recorded_at: Timestamp,
}

/// A link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLink {
    /// The organisation.
    pub organization: OrganizationId,
    /// Its number, from 1, without gaps.
    pub sequence: i64,
    /// The entry's identifier.
    pub id: AuditEntryId,
    /// The hash of the link before; empty for the first.
    pub prev_hash: Vec<u8>,
    /// The hash of this link.
    pub hash: Vec<u8>,
    /// The entry, JSON, byte for byte as it was hashed.
    pub body: String,
    /// When it was added to the chain: never before the one before it.
    pub recorded_at: Timestamp,
}

impl AuditLink {
    /// The entry.
    ///
    /// # Errors
    /// The body is none: it was tampered with.
    pub fn entry(&self) -> Result<AuditEntry> {
        document(&self.body)
    }
}

/// A link, and whether the columns beside its text say what the text says: lists are filtered by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The link.
    pub link: AuditLink,
    /// The first column that says something else.
    pub misfiled: Option<&'static str>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("sequence", Column::Sequence), ("at", Column::At)],
    default: "-sequence",
    id: Column::Sequence,
};

fn link(row: Model) -> AuditLink {
    AuditLink {
        organization: OrganizationId(row.organization_id),
        sequence: row.sequence,
        id: AuditEntryId(row.id),
        prev_hash: row.prev_hash,
        hash: row.hash,
        body: row.body,
        recorded_at: row.recorded_at,
    }
}

/// The columns that lists are filtered by, as an entry fills them.
fn columns(entry: &AuditEntry) -> ActiveModel {
    ActiveModel {
        id: Set(entry.id.0),
        at: Set(crate::rows::storable_time(entry.at)),
        actor_id: Set(entry.actor.id),
        actor: Set(storable(&entry.actor.name)),
        action: Set(storable(&entry.action)),
        resource_kind: Set(storable(&entry.resource.kind)),
        resource_id: Set(entry.resource.id.as_deref().map(storable)),
        outcome: Set(entry.outcome.to_string()),
        request_id: Set(entry.request_id.as_deref().map(storable)),
        ..ActiveModel::default()
    }
}

/// The first column that says something else than the text.
fn misfiled(row: &Model) -> Option<&'static str> {
    let Ok(entry) = document::<AuditEntry>(&row.body) else {
        return Some("body");
    };
    let right = columns(&entry);
    let checks = [
        ("id", *right.id.as_ref() == row.id),
        ("at", *right.at.as_ref() == row.at),
        ("actor_id", *right.actor_id.as_ref() == row.actor_id),
        ("actor", *right.actor.as_ref() == row.actor),
        ("action", *right.action.as_ref() == row.action),
        (
            "resource_kind",
            *right.resource_kind.as_ref() == row.resource_kind,
        ),
        ("resource_id", *right.resource_id.as_ref() == row.resource_id),
        ("outcome", *right.outcome.as_ref() == row.outcome),
        ("request_id", *right.request_id.as_ref() == row.request_id),
        ("organization_id", entry.organization.0 == row.organization_id),
    ];
    checks
        .into_iter()
        .find_map(|(name, same)| (!same).then_some(name))
}

fn row(model: Model) -> AuditRow {
    AuditRow {
        misfiled: misfiled(&model),
        link: link(model),
    }
}

/// The audit trail.
#[derive(Debug)]
pub struct AuditTrail<'c, C>(pub(crate) &'c C);

impl<C: Connection> AuditTrail<'_, C> {
    /// The entries; sorted by `sequence` or `at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        filter: &AuditFilter,
        request: &PageRequest,
    ) -> Result<Page<AuditLink>> {
        let select = Entity::find().filter(filtered(tenant, filter));
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(|row| Ok(link(row)))
    }

    /// An entry.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, id: AuditEntryId) -> Result<Option<AuditLink>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.eq(id.0))
            .limit(1)
            .one(&self.0.db())
            .await?;
        Ok(found.map(link))
    }

    /// The link of a number.
    ///
    /// # Errors
    /// The database fails.
    pub async fn link(&self, tenant: Tenant, sequence: i64) -> Result<Option<AuditLink>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Sequence.eq(sequence))
            .limit(1)
            .one(&self.0.db())
            .await?;
        Ok(found.map(link))
    }

    /// The rows after number `after`, oldest first, for verification.
    ///
    /// # Errors
    /// The database fails.
    pub async fn chain(&self, tenant: Tenant, after: i64, limit: u64) -> Result<Vec<AuditRow>> {
        let rows = self.select_after(tenant, &AuditFilter::default(), after, limit);
        Ok(rows.all(&self.0.db()).await?.into_iter().map(row).collect())
    }

    /// The links after number `after` that a filter lets through, oldest first, for export and for who follows.
    ///
    /// # Errors
    /// The database fails.
    pub async fn after(
        &self,
        tenant: Tenant,
        filter: &AuditFilter,
        after: i64,
        limit: u64,
    ) -> Result<Vec<AuditLink>> {
        let rows = self.select_after(tenant, filter, after, limit);
        Ok(rows.all(&self.0.db()).await?.into_iter().map(link).collect())
    }

    fn select_after(
        &self,
        tenant: Tenant,
        filter: &AuditFilter,
        after: i64,
        limit: u64,
    ) -> sea_orm::Select<Entity> {
        Entity::find()
            .filter(filtered(tenant, filter))
            .filter(Column::Sequence.gt(after))
            .order_by_asc(Column::Sequence)
            .limit(limit)
    }

    /// The number of the newest link; 0 if there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn length(&self, tenant: Tenant) -> Result<i64> {
        let newest: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Sequence)
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .into_tuple()
            .one(&self.0.db())
            .await?;
        Ok(newest.unwrap_or_default())
    }

    /// The newest link that was added before `time`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_before(&self, tenant: Tenant, time: Timestamp) -> Result<Option<AuditLink>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::RecordedAt.lt(time))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .one(&self.0.db())
            .await?;
        Ok(found.map(link))
    }

    /// The organisations that have a chain: a check of the whole trail goes through all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn organizations(&self, _: AllTenants) -> Result<Vec<OrganizationId>> {
        // One look at the index for each organisation, however long their chains are.
        let sql = "WITH RECURSIVE found(id) AS (
            SELECT (SELECT organization_id FROM audit_entries ORDER BY organization_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.organization_id FROM audit_entries e WHERE e.organization_id > found.id
                ORDER BY e.organization_id LIMIT 1) FROM found WHERE found.id IS NOT NULL)
            SELECT id FROM found WHERE id IS NOT NULL";
        let db = self.0.db();
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let rows = db.query_all_raw(statement).await?;
        let ids = rows.iter().map(|row| {
            let id = uuid::Uuid::try_get(row, "", "id").map_err(sea_orm::DbErr::from)?;
            Ok(OrganizationId(id))
        });
        ids.collect()
    }
}

impl AuditTrail<'_, WriteTx> {
    /// The end of the chain; nobody else can add to it until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn head(&self, tenant: Tenant) -> Result<Option<AuditHead>> {
        self.0.lock(&format!("halcyon.audit.{}", tenant.0)).await?;
        let row = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .one(&self.0.db())
            .await?;
        Ok(row.map(|row| AuditHead {
            sequence: row.sequence,
            hash: row.hash,
            recorded_at: row.recorded_at,
        }))
    }

    /// Makes the partitions of this month and the next ones, where they are not there yet. Nothing on SQLite.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ensure_partitions(&self, now: Timestamp) -> Result<()> {
        AUDIT.ensure(self.0, now).await
    }

    /// Drops the partitions of months that ended before `time`. Every organisation must have a cut there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn drop_partitions(&self, _: AllTenants, time: Timestamp) -> Result<usize> {
        AUDIT.drop_before(self.0, Month::of(time)).await
    }

    /// Those of `ids` that are in the chain already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn known(&self, tenant: Tenant, ids: &[AuditEntryId]) -> Result<HashSet<AuditEntryId>> {
        let known: Vec<uuid::Uuid> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(known.into_iter().map(AuditEntryId).collect())
    }

    /// Adds links, each with the entry that its body holds. Hold [`AuditTrail::head`] in the same transaction.
    ///
    /// # Errors
    /// [`Unique::AuditSequence`](crate::Unique::AuditSequence), or the database fails.
    pub async fn append(&self, links: &[(AuditLink, AuditEntry)]) -> Result<()> {
        for chunk in links.chunks(500) {
            let rows = chunk.iter().map(|(link, entry)| ActiveModel {
                organization_id: Set(link.organization.0),
                sequence: Set(link.sequence),
                prev_hash: Set(link.prev_hash.clone()),
                hash: Set(link.hash.clone()),
                body: Set(link.body.clone()),
                recorded_at: Set(link.recorded_at),
                ..columns(entry)
            });
            Entity::insert_many(rows)
                .exec_without_returning(&self.0.db())
                .await?;
        }
        Ok(())
    }
}
