//! Service accounts: programs that sign in with tokens of their own.

use halcyon_domain::{
    clock::Timestamp,
    id::{ActorId, OrganizationId, ServiceAccountId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select,
    sea_query::{Condition, Expr, ExprTrait, LockType},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{
        service_account_tokens as tokens,
        service_accounts::{ActiveModel, Column, Entity, Model},
    },
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    tenant::{AllTenants, Tenant},
};

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its identifier.
    pub id: ServiceAccountId,
    /// The organisation it belongs to.
    pub organization: OrganizationId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its tokens do not count.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

impl From<Model> for ServiceAccount {
    fn from(row: Model) -> Self {
        Self {
            id: ServiceAccountId(row.id),
            organization: OrganizationId(row.organization_id),
            name: row.name,
            description: row.description,
            disabled: row.disabled,
            created_at: row.created_at,
            created_by: row.created_by.map(ActorId),
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("name", Column::Name),
        ("created_at", Column::CreatedAt),
        ("updated_at", Column::UpdatedAt),
    ],
    default: "name",
    id: Column::Id,
};

fn of(tenant: Tenant) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DeletedAt.is_null())
}

/// Service accounts and their tokens.
#[derive(Debug)]
pub struct ServiceAccounts<'c, C>(pub(crate) &'c C);

impl<C: Connection> ServiceAccounts<'_, C> {
    /// A service account.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, id: ServiceAccountId) -> Result<Option<ServiceAccount>> {
        let row = of(tenant).filter(Column::Id.eq(id.0)).one(&self.0.db()).await?;
        Ok(row.map(ServiceAccount::from))
    }

    /// Those of the service accounts that there are, whosever they are, in no order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_many(&self, _: AllTenants, ids: &[ServiceAccountId]) -> Result<Vec<ServiceAccount>> {
        let some = Entity::find()
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
            .filter(Column::DeletedAt.is_null());
        let rows = some.all(&self.0.db()).await?;
        Ok(rows.into_iter().map(ServiceAccount::from).collect())
    }

    /// The service accounts; sorted by `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        q: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<ServiceAccount>> {
        let mut select = of(tenant);
        if let Some(q) = q {
            let found = Condition::any()
                .add(page::contains(Column::Name, q))
                .add(page::contains(Column::Description, q));
            select = select.filter(found);
        }
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(|row| Ok(row.into()))
    }
}

impl ServiceAccounts<'_, WriteTx> {
    /// A service account, kept from changing until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lock(&self, tenant: Tenant, id: ServiceAccountId) -> Result<Option<ServiceAccount>> {
        let row = of(tenant)
            .filter(Column::Id.eq(id.0))
            .lock(LockType::Update)
            .one(&self.0.db())
            .await?;
        Ok(row.map(ServiceAccount::from))
    }

    /// Adds a service account.
    ///
    /// # Errors
    /// [`Unique::ServiceAccountName`](crate::Unique::ServiceAccountName), or the database fails.
    pub async fn insert(&self, account: &ServiceAccount) -> Result<()> {
        let row = ActiveModel {
            id: Set(account.id.0),
            organization_id: Set(account.organization.0),
            name: Set(account.name.clone()),
            description: Set(account.description.clone()),
            disabled: Set(account.disabled),
            created_at: Set(account.created_at),
            created_by: Set(account.created_by.map(|id| id.0)),
            updated_at: Set(account.updated_at),
            revision: Set(account.revision),
            deleted_at: Set(None),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Writes name, description and `disabled` of a service account that is still at `account.revision`. Returns
    /// it as it is now.
    ///
    /// # Errors
    /// Not found, [`Unique::ServiceAccountName`](crate::Unique::ServiceAccountName), a stale revision, or the
    /// database fails.
    pub async fn update(&self, account: &ServiceAccount, at: Timestamp) -> Result<ServiceAccount> {
        self.write(account, at, None).await?;
        Ok(ServiceAccount {
            updated_at: at,
            revision: account.revision + 1,
            ..account.clone()
        })
    }

    /// Deletes a service account that is still at `account.revision`, softly, and revokes its tokens.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn delete(&self, account: &ServiceAccount, at: Timestamp) -> Result<()> {
        self.write(account, at, Some(at)).await?;
        tokens::Entity::update_many()
            .col_expr(tokens::Column::RevokedAt, Expr::value(at))
            .filter(tokens::Column::OrganizationId.eq(account.organization.0))
            .filter(tokens::Column::ServiceAccountId.eq(account.id.0))
            .filter(tokens::Column::RevokedAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Deletes all service accounts of an organisation that is deleted itself, and revokes their tokens.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_all(&self, tenant: Tenant, at: Timestamp) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .exec(&self.0.db())
            .await?;
        tokens::Entity::update_many()
            .col_expr(tokens::Column::RevokedAt, Expr::value(at))
            .filter(tokens::Column::OrganizationId.eq(tenant.uuid()))
            .filter(tokens::Column::RevokedAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    async fn write(
        &self,
        account: &ServiceAccount,
        at: Timestamp,
        deleted_at: Option<Timestamp>,
    ) -> Result<()> {
        let tenant = Tenant(account.organization);
        let done = Entity::update_many()
            .col_expr(Column::Name, Expr::value(account.name.as_str()))
            .col_expr(Column::Description, Expr::value(account.description.clone()))
            .col_expr(Column::Disabled, Expr::value(account.disabled))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::value(account.revision + 1))
            .col_expr(Column::DeletedAt, Expr::value(deleted_at))
            .filter(Column::Id.eq(account.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Revision.eq(account.revision))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.find(tenant, account.id).await?;
        Err(Error::StaleRevision {
            current: current.ok_or(Error::NotFound("service account"))?.revision,
        })
    }
}
