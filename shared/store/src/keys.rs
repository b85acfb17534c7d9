//! Wrapped keys: the tenants' data keys, and the keys that tokens are signed with.

use halcyon_domain::{clock::Timestamp, id::OrganizationId};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::Expr};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{signing_keys, tenant_keys},
    error::Result,
    rows::number,
    tenant::{AllTenants, Tenant},
};

/// A tenant's data key, wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantKey {
    /// Its identifier.
    pub id: Uuid,
    /// The tenant.
    pub organization: OrganizationId,
    /// Its version, from 1.
    pub version: u32,
    /// The key, encrypted.
    pub wrapped: Vec<u8>,
    /// What it was encrypted with.
    pub wrapped_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nothing new is encrypted with it.
    pub retired_at: Option<Timestamp>,
}

/// A key that tokens are signed with, wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its identifier: the `kid` of a token.
    pub id: String,
    /// What it signs.
    pub purpose: String,
    /// The public half.
    pub public_key: Vec<u8>,
    /// The private half, encrypted.
    pub wrapped: Vec<u8>,
    /// What it was encrypted with.
    pub wrapped_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs; since it was made if absent.
    pub signs_from: Option<Timestamp>,
    /// Since when nothing new is signed with it.
    pub retired_at: Option<Timestamp>,
}

pub(crate) fn tenant_key(row: tenant_keys::Model) -> Result<TenantKey> {
    Ok(TenantKey {
        id: row.id,
        organization: OrganizationId(row.organization_id),
        version: number(row.version)?,
        wrapped: row.wrapped,
        wrapped_by: row.wrapped_by,
        created_at: row.created_at,
        retired_at: row.retired_at,
    })
}

pub(crate) fn signing_key(row: signing_keys::Model) -> SigningKey {
    SigningKey {
        id: row.id,
        purpose: row.purpose,
        public_key: row.public_key,
        wrapped: row.wrapped,
        wrapped_by: row.wrapped_by,
        created_at: row.created_at,
        signs_from: row.signs_from,
        retired_at: row.retired_at,
    }
}

/// Wrapped keys.
#[derive(Debug)]
pub struct Keys<'c, C>(pub(crate) &'c C);

impl<C: Connection> Keys<'_, C> {
    /// The tenant's data keys, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of_tenant(&self, tenant: Tenant) -> Result<Vec<TenantKey>> {
        let rows = tenant_keys::Entity::find()
            .filter(tenant_keys::Column::OrganizationId.eq(tenant.uuid()))
            .order_by_desc(tenant_keys::Column::Version)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(tenant_key).collect()
    }

    /// All signing keys of a purpose, newest first: tokens are signed for all tenants alike.
    ///
    /// # Errors
    /// The database fails.
    pub async fn signing(&self, _: AllTenants, purpose: &str) -> Result<Vec<SigningKey>> {
        let rows = signing_keys::Entity::find()
            .filter(signing_keys::Column::Purpose.eq(purpose))
            .order_by_desc(signing_keys::Column::CreatedAt)
            .order_by_desc(signing_keys::Column::Id)
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(signing_key).collect())
    }
}

impl Keys<'_, WriteTx> {
    /// Adds a tenant's data key.
    ///
    /// # Errors
    /// [`Unique::Key`](crate::Unique::Key) if another process was faster (read again), or the database fails.
    pub async fn insert(&self, key: &TenantKey) -> Result<()> {
        let row = tenant_keys::ActiveModel {
            id: Set(key.id),
            organization_id: Set(key.organization.0),
            version: Set(i64::from(key.version)),
            wrapped: Set(key.wrapped.clone()),
            wrapped_by: Set(key.wrapped_by.clone()),
            created_at: Set(key.created_at),
            retired_at: Set(key.retired_at),
        };
        tenant_keys::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Adds a signing key.
    ///
    /// # Errors
    /// [`Unique::Key`](crate::Unique::Key), or the database fails.
    pub async fn insert_signing(&self, key: &SigningKey) -> Result<()> {
        let row = signing_keys::ActiveModel {
            id: Set(key.id.clone()),
            purpose: Set(key.purpose.clone()),
            public_key: Set(key.public_key.clone()),
            wrapped: Set(key.wrapped.clone()),
            wrapped_by: Set(key.wrapped_by.clone()),
            created_at: Set(key.created_at),
            signs_from: Set(key.signs_from),
            retired_at: Set(key.retired_at),
        };
        signing_keys::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Marks a signing key as retired.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retire_signing(&self, id: &str, at: Timestamp) -> Result<()> {
        signing_keys::Entity::update_many()
            .col_expr(signing_keys::Column::RetiredAt, Expr::value(at))
            .filter(signing_keys::Column::Id.eq(id))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Destroys a signing key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy_signing(&self, id: &str) -> Result<()> {
        signing_keys::Entity::delete_by_id(id).exec(&self.0.db()).await?;
        Ok(())
    }
}
