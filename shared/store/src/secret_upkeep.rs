//! What the registry does to secrets of all tenants: wiping, warning of expiry, moving between backends.

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, OrganizationId, SecretId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{
        datasource_secrets::{Column, Entity},
        secret_backend, secret_chores,
    },
    error::{Error, Result},
    secrets::{Kept, MetaRow, SecretMeta, SecretState, Secrets, StoredSecret, columns, meta, stored},
    tenant::{AllTenants, Tenant},
};

/// Where values of secrets are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretBackend {
    /// In the database, encrypted.
    Builtin,
    /// In Vault.
    Vault,
}

impl SecretBackend {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Vault => "vault",
        }
    }
}

/// A secret whose place in Vault is to be tidied up: values there that no row refers to are destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretChore {
    /// Its identifier.
    pub id: Uuid,
    /// The organisation.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The secret's name.
    pub name: String,
    /// When to do it. Until then somebody is writing there.
    pub due_at: Timestamp,
}

/// The row of the one setting.
const ONE: i64 = 1;

fn chore(row: secret_chores::Model) -> SecretChore {
    SecretChore {
        id: row.id,
        organization: OrganizationId(row.organization_id),
        datasource: DatasourceId(row.datasource_id),
        name: row.name,
        due_at: row.due_at,
    }
}

fn kept_in(backend: SecretBackend) -> sea_orm::sea_query::SimpleExpr {
    match backend {
        SecretBackend::Builtin => Column::VaultVersion.is_null(),
        SecretBackend::Vault => Column::VaultVersion.is_not_null(),
    }
}

impl<C: Connection> Secrets<'_, C> {
    /// Where new values go.
    ///
    /// # Errors
    /// The database fails.
    pub async fn backend(&self, _: AllTenants) -> Result<SecretBackend> {
        let row = secret_backend::Entity::find_by_id(ONE).one(&self.0.db()).await?;
        match row.as_ref().map(|row| row.backend.as_str()) {
            None | Some("builtin") => Ok(SecretBackend::Builtin),
            Some("vault") => Ok(SecretBackend::Vault),
            Some(other) => Err(Error::internal(format!("unknown secret backend {other}"))),
        }
    }

    /// Replaced versions that are accepted no more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn outlived(&self, _: AllTenants, now: Timestamp, limit: u64) -> Result<Vec<SecretMeta>> {
        let rows = Entity::find()
            .filter(Column::State.eq(SecretState::Retiring.as_str()))
            .filter(Column::ValidUntil.lte(now))
            .order_by_asc(Column::Id)
            .limit(limit)
            .into_partial_model::<MetaRow>()
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(meta).collect()
    }

    /// Versions in use that expire until a time.
    ///
    /// # Errors
    /// The database fails.
    pub async fn expiring(&self, _: AllTenants, until: Timestamp) -> Result<Vec<SecretMeta>> {
        let rows = Entity::find()
            .filter(Column::State.eq(SecretState::Active.as_str()))
            .filter(Column::ExpiresAt.lte(until))
            .order_by_asc(Column::Id)
            .into_partial_model::<MetaRow>()
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(meta).collect()
    }

    /// The datasources that have values in Vault, with the names of these secrets.
    ///
    /// # Errors
    /// The database fails.
    pub async fn names_in_vault(&self, _: AllTenants) -> Result<Vec<(DatasourceId, String)>> {
        let rows: Vec<(Uuid, String)> = Entity::find()
            .select_only()
            .columns([Column::DatasourceId, Column::Name])
            .distinct()
            .filter(kept_in(SecretBackend::Vault))
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(rows
            .into_iter()
            .map(|(datasource, name)| (DatasourceId(datasource), name))
            .collect())
    }

    /// How many versions a backend keeps.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_in(&self, _: AllTenants, backend: SecretBackend) -> Result<u64> {
        Ok(Entity::find()
            .filter(kept_in(backend))
            .count(&self.0.db())
            .await?)
    }

    /// Versions that a backend keeps, by identifier, after one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn kept_in(
        &self,
        _: AllTenants,
        backend: SecretBackend,
        after: Option<SecretId>,
        limit: u64,
    ) -> Result<Vec<StoredSecret>> {
        let rows = Entity::find()
            .filter(kept_in(backend))
            .filter(Column::Id.gt(after.map_or(Uuid::nil(), |id| id.0)))
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(stored).collect()
    }

    /// Versions that are not encrypted with a tenant's newest key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn under_other_keys(
        &self,
        tenant: Tenant,
        newest: Uuid,
        limit: u64,
    ) -> Result<Vec<StoredSecret>> {
        let rows = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::KeyId.ne(newest))
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(stored).collect()
    }

    /// What is to be tidied up by now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn due_chores(&self, _: AllTenants, now: Timestamp, limit: u64) -> Result<Vec<SecretChore>> {
        let rows = secret_chores::Entity::find()
            .filter(secret_chores::Column::DueAt.lte(now))
            .order_by_asc(secret_chores::Column::DueAt)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(chore).collect())
    }

    /// Whether somebody is writing a secret's value now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_being_written(&self, chore: &SecretChore, now: Timestamp) -> Result<bool> {
        let found = secret_chores::Entity::find()
            .filter(secret_chores::Column::OrganizationId.eq(chore.organization.0))
            .filter(secret_chores::Column::DatasourceId.eq(chore.datasource.0))
            .filter(secret_chores::Column::Name.eq(chore.name.as_str()))
            .filter(secret_chores::Column::DueAt.gt(now))
            .one(&self.0.db())
            .await?;
        Ok(found.is_some())
    }
}

