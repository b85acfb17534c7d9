//! Roles that were given to users and service accounts.

use halcyon_domain::{
    access::{Grant, Role, Scope, ScopeKind, Subject},
    clock::Timestamp,
    id::{ActorId, OrganizationId, RoleBindingId, ServiceAccountId, UserId},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Query, SelectStatement},
};
use uuid::Uuid;

use crate::{
    connection::WriteTx,
    datasources::Visibility,
    db::{Connection, Executes},
    entity::{
        datasources,
        role_bindings::{ActiveModel, Column, Entity, Model},
        users,
    },
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::word,
    tenant::{AllTenants, Tenant},
};

/// A role given to a user or a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleBinding {
    /// Its identifier.
    pub id: RoleBindingId,
    /// The organisation it belongs to; none if its scope is global.
    pub organization: Option<OrganizationId>,
    /// To whom.
    pub subject: Subject,
    /// The role and where it holds.
    pub grant: Grant,
    /// When it was given.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

/// Which role bindings a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingFilter {
    /// Whose.
    pub subject: Option<Subject>,
    /// The role.
    pub role: Option<Role>,
    /// The kind of scope.
    pub kind: Option<ScopeKind>,
    /// What the scope is of.
    pub scope_id: Option<Uuid>,
    /// Whether global ones count, which belong to no organisation.
    pub global: bool,
    /// Those at these projects, the datasources in them and these datasources, when the asker may not see the
    /// whole organisation's.
    pub visible: Option<Visibility>,
}

fn binding(row: Model) -> Result<RoleBinding> {
    let role: Role = word(&row.role)?;
    let kind: ScopeKind = word(&row.scope_kind)?;
    let id = Some(row.scope_id).filter(|id| !id.is_nil());
    let scope =
        Scope::from_parts(kind, id).ok_or_else(|| Error::internal("a role binding has no such scope"))?;
    let subject = match (row.user_id, row.service_account_id) {
        (Some(id), None) => Subject::User(UserId(id)),
        (None, Some(id)) => Subject::ServiceAccount(ServiceAccountId(id)),
        _ => return Err(Error::internal("a role binding is for nobody, or for two")),
    };
    Ok(RoleBinding {
        id: RoleBindingId(row.id),
        organization: row.organization_id.map(OrganizationId),
        subject,
        grant: Grant { role, scope },
        created_at: row.created_at,
        created_by: row.created_by.map(ActorId),
        updated_at: row.updated_at,
        revision: row.revision,
    })
}

fn bindings(rows: Vec<Model>) -> Result<Vec<RoleBinding>> {
    rows.into_iter().map(binding).collect()
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("created_at", Column::CreatedAt)],
    default: "created_at",
    id: Column::Id,
};

fn is_of(subject: Subject) -> Expr {
    match subject {
        Subject::User(id) => Column::UserId.eq(id.0),
        Subject::ServiceAccount(id) => Column::ServiceAccountId.eq(id.0),
    }
}

/// Those of an organisation, with or without the global ones.
fn counts_in(tenant: Tenant, global: bool) -> Condition {
    Condition::any()
        .add(Column::OrganizationId.eq(tenant.uuid()))
        .add_option(global.then(|| Column::OrganizationId.is_null()))
}

fn at(scope: Scope) -> Condition {
    Condition::all()
        .add(Column::ScopeKind.eq(scope.kind().as_str()))
        .add(Column::ScopeId.eq(scope.id().unwrap_or(Uuid::nil())))
}

/// The datasources of a project, deleted ones too.
fn datasources_of(tenant: Tenant, projects: impl IntoIterator<Item = Uuid>) -> SelectStatement {
    Query::select()
        .column(datasources::Column::Id)
        .from(datasources::Entity)
        .and_where(datasources::Column::OrganizationId.eq(tenant.uuid()))
        .and_where(datasources::Column::ProjectId.is_in(projects))
        .to_owned()
}

fn filtered(tenant: Tenant, filter: &BindingFilter) -> Condition {
    let visible = filter.visible.as_ref().map(|visible| {
        let projects = || visible.projects.iter().map(|id| id.0);
        let datasource = Condition::all()
            .add(Column::ScopeKind.eq(ScopeKind::Datasource.as_str()))
            .add(
                Condition::any()
                    .add(Column::ScopeId.is_in(visible.datasources.iter().map(|id| id.0)))
                    .add(Column::ScopeId.in_subquery(datasources_of(tenant, projects()))),
            );
        let project = Condition::all()
            .add(Column::ScopeKind.eq(ScopeKind::Project.as_str()))
            .add(Column::ScopeId.is_in(projects()));
        Condition::any().add(project).add(datasource)
    });
    Condition::all()
        .add(counts_in(tenant, filter.global))
        .add_option(filter.subject.map(is_of))
        .add_option(filter.role.map(|role| Column::Role.eq(role.as_str())))
        .add_option(filter.kind.map(|kind| Column::ScopeKind.eq(kind.as_str())))
        .add_option(filter.scope_id.map(|id| Column::ScopeId.eq(id)))
        .add_option(visible)
}

/// Roles that were given.
#[derive(Debug)]
pub struct RoleBindings<'c, C>(pub(crate) &'c C);

