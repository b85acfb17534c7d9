//! Users and the roles they were given.

use halcyon_domain::{
    access::{Grant, Role, Scope},
    clock::Timestamp,
    id::{OrganizationId, RoleBindingId, UserId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    sea_query::{Condition, Expr},
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{role_bindings, users},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::word,
    tenant::{AllTenants, Tenant},
};

/// A user, without their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their identifier.
    pub id: UserId,
    /// The organisation they belong to.
    pub organization: OrganizationId,
    /// Their e-mail address, in lower case; unique.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

/// A user with what proves who they are.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The password's argon2 hash (PHC string); without one, they cannot sign in with a password.
    pub password_hash: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A role given to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleBinding {
    /// Its identifier.
    pub id: RoleBindingId,
    /// The organisation it belongs to; none if its scope is global.
    pub organization: Option<OrganizationId>,
    /// The user.
    pub user: UserId,
    /// The role and where it holds.
    pub grant: Grant,
    /// When it was given.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<UserId>,
}

impl From<users::Model> for User {
    fn from(row: users::Model) -> Self {
        Self {
            id: UserId(row.id),
            organization: OrganizationId(row.organization_id),
            email: row.email,
            name: row.name,
            disabled: row.disabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

impl From<users::Model> for Credentials {
    fn from(mut row: users::Model) -> Self {
        Self {
            password_hash: row.password_hash.take(),
            user: row.into(),
        }
    }
}

fn binding(row: role_bindings::Model) -> Result<RoleBinding> {
    let role: Role = word(&row.role)?;
    let id = Some(row.scope_id).filter(|id| !id.is_nil());
    let scope = Scope::from_parts(&row.scope_kind, id)
        .ok_or_else(|| Error::internal(format!("unknown scope {}", row.scope_kind)))?;
    Ok(RoleBinding {
        id: RoleBindingId(row.id),
        organization: row.organization_id.map(OrganizationId),
        user: UserId(row.user_id),
        grant: Grant { role, scope },
        created_at: row.created_at,
        created_by: row.created_by.map(UserId),
    })
}

const SORTING: Sorting<users::Column> = Sorting {
    fields: &[
        ("email", users::Column::Email),
        ("name", users::Column::Name),
        ("created_at", users::Column::CreatedAt),
        ("updated_at", users::Column::UpdatedAt),
    ],
    default: "email",
    id: users::Column::Id,
};

const BINDING_SORTING: Sorting<role_bindings::Column> = Sorting {
    fields: &[("created_at", role_bindings::Column::CreatedAt)],
    default: "created_at",
    id: role_bindings::Column::Id,
};

/// Users and their role bindings.
#[derive(Debug)]
pub struct Users<'c, C>(pub(crate) &'c C);

impl<C: Connection> Users<'_, C> {
    /// A user of the organisation.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, id: UserId) -> Result<Option<User>> {
        Ok(self
            .credentials(tenant, id)
            .await?
            .map(|credentials| credentials.user))
    }

    /// A user of the organisation, with their password's hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn credentials(&self, tenant: Tenant, id: UserId) -> Result<Option<Credentials>> {
        let row = users::Entity::find_by_id(id.0)
            .filter(users::Column::OrganizationId.eq(tenant.uuid()))
            .one(&self.0.db())
            .await?;
        Ok(row.map(Credentials::from))
    }

    /// The user with an e-mail address, whatever the case of its letters: at login, the organisation is not
    /// known yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn by_email(&self, _: AllTenants, email: &str) -> Result<Option<Credentials>> {
        let select = users::Entity::find().filter(users::Column::Email.eq(lower(email)));
        Ok(select.one(&self.0.db()).await?.map(Credentials::from))
    }

    /// The users; sorted by `email`, `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(&self, tenant: Tenant, q: Option<&str>, request: &PageRequest) -> Result<Page<User>> {
        let mut select = users::Entity::find().filter(users::Column::OrganizationId.eq(tenant.uuid()));
        if let Some(q) = q {
            let found = Condition::any()
                .add(page::contains(users::Column::Email, q))
                .add(page::contains(users::Column::Name, q));
            select = select.filter(found);
        }
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(|row| Ok(row.into()))
    }

    /// How many users there are.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count(&self, _: AllTenants) -> Result<u64> {
        Ok(users::Entity::find().count(&self.0.db()).await?)
    }

    /// All that a user was granted, at every scope.
    ///
    /// # Errors
    /// The database fails.
    pub async fn grants(&self, _: AllTenants, user: UserId) -> Result<Vec<Grant>> {
        let rows = role_bindings::Entity::find()
            .filter(role_bindings::Column::UserId.eq(user.0))
            .order_by_asc(role_bindings::Column::Id)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(|row| Ok(binding(row)?.grant)).collect()
    }

    /// A role binding of the organisation.
    ///
    /// # Errors
    /// The database fails.
    pub async fn binding(&self, tenant: Tenant, id: RoleBindingId) -> Result<Option<RoleBinding>> {
        let row = role_bindings::Entity::find_by_id(id.0)
            .filter(role_bindings::Column::OrganizationId.eq(tenant.uuid()))
            .one(&self.0.db())
            .await?;
        row.map(binding).transpose()
    }

    /// The role bindings of the organisation, of one user if given; sorted by `created_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn bindings(
        &self,
        tenant: Tenant,
        user: Option<UserId>,
        request: &PageRequest,
    ) -> Result<Page<RoleBinding>> {
        let mut select =
            role_bindings::Entity::find().filter(role_bindings::Column::OrganizationId.eq(tenant.uuid()));
        if let Some(user) = user {
            select = select.filter(role_bindings::Column::UserId.eq(user.0));
        }
        page::fetch(self.0, select, &BINDING_SORTING, request)
            .await?
            .try_map(binding)
    }
}

