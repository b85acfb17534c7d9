//! Users.

use halcyon_domain::{
    clock::Timestamp,
    id::{OrganizationId, UserId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, Select,
    sea_query::{Condition, Expr, LockType},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::users,
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    tenant::{AllTenants, Tenant},
};

/// A user, without their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their identifier.
    pub id: UserId,
    /// The organisation they belong to.
    pub organization: OrganizationId,
    /// Their e-mail address, in lower case; unique among local users.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// Whose word it is that they are who they are; nothing for local users, who have passwords.
    pub external: Option<ExternalIdentity>,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

/// Who somebody is to another issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The issuer.
    pub issuer: String,
    /// What it calls them.
    pub subject: String,
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

impl From<users::Model> for User {
    fn from(row: users::Model) -> Self {
        Self {
            id: UserId(row.id),
            organization: OrganizationId(row.organization_id),
            email: row.email,
            name: row.name,
            disabled: row.disabled,
            external: row
                .issuer
                .zip(row.subject)
                .map(|(issuer, subject)| ExternalIdentity { issuer, subject }),
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

fn of(tenant: Tenant) -> Select<users::Entity> {
    users::Entity::find()
        .filter(users::Column::OrganizationId.eq(tenant.uuid()))
        .filter(users::Column::DeletedAt.is_null())
}

/// Users.
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
        let row = of(tenant)
            .filter(users::Column::Id.eq(id.0))
            .one(&self.0.db())
            .await?;
        Ok(row.map(Credentials::from))
    }

    /// A user, whichever organisation they belong to.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_any(&self, tenants: AllTenants, id: UserId) -> Result<Option<User>> {
        Ok(self.find_many(tenants, &[id]).await?.into_iter().next())
    }

    /// Those of the users that there are, whichever organisation they belong to, in no order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_many(&self, _: AllTenants, ids: &[UserId]) -> Result<Vec<User>> {
        let some = users::Entity::find()
            .filter(users::Column::Id.is_in(ids.iter().map(|id| id.0)))
            .filter(users::Column::DeletedAt.is_null());
        let rows = some.all(&self.0.db()).await?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    /// The local user with an e-mail address, whatever the case of its letters: at login, the organisation is not
    /// known yet. What another issuer says of its users' addresses does not count.
    ///
    /// # Errors
    /// The database fails.
    pub async fn by_email(&self, _: AllTenants, email: &str) -> Result<Option<Credentials>> {
        let select = users::Entity::find()
            .filter(users::Column::Email.eq(lower(email)))
            .filter(users::Column::Issuer.is_null())
            .filter(users::Column::DeletedAt.is_null());
        Ok(select.one(&self.0.db()).await?.map(Credentials::from))
    }

    /// The user whom another issuer calls so; a token of it names no user of ours. One that was deleted is found,
    /// too: disabled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn by_identity(&self, _: AllTenants, identity: &ExternalIdentity) -> Result<Option<User>> {
        let select = users::Entity::find()
            .filter(users::Column::Issuer.eq(identity.issuer.as_str()))
            .filter(users::Column::Subject.eq(identity.subject.as_str()));
        Ok(select.one(&self.0.db()).await?.map(User::from))
    }

    /// The users; sorted by `email`, `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(&self, tenant: Tenant, q: Option<&str>, request: &PageRequest) -> Result<Page<User>> {
        let mut select = of(tenant);
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

    /// How many users there are, deleted ones too.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count(&self, _: AllTenants) -> Result<u64> {
        Ok(users::Entity::find().count(&self.0.db()).await?)
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
            issuer: Set(user.external.as_ref().map(|known| known.issuer.clone())),
            subject: Set(user.external.as_ref().map(|known| known.subject.clone())),
            created_at: Set(user.created_at),
            updated_at: Set(user.updated_at),
            revision: Set(user.revision),
            deleted_at: Set(None),
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
            .filter(users::Column::DeletedAt.is_null())
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

    /// A user, kept from changing until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lock(&self, tenant: Tenant, id: UserId) -> Result<Option<User>> {
        let row = of(tenant)
            .filter(users::Column::Id.eq(id.0))
            .lock(LockType::Update)
            .one(&self.0.db())
            .await?;
        Ok(row.map(User::from))
    }

    /// Deletes a user who is still at `user.revision`, softly: the row stays for what names it, without the
    /// password's hash; no finder gives it, and the e-mail address is free again.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn delete(&self, user: &User, at: Timestamp) -> Result<()> {
        let tenant = Tenant(user.organization);
        let done = users::Entity::update_many()
            .col_expr(users::Column::PasswordHash, Expr::value(None::<String>))
            .col_expr(users::Column::Disabled, Expr::value(true))
            .col_expr(users::Column::UpdatedAt, Expr::value(at))
            .col_expr(users::Column::Revision, Expr::value(user.revision + 1))
            .col_expr(users::Column::DeletedAt, Expr::value(at))
            .filter(users::Column::Id.eq(user.id.0))
            .filter(users::Column::OrganizationId.eq(tenant.uuid()))
            .filter(users::Column::DeletedAt.is_null())
            .filter(users::Column::Revision.eq(user.revision))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.find(tenant, user.id).await?.ok_or(Error::NotFound("user"))?;
        Err(Error::StaleRevision {
            current: current.revision,
        })
    }
}

fn lower(email: &str) -> String {
    email.trim().to_lowercase()
}
