//! Encrypted secrets. Written and opened by the registry alone; anyone else sees names and ages.

use halcyon_domain::{
    clock::Timestamp,
    id::{ActorId, DatasourceId, OrganizationId, SecretId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DerivePartialModel, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, sea_query::Expr,
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasource_secrets::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    rows::number,
    tenant::{AllTenants, Tenant},
};

/// The state of a secret's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretState {
    /// The one to use.
    Active,
    /// Replaced; still accepted until it expires.
    Retiring,
}

impl SecretState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    fn read(text: &str) -> Result<Self> {
        match text {
            "active" => Ok(Self::Active),
            "retiring" => Ok(Self::Retiring),
            _ => Err(Error::internal(format!("unknown secret state {text}"))),
        }
    }
}

/// What may be shown of a secret's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMeta {
    /// Its identifier.
    pub id: SecretId,
    /// The organisation.
    pub organization: OrganizationId,
    /// The datasource that uses it.
    pub datasource: DatasourceId,
    /// Its name, as configurations refer to it.
    pub name: String,
    /// Its version, from 1.
    pub version: u32,
    /// Its state.
    pub state: SecretState,
    /// When it was written.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<ActorId>,
    /// When it was replaced.
    pub rotated_at: Option<Timestamp>,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
}

/// A secret's version, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// What may be shown of it.
    pub meta: SecretMeta,
    /// The tenant key that opens it.
    pub key_id: Uuid,
    /// Nonce and ciphertext, as the secrets crate writes them.
    pub ciphertext: Vec<u8>,
}

#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
struct MetaRow {
    id: Uuid,
    organization_id: Uuid,
    datasource_id: Uuid,
    name: String,
    version: i64,
    state: String,
    created_at: Timestamp,
    created_by: Option<Uuid>,
    rotated_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

fn meta(row: MetaRow) -> Result<SecretMeta> {
    Ok(SecretMeta {
        id: SecretId(row.id),
        organization: OrganizationId(row.organization_id),
        datasource: DatasourceId(row.datasource_id),
        name: row.name,
        version: number(row.version)?,
        state: SecretState::read(&row.state)?,
        created_at: row.created_at,
        created_by: row.created_by.map(ActorId),
        rotated_at: row.rotated_at,
        expires_at: row.expires_at,
    })
}

fn stored(row: Model) -> Result<StoredSecret> {
    let Model {
        key_id, ciphertext, ..
    } = row;
    let meta = meta(MetaRow {
        id: row.id,
        organization_id: row.organization_id,
        datasource_id: row.datasource_id,
        name: row.name,
        version: row.version,
        state: row.state,
        created_at: row.created_at,
        created_by: row.created_by,
        rotated_at: row.rotated_at,
        expires_at: row.expires_at,
    })?;
    Ok(StoredSecret {
        meta,
        key_id,
        ciphertext,
    })
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

/// Encrypted secrets.
#[derive(Debug)]
pub struct Secrets<'c, C>(pub(crate) &'c C);

impl<C: Connection> Secrets<'_, C> {
    /// What may be shown of a datasource's secrets, by name, newest version first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, tenant: Tenant, datasource: DatasourceId) -> Result<Vec<SecretMeta>> {
        let rows = of(tenant, datasource)
            .order_by_asc(Column::Name)
            .order_by_desc(Column::Version)
            .into_partial_model::<MetaRow>()
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(meta).collect()
    }

    /// All versions of a secret that are still kept, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn versions(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        name: &str,
    ) -> Result<Vec<StoredSecret>> {
        let rows = of(tenant, datasource)
            .filter(Column::Name.eq(name))
            .order_by_desc(Column::Version)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(stored).collect()
    }

    /// All versions of all of a datasource's secrets, by name, newest version first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of_datasource(&self, tenant: Tenant, datasource: DatasourceId) -> Result<Vec<StoredSecret>> {
        let rows = of(tenant, datasource)
            .order_by_asc(Column::Name)
            .order_by_desc(Column::Version)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(stored).collect()
    }
}

impl Secrets<'_, WriteTx> {
    /// The number that the next version of a secret gets.
    ///
    /// # Errors
    /// The database fails.
    pub async fn next_version(&self, tenant: Tenant, datasource: DatasourceId, name: &str) -> Result<u32> {
        let newest = of(tenant, datasource)
            .filter(Column::Name.eq(name))
            .order_by_desc(Column::Version)
            .limit(1)
            .one(&self.0.db())
            .await?;
        newest.map_or(Ok(1), |row| Ok(number(row.version)? + 1))
    }

    /// Adds a version.
    ///
    /// # Errors
    /// [`Unique::SecretVersion`](crate::Unique::SecretVersion), or the database fails.
    pub async fn insert(&self, secret: &StoredSecret) -> Result<()> {
        let meta = &secret.meta;
        let row = ActiveModel {
            id: Set(meta.id.0),
            organization_id: Set(meta.organization.0),
            datasource_id: Set(meta.datasource.0),
            name: Set(meta.name.clone()),
            version: Set(i64::from(meta.version)),
            state: Set(meta.state.as_str().to_owned()),
            key_id: Set(secret.key_id),
            ciphertext: Set(secret.ciphertext.clone()),
            created_at: Set(meta.created_at),
            created_by: Set(meta.created_by.map(|id| id.0)),
            rotated_at: Set(meta.rotated_at),
            expires_at: Set(meta.expires_at),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Marks the versions of a secret that are active as retiring: they are accepted until `expires_at`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retire(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        name: &str,
        rotated_at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(SecretState::Retiring.as_str()))
            .col_expr(Column::RotatedAt, Expr::value(rotated_at))
            .col_expr(Column::ExpiresAt, Expr::value(expires_at))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(datasource.0))
            .filter(Column::Name.eq(name))
            .filter(Column::State.eq(SecretState::Active.as_str()))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Destroys all versions of a secret, ciphertext and all. Returns whether there was one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy(&self, tenant: Tenant, datasource: DatasourceId, name: &str) -> Result<bool> {
        let done = Entity::delete_many()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(datasource.0))
            .filter(Column::Name.eq(name))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Destroys all secrets of a datasource.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy_all(&self, tenant: Tenant, datasource: DatasourceId) -> Result<()> {
        Entity::delete_many()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(datasource.0))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Destroys versions that were replaced and are no longer accepted: the registry sweeps all tenants.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy_expired(&self, _: AllTenants, now: Timestamp) -> Result<u64> {
        let done = Entity::delete_many()
            .filter(Column::State.eq(SecretState::Retiring.as_str()))
            .filter(Column::ExpiresAt.lt(now))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected)
    }
}