impl Users<'_, WriteTx> {
    /// Adds a user; the e-mail address is kept in lower case.
    ///
    /// # Errors
    /// [`Unique::UserEmail`](crate::Unique::UserEmail), or the database fails.
    pub async fn insert(&self, user: &User, password_hash: Option<&str>) -> Result<()> {
        let row = users::ActiveModel {
            id: Set(user.id.0),
            organization_id: Set(user.organization.0),
            email: Set(lower(&user.email)),
            name: Set(user.name.clone()),
            password_hash: Set(password_hash.map(str::to_owned)),
            disabled: Set(user.disabled),
            created_at: Set(user.created_at),
            updated_at: Set(user.updated_at),
            revision: Set(user.revision),
        };
        users::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Writes a user's e-mail address, name and `disabled`, if they are still at `user.revision`, and the
    /// password's hash if one is given. Returns the user as they are now.
    ///
    /// # Errors
    /// Not found, [`Unique::UserEmail`](crate::Unique::UserEmail), a stale revision, or the database fails.
    pub async fn update(&self, user: &User, password_hash: Option<&str>, at: Timestamp) -> Result<User> {
        let tenant = Tenant(user.organization);
        let mut update = users::Entity::update_many()
            .col_expr(users::Column::Email, Expr::value(lower(&user.email)))
            .col_expr(users::Column::Name, Expr::value(user.name.as_str()))
            .col_expr(users::Column::Disabled, Expr::value(user.disabled))
            .col_expr(users::Column::UpdatedAt, Expr::value(at))
            .col_expr(users::Column::Revision, Expr::value(user.revision + 1));
        if let Some(hash) = password_hash {
            update = update.col_expr(users::Column::PasswordHash, Expr::value(hash));
        }
        let done = update
            .filter(users::Column::Id.eq(user.id.0))
            .filter(users::Column::OrganizationId.eq(tenant.uuid()))
            .filter(users::Column::Revision.eq(user.revision))
            .exec(&self.0.db())
            .await?;
        let current = self.find(tenant, user.id).await?.ok_or(Error::NotFound("user"))?;
        if done.rows_affected == 0 {
            return Err(Error::StaleRevision {
                current: current.revision,
            });
        }
        Ok(current)
    }

    /// Removes a user and all their role bindings. Returns whether there was one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, tenant: Tenant, id: UserId) -> Result<bool> {
        let done = users::Entity::delete_many()
            .filter(users::Column::Id.eq(id.0))
            .filter(users::Column::OrganizationId.eq(tenant.uuid()))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Gives a role.
    ///
    /// # Errors
    /// [`Unique::RoleBinding`](crate::Unique::RoleBinding), or the database fails.
    pub async fn insert_binding(&self, binding: &RoleBinding) -> Result<()> {
        let scope = binding.grant.scope;
        let row = role_bindings::ActiveModel {
            id: Set(binding.id.0),
            organization_id: Set(binding.organization.map(|id| id.0)),
            user_id: Set(binding.user.0),
            role: Set(binding.grant.role.to_string()),
            scope_kind: Set(scope.kind().to_owned()),
            scope_id: Set(scope.id().unwrap_or(Uuid::nil())),
            created_at: Set(binding.created_at),
            created_by: Set(binding.created_by.map(|id| id.0)),
        };
        role_bindings::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Takes a role back. Returns whether there was such a binding in the organisation.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_binding(&self, tenant: Tenant, id: RoleBindingId) -> Result<bool> {
        let done = role_bindings::Entity::delete_many()
            .filter(role_bindings::Column::Id.eq(id.0))
            .filter(role_bindings::Column::OrganizationId.eq(tenant.uuid()))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }
}

fn lower(email: &str) -> String {
    email.trim().to_lowercase()
}
