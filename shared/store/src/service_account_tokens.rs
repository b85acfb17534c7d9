//! The tokens of service accounts.

use halcyon_domain::{
    clock::Timestamp,
    id::{ActorId, OrganizationId, ServiceAccountId, ServiceAccountTokenId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, Select, sea_query::Expr,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::service_account_tokens::{ActiveModel, Column, Entity, Model},
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    service_accounts::{ServiceAccount, ServiceAccounts},
    tenant::{AllTenants, Tenant},
};

/// What is known of a service account's token. Its secret is known to whoever it was given to, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountToken {
    /// Its identifier, which is a part of the token.
    pub id: ServiceAccountTokenId,
    /// The organisation.
    pub organization: OrganizationId,
    /// The service account.
    pub account: ServiceAccountId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<ActorId>,
    /// From when on it does not count.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it does not count.
    pub revoked_at: Option<Timestamp>,
}

/// A token with what proves it, and its account.
#[derive(Clone)]
pub struct TokenCredentials {
    /// The account.
    pub account: ServiceAccount,
    /// The token.
    pub token: ServiceAccountToken,
    /// The SHA-256 of its secret.
    pub hash: Vec<u8>,
}

impl std::fmt::Debug for TokenCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCredentials")
            .field("account", &self.account)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl From<Model> for ServiceAccountToken {
    fn from(row: Model) -> Self {
        Self {
            id: ServiceAccountTokenId(row.id),
            organization: OrganizationId(row.organization_id),
            account: ServiceAccountId(row.service_account_id),
            name: row.name,
            created_at: row.created_at,
            created_by: row.created_by.map(ActorId),
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("created_at", Column::CreatedAt), ("name", Column::Name)],
    default: "-created_at",
    id: Column::Id,
};

fn tokens_of(tenant: Tenant, account: ServiceAccountId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::ServiceAccountId.eq(account.0))
}

impl<C: Connection> ServiceAccounts<'_, C> {
    /// The tokens of a service account, revoked ones too; sorted by `created_at` or `name`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn tokens(
        &self,
        tenant: Tenant,
        account: ServiceAccountId,
        request: &PageRequest,
    ) -> Result<Page<ServiceAccountToken>> {
        page::fetch(self.0, tokens_of(tenant, account), &SORTING, request)
            .await?
            .try_map(|row| Ok(row.into()))
    }

    /// How many tokens of a service account are not revoked.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_tokens(&self, tenant: Tenant, account: ServiceAccountId) -> Result<u64> {
        let live = tokens_of(tenant, account).filter(Column::RevokedAt.is_null());
        Ok(live.count(&self.0.db()).await?)
    }

    /// A token with its account, unless that was deleted: who shows a token has said of which organisation it is
    /// by that alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn credentials(
        &self,
        _: AllTenants,
        id: ServiceAccountTokenId,
    ) -> Result<Option<TokenCredentials>> {
        let Some(mut row) = Entity::find_by_id(id.0).one(&self.0.db()).await? else {
            return Ok(None);
        };
        let hash = std::mem::take(&mut row.hash);
        let token = ServiceAccountToken::from(row);
        let account = self.find(Tenant(token.organization), token.account).await?;
        Ok(account.map(|account| TokenCredentials { account, token, hash }))
    }
}

impl ServiceAccounts<'_, WriteTx> {
    /// Adds a token whose secret has this SHA-256.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_token(&self, token: &ServiceAccountToken, hash: [u8; 32]) -> Result<()> {
        let row = ActiveModel {
            id: Set(token.id.0),
            organization_id: Set(token.organization.0),
            service_account_id: Set(token.account.0),
            name: Set(token.name.clone()),
            hash: Set(hash.to_vec()),
            created_at: Set(token.created_at),
            created_by: Set(token.created_by.map(|id| id.0)),
            expires_at: Set(token.expires_at),
            last_used_at: Set(token.last_used_at),
            revoked_at: Set(token.revoked_at),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Revokes a token. Returns it as it is now; none if there is no such token that was not revoked yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn revoke_token(
        &self,
        tenant: Tenant,
        account: ServiceAccountId,
        id: ServiceAccountTokenId,
        at: Timestamp,
    ) -> Result<Option<ServiceAccountToken>> {
        let done = Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(at))
            .filter(Column::Id.eq(id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::ServiceAccountId.eq(account.0))
            .filter(Column::RevokedAt.is_null())
            .exec(&self.0.db())
            .await?;
        if done.rows_affected == 0 {
            return Ok(None);
        }
        let row = tokens_of(tenant, account)
            .filter(Column::Id.eq(id.0))
            .one(&self.0.db())
            .await?;
        Ok(row.map(ServiceAccountToken::from))
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// The database fails.
    pub async fn touch_token(&self, tenant: Tenant, id: ServiceAccountTokenId, at: Timestamp) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::LastUsedAt, Expr::value(at))
            .filter(Column::Id.eq(id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }
}
