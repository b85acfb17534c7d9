//! Signed statements about audit trails, and the public keys that sign them. The audit service signs; this file
//! keeps.

use halcyon_domain::{
    audit::{AuditCheckpoint, AuditKey, CheckpointKind},
    hex::Hex,
    id::OrganizationId,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Statement, sea_query::OnConflict,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{
        audit_checkpoints::{ActiveModel, Column, Entity, Model},
        audit_keys,
    },
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    rows::word,
    tenant::{AllTenants, Tenant},
};

/// How many rows one statement removes, so that no writer waits long.
const PRUNED_AT_ONCE: u64 = 5_000;

const SORTING: Sorting<Column> = Sorting {
    fields: &[("sequence", Column::Sequence)],
    default: "-sequence",
    id: Column::Kind,
};

fn checkpoint(row: Model) -> Result<AuditCheckpoint> {
    Ok(AuditCheckpoint {
        organization: OrganizationId(row.organization_id),
        kind: word(&row.kind)?,
        number: row.number,
        sequence: row.sequence,
        hash: Hex(row.hash),
        at: row.at,
        key: row.key_id,
        signature: Hex(row.signature),
    })
}

fn key(row: audit_keys::Model) -> AuditKey {
    AuditKey {
        id: row.id,
        public_key: Hex(row.public_key),
        endorsed_by: row.endorsed_by,
        endorsement: row.endorsement.map(Hex),
        created_at: row.created_at,
    }
}

/// Checkpoints and their keys.
#[derive(Debug)]
pub struct AuditCheckpoints<'c, C>(pub(crate) &'c C);

impl<C: Connection> AuditCheckpoints<'_, C> {
    /// The newest checkpoint of a kind.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest(&self, tenant: Tenant, kind: CheckpointKind) -> Result<Option<AuditCheckpoint>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Kind.eq(kind.as_str()))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .one(&self.0.db())
            .await?;
        found.map(checkpoint).transpose()
    }

    /// The checkpoints of a kind that are about entries after number `after`, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn after(
        &self,
        tenant: Tenant,
        kind: CheckpointKind,
        after: i64,
        limit: u64,
    ) -> Result<Vec<AuditCheckpoint>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Kind.eq(kind.as_str()))
            .filter(Column::Sequence.gt(after))
            .order_by_asc(Column::Sequence)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        found.into_iter().map(checkpoint).collect()
    }

    /// The newest checkpoint that is about entry `sequence` or one before it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_through(&self, tenant: Tenant, sequence: i64) -> Result<Option<AuditCheckpoint>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Kind.eq(CheckpointKind::Head.as_str()))
            .filter(Column::Sequence.lte(sequence))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .one(&self.0.db())
            .await?;
        found.map(checkpoint).transpose()
    }

    /// The checkpoints of an organisation, both kinds; sorted by `sequence`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(&self, tenant: Tenant, request: &PageRequest) -> Result<Page<AuditCheckpoint>> {
        let select = Entity::find().filter(Column::OrganizationId.eq(tenant.uuid()));
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(checkpoint)
    }

    /// The public keys, oldest first: they sign the trails of all organisations.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys(&self, _: AllTenants) -> Result<Vec<AuditKey>> {
        let found = audit_keys::Entity::find()
            .order_by_asc(audit_keys::Column::CreatedAt)
            .order_by_asc(audit_keys::Column::Id)
            .all(&self.0.db())
            .await?;
        Ok(found.into_iter().map(key).collect())
    }
}

impl AuditCheckpoints<'_, WriteTx> {
    /// Adds a checkpoint. Hold the chain's head in the same transaction.
    ///
    /// # Errors
    /// [`Unique::AuditSequence`](crate::Unique::AuditSequence), or the database fails.
    pub async fn insert(&self, checkpoint: &AuditCheckpoint) -> Result<()> {
        let row = ActiveModel {
            organization_id: Set(checkpoint.organization.0),
            kind: Set(checkpoint.kind.to_string()),
            sequence: Set(checkpoint.sequence),
            number: Set(checkpoint.number),
            hash: Set(checkpoint.hash.0.clone()),
            at: Set(checkpoint.at),
            key_id: Set(checkpoint.key.clone()),
            signature: Set(checkpoint.signature.0.clone()),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Adds a public key; one that is known already is left as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_key(&self, key: &AuditKey) -> Result<()> {
        let row = audit_keys::ActiveModel {
            id: Set(key.id.clone()),
            public_key: Set(key.public_key.0.clone()),
            endorsed_by: Set(key.endorsed_by.clone()),
            endorsement: Set(key.endorsement.as_ref().map(|signature| signature.0.clone())),
            created_at: Set(key.created_at),
        };
        let known = OnConflict::column(audit_keys::Column::Id).do_nothing().to_owned();
        audit_keys::Entity::insert(row)
            .on_conflict(known)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Removes entries and checkpoints that a cut of the organisation covers, a few thousand at most. Returns whether
    /// there may be more.
    ///
    /// # Errors
    /// The database fails, or there is no such cut.
    pub async fn remove_through(&self, tenant: Tenant, sequence: i64) -> Result<bool> {
        let entries = self
            .remove(tenant, "audit_entries", "sequence <= $2", sequence)
            .await?;
        let heads = self
            .remove(
                tenant,
                "audit_checkpoints",
                "kind = 'head' AND sequence <= $2",
                sequence,
            )
            .await?;
        Ok(entries >= PRUNED_AT_ONCE || heads >= PRUNED_AT_ONCE)
    }

    async fn remove(&self, tenant: Tenant, table: &str, which: &str, sequence: i64) -> Result<u64> {
        let db = self.0.db();
        let sql = format!(
            "DELETE FROM {table} WHERE organization_id = $1 AND {which} AND sequence IN
                (SELECT sequence FROM {table} WHERE organization_id = $1 AND {which}
                    ORDER BY sequence LIMIT {PRUNED_AT_ONCE})"
        );
        let values = [tenant.uuid().into(), sequence.into()];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        Ok(db.execute_raw(statement).await?.rows_affected())
    }
}