impl<C: Connection> RoleBindings<'_, C> {
    /// All that somebody was given, at every scope and in every organisation.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of(&self, _: AllTenants, subject: Subject) -> Result<Vec<RoleBinding>> {
        let rows = Entity::find()
            .filter(is_of(subject))
            .order_by_asc(Column::Id)
            .all(&self.0.db())
            .await?;
        bindings(rows)
    }

    /// A role binding of the organisation, or a global one, which counts in every organisation.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, id: RoleBindingId) -> Result<Option<RoleBinding>> {
        let row = Entity::find_by_id(id.0)
            .filter(counts_in(tenant, true))
            .one(&self.0.db())
            .await?;
        row.map(binding).transpose()
    }

    /// The role bindings of the organisation; sorted by `created_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        filter: &BindingFilter,
        request: &PageRequest,
    ) -> Result<Page<RoleBinding>> {
        let select = Entity::find().filter(filtered(tenant, filter));
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(binding)
    }

    /// The users who can sign in and are admins everywhere.
    ///
    /// # Errors
    /// The database fails.
    pub async fn global_admins(&self, _: AllTenants) -> Result<Vec<UserId>> {
        self.admins(at(Scope::Global)).await
    }

    /// The users who can sign in and are admins of the organisation: by a role there, or, if they belong to it,
    /// everywhere.
    ///
    /// # Errors
    /// The database fails.
    pub async fn organization_admins(&self, tenant: Tenant) -> Result<Vec<UserId>> {
        let own = Query::select()
            .column(users::Column::Id)
            .from(users::Entity)
            .and_where(users::Column::OrganizationId.eq(tenant.uuid()))
            .to_owned();
        let global = at(Scope::Global).add(Column::UserId.in_subquery(own));
        let scopes = Condition::any()
            .add(at(Scope::Organization(tenant.0)))
            .add(global);
        self.admins(scopes).await
    }

    async fn admins(&self, scopes: Condition) -> Result<Vec<UserId>> {
        let enabled = Query::select()
            .column(users::Column::Id)
            .from(users::Entity)
            .and_where(users::Column::Disabled.eq(false))
            .and_where(users::Column::DeletedAt.is_null())
            .to_owned();
        let ids: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::UserId)
            .distinct()
            .filter(Column::Role.eq(Role::Admin.as_str()))
            .filter(scopes)
            .filter(Column::UserId.in_subquery(enabled))
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(ids.into_iter().map(UserId).collect())
    }
}

impl RoleBindings<'_, WriteTx> {
    /// Gives a role.
    ///
    /// # Errors
    /// [`Unique::RoleBinding`](crate::Unique::RoleBinding), or the database fails.
    pub async fn insert(&self, binding: &RoleBinding) -> Result<()> {
        let scope = binding.grant.scope;
        let row = ActiveModel {
            id: Set(binding.id.0),
            organization_id: Set(binding.organization.map(|id| id.0)),
            user_id: Set(binding.subject.user().map(|id| id.0)),
            service_account_id: Set(binding.subject.service_account().map(|id| id.0)),
            role: Set(binding.grant.role.to_string()),
            scope_kind: Set(scope.kind().to_string()),
            scope_id: Set(scope.id().unwrap_or(Uuid::nil())),
            created_at: Set(binding.created_at),
            created_by: Set(binding.created_by.map(|id| id.0)),
            updated_at: Set(binding.updated_at),
            revision: Set(binding.revision),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Writes the role of a binding that is still at `binding.revision`. Returns it as it is now.
    ///
    /// # Errors
    /// Not found, [`Unique::RoleBinding`](crate::Unique::RoleBinding), a stale revision, or the database fails.
    pub async fn update(&self, tenant: Tenant, binding: &RoleBinding, at: Timestamp) -> Result<RoleBinding> {
        let done = Entity::update_many()
            .col_expr(Column::Role, Expr::value(binding.grant.role.as_str()))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::value(binding.revision + 1))
            .filter(Column::Id.eq(binding.id.0))
            .filter(counts_in(tenant, true))
            .filter(Column::Revision.eq(binding.revision))
            .exec(&self.0.db())
            .await?;
        let current = self.find(tenant, binding.id).await?;
        let current = current.ok_or(Error::NotFound("role binding"))?;
        if done.rows_affected == 0 {
            return Err(Error::StaleRevision {
                current: current.revision,
            });
        }
        Ok(current)
    }

    /// Takes a role back. Returns whether there was such a binding, in the organisation or global.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, tenant: Tenant, id: RoleBindingId) -> Result<bool> {
        let done = Entity::delete_many()
            .filter(Column::Id.eq(id.0))
            .filter(counts_in(tenant, true))
            .exec(&self.0.db())
            .await?;
        Ok(done.rows_affected > 0)
    }

    /// Takes back all that somebody was given, wherever, and returns it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_of(&self, tenants: AllTenants, subject: Subject) -> Result<Vec<RoleBinding>> {
        let taken = self.of(tenants, subject).await?;
        Entity::delete_many()
            .filter(is_of(subject))
            .exec(&self.0.db())
            .await?;
        Ok(taken)
    }

    /// Takes back all that was given at a scope, and returns it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_at(&self, tenant: Tenant, scope: Scope) -> Result<Vec<RoleBinding>> {
        self.delete_where(Condition::all().add(counts_in(tenant, false)).add(at(scope)))
            .await
    }

    /// Takes back all that was given in an organisation, and returns it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_in(&self, tenant: Tenant) -> Result<Vec<RoleBinding>> {
        self.delete_where(counts_in(tenant, false)).await
    }

    async fn delete_where(&self, which: Condition) -> Result<Vec<RoleBinding>> {
        let rows = Entity::find()
            .filter(which.clone())
            .order_by_asc(Column::Id)
            .all(&self.0.db())
            .await?;
        Entity::delete_many().filter(which).exec(&self.0.db()).await?;
        bindings(rows)
    }
}
