//! Secrets' versions. Written and opened by the registry alone; anyone else sees names and ages.

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
    tenant::Tenant,
};

/// The state of a secret's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretState {
    /// The one to use.
    Active,
    /// Replaced; still accepted for a while.
    Retiring,
}

impl SecretState {
    pub(crate) const fn as_str(self) -> &'static str {
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
    /// From when on it is no longer used.
    pub expires_at: Option<Timestamp>,
    /// A replaced version: until when it is still accepted.
    pub valid_until: Option<Timestamp>,
    /// When it was last opened.
    pub last_read_at: Option<Timestamp>,
    /// The version of its value in Vault; nothing for a value that is kept here.
    pub vault_version: Option<u64>,
    /// What was last said of its expiry: seconds ahead of it, 0 for the expiry itself.
    pub expiry_notice: Option<i64>,
}

impl SecretMeta {
    /// When it stops counting, for whatever reason.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        match (self.expires_at, self.valid_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Whether it counts at a time.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ends_at().is_none_or(|end| end > now)
    }
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In this row, encrypted.
    Here {
        /// The tenant key that opens it.
        key_id: Uuid,
        /// Nonce and ciphertext, as the secrets crate writes them.
        ciphertext: Vec<u8>,
    },
    /// In Vault.
    Vault {
        /// The version there.
        version: u64,
    },
}

/// A secret's version, and where its value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// What may be shown of it.
    pub meta: SecretMeta,
    /// Where the value is.
    pub kept: Kept,
}

#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub(crate) struct MetaRow {
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
    vault_version: Option<i64>,
    valid_until: Option<Timestamp>,
    last_read_at: Option<Timestamp>,
    expiry_notice: Option<i64>,
}

pub(crate) fn meta(row: MetaRow) -> Result<SecretMeta> {
    let vault_version = row.vault_version.map(u64::try_from).transpose();
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
        valid_until: row.valid_until,
        last_read_at: row.last_read_at,
        vault_version: vault_version.map_err(Error::internal)?,
        expiry_notice: row.expiry_notice,
    })
}

pub(crate) fn stored(row: Model) -> Result<StoredSecret> {
    let (key_id, ciphertext) = (row.key_id, row.ciphertext);
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
        vault_version: row.vault_version,
        valid_until: row.valid_until,
        last_read_at: row.last_read_at,
        expiry_notice: row.expiry_notice,
    })?;
    let kept = match (meta.vault_version, key_id, ciphertext) {
        (Some(version), _, _) => Kept::Vault { version },
        (None, Some(key_id), Some(ciphertext)) => Kept::Here { key_id, ciphertext },
        _ => return Err(Error::internal("a secret's version has no value")),
    };
    Ok(StoredSecret { meta, kept })
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

/// Secrets' versions.
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
        let (key_id, ciphertext, vault_version) = columns(&secret.kept)?;
        let row = ActiveModel {
            id: Set(meta.id.0),
            organization_id: Set(meta.organization.0),
            datasource_id: Set(meta.datasource.0),
            name: Set(meta.name.clone()),
            version: Set(i64::from(meta.version)),
            state: Set(meta.state.as_str().to_owned()),
            key_id: Set(key_id),
            ciphertext: Set(ciphertext),
            created_at: Set(meta.created_at),
            created_by: Set(meta.created_by.map(|id| id.0)),
            rotated_at: Set(meta.rotated_at),
            expires_at: Set(meta.expires_at),
            vault_version: Set(vault_version),
            valid_until: Set(meta.valid_until),
            last_read_at: Set(meta.last_read_at),
            expiry_notice: Set(meta.expiry_notice),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Marks the version of a secret that is active as retiring: it is accepted until `valid_until`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retire(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        name: &str,
        rotated_at: Timestamp,
        valid_until: Timestamp,
    ) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(SecretState::Retiring.as_str()))
            .col_expr(Column::RotatedAt, Expr::value(rotated_at))
            .col_expr(Column::ValidUntil, Expr::value(valid_until))
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

    /// Destroys one version. Returns whether it was there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn destroy_version(&self, tenant: Tenant, id: SecretId) -> Result<bool> {
        let done = Entity::delete_many()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.eq(id.0))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }
}

type KeptColumns = (Option<Uuid>, Option<Vec<u8>>, Option<i64>);

pub(crate) fn columns(kept: &Kept) -> Result<KeptColumns> {
    Ok(match kept {
        Kept::Here { key_id, ciphertext } => (Some(*key_id), Some(ciphertext.clone()), None),
        Kept::Vault { version } => (
            None,
            None,
            Some(i64::try_from(*version).map_err(Error::internal)?),
        ),
    })
}