impl Secrets<'_, WriteTx> {
    /// From now on new values go there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_backend(&self, _: AllTenants, backend: SecretBackend, now: Timestamp) -> Result<()> {
        let row = secret_backend::ActiveModel {
            id: Set(ONE),
            backend: Set(backend.as_str().to_owned()),
            changed_at: Set(now),
        };
        let conflict = OnConflict::column(secret_backend::Column::Id)
            .update_columns([secret_backend::Column::Backend, secret_backend::Column::ChangedAt])
            .to_owned();
        secret_backend::Entity::insert(row)
            .on_conflict(conflict)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Notes that versions were opened.
    ///
    /// # Errors
    /// The database fails.
    pub async fn note_read(&self, tenant: Tenant, ids: &[SecretId], now: Timestamp) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::LastReadAt, Expr::value(now))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Notes what was said of a version's expiry; false if that, or something later, was said already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn note_expiry(&self, tenant: Tenant, id: SecretId, seconds: i64) -> Result<bool> {
        let earlier = Condition::any()
            .add(Column::ExpiryNotice.is_null())
            .add(Column::ExpiryNotice.gt(seconds));
        let done = Entity::update_many()
            .col_expr(Column::ExpiryNotice, Expr::value(seconds))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.eq(id.0))
            .filter(earlier)
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Keeps a value elsewhere, or encrypted anew; false if it is not where it was any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn relocate(&self, tenant: Tenant, id: SecretId, from: &Kept, to: &Kept) -> Result<bool> {
        let (key_id, ciphertext, vault_version) = columns(to)?;
        let same = match from {
            Kept::Here { key_id, .. } => Column::KeyId.eq(*key_id),
            Kept::Vault { version } => {
                Column::VaultVersion.eq(i64::try_from(*version).map_err(Error::internal)?)
            }
        };
        let done = Entity::update_many()
            .col_expr(Column::KeyId, Expr::value(key_id))
            .col_expr(Column::Ciphertext, Expr::value(ciphertext))
            .col_expr(Column::VaultVersion, Expr::value(vault_version))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.eq(id.0))
            .filter(same)
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Adds a chore.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_chore(&self, chore: &SecretChore) -> Result<()> {
        let row = secret_chores::ActiveModel {
            id: Set(chore.id),
            organization_id: Set(chore.organization.0),
            datasource_id: Set(chore.datasource.0),
            name: Set(chore.name.clone()),
            due_at: Set(chore.due_at),
        };
        secret_chores::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Has a chore fall due earlier.
    ///
    /// # Errors
    /// The database fails.
    pub async fn hasten_chore(&self, id: Uuid, due_at: Timestamp) -> Result<()> {
        secret_chores::Entity::update_many()
            .col_expr(secret_chores::Column::DueAt, Expr::value(due_at))
            .filter(secret_chores::Column::Id.eq(id))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Removes a chore that is done, or came to nothing; false if it is gone already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish_chore(&self, id: Uuid) -> Result<bool> {
        let done = secret_chores::Entity::delete_by_id(id).exec(&self.0.db()).await?;
        Ok(done.rows_affected > 0)
    }
}
