//! Keys of all tenants, for whoever wraps them anew.

use halcyon_domain::clock::Timestamp;
use sea_orm::{
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{datasource_secrets, signing_keys, tenant_keys},
    error::Result,
    keys::{Keys, SigningKey, TenantKey, signing_key, tenant_key},
    tenant::{AllTenants, Tenant},
};

/// How many keys something has wrapped.
pub type WrappedBy = Vec<(String, u64)>;

impl<C: Connection> Keys<'_, C> {
    /// Tenants' data keys that something else than `current` has wrapped.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenants_not_wrapped_by(
        &self,
        _: AllTenants,
        current: &str,
        limit: u64,
    ) -> Result<Vec<TenantKey>> {
        let rows = tenant_keys::Entity::find()
            .filter(tenant_keys::Column::WrappedBy.ne(current))
            .order_by_asc(tenant_keys::Column::Id)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(tenant_key).collect()
    }

    /// Signing keys that something else than `current` has wrapped.
    ///
    /// # Errors
    /// The database fails.
    pub async fn signing_not_wrapped_by(
        &self,
        _: AllTenants,
        current: &str,
        limit: u64,
    ) -> Result<Vec<SigningKey>> {
        let rows = signing_keys::Entity::find()
            .filter(signing_keys::Column::WrappedBy.ne(current))
            .order_by_asc(signing_keys::Column::Id)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(signing_key).collect())
    }

    /// What has wrapped how many keys, of tenants and for signing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn wrapped_by(&self, _: AllTenants) -> Result<WrappedBy> {
        let tenants: Vec<(String, i64)> = tenant_keys::Entity::find()
            .select_only()
            .column(tenant_keys::Column::WrappedBy)
            .column_as(tenant_keys::Column::Id.count(), "keys")
            .group_by(tenant_keys::Column::WrappedBy)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        let signing: Vec<(String, i64)> = signing_keys::Entity::find()
            .select_only()
            .column(signing_keys::Column::WrappedBy)
            .column_as(signing_keys::Column::Id.count(), "keys")
            .group_by(signing_keys::Column::WrappedBy)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for (by, count) in tenants.into_iter().chain(signing) {
            *counts.entry(by).or_default() += u64::try_from(count).unwrap_or_default();
        }
        Ok(counts.into_iter().collect())
    }

    /// The tenants that have a data key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenants(&self, _: AllTenants) -> Result<Vec<Tenant>> {
        let rows: Vec<Uuid> = tenant_keys::Entity::find()
            .select_only()
            .column(tenant_keys::Column::OrganizationId)
            .distinct()
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(|id| Tenant(id.into())).collect())
    }

    /// Whether a value is still encrypted with a tenant's key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_in_use(&self, tenant: Tenant, key: Uuid) -> Result<bool> {
        let count = datasource_secrets::Entity::find()
            .filter(datasource_secrets::Column::OrganizationId.eq(tenant.uuid()))
            .filter(datasource_secrets::Column::KeyId.eq(key))
            .count(&self.0.db())
            .await?;
        Ok(count > 0)
    }
}

impl Keys<'_, WriteTx> {
    /// Keeps a tenant's key wrapped anew; false if somebody else was faster.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rewrap_tenant(&self, before: &TenantKey, wrapped: &[u8], by: &str) -> Result<bool> {
        let done = tenant_keys::Entity::update_many()
            .col_expr(tenant_keys::Column::Wrapped, Expr::value(wrapped))
            .col_expr(tenant_keys::Column::WrappedBy, Expr::value(by))
            .filter(tenant_keys::Column::OrganizationId.eq(before.organization.0))
            .filter(tenant_keys::Column::Id.eq(before.id))
            .filter(tenant_keys::Column::WrappedBy.eq(before.wrapped_by.as_str()))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Keeps a signing key wrapped anew; false if somebody else was faster.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rewrap_signing(&self, before: &SigningKey, wrapped: &[u8], by: &str) -> Result<bool> {
        let done = signing_keys::Entity::update_many()
            .col_expr(signing_keys::Column::Wrapped, Expr::value(wrapped))
            .col_expr(signing_keys::Column::WrappedBy, Expr::value(by))
            .filter(signing_keys::Column::Id.eq(before.id.as_str()))
            .filter(signing_keys::Column::WrappedBy.eq(before.wrapped_by.as_str()))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// From now on nothing new is encrypted with a tenant's keys that are older than `newest`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retire_before(&self, tenant: Tenant, newest: u32, at: Timestamp) -> Result<()> {
        tenant_keys::Entity::update_many()
            .col_expr(tenant_keys::Column::RetiredAt, Expr::value(at))
            .filter(tenant_keys::Column::OrganizationId.eq(tenant.uuid()))
            .filter(tenant_keys::Column::Version.lt(i64::from(newest)))
            .filter(tenant_keys::Column::RetiredAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Destroys a tenant's key that nothing is encrypted with any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy(&self, tenant: Tenant, key: Uuid) -> Result<()> {
        tenant_keys::Entity::delete_many()
            .filter(tenant_keys::Column::OrganizationId.eq(tenant.uuid()))
            .filter(tenant_keys::Column::Id.eq(key))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }
}
