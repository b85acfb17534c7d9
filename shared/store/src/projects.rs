//! The projects of organisations.

use halcyon_domain::{
    clock::Timestamp,
    id::{OrganizationId, ProjectId},
    organization::ApprovalPolicy,
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select,
    sea_query::{Condition, Expr, ExprTrait, LockType},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::projects::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    organizations::Organizations,
    page::{self, Page, PageRequest, Sorting},
    rows::word,
    tenant::Tenant,
};

/// A project of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its identifier.
    pub id: ProjectId,
    /// Its organisation.
    pub organization: OrganizationId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether what is to be published needs an approval; without one, the organisation's policy holds.
    pub approval_policy: Option<ApprovalPolicy>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

fn project(row: Model) -> Result<Project> {
    Ok(Project {
        id: ProjectId(row.id),
        organization: OrganizationId(row.organization_id),
        name: row.name,
        description: row.description,
        approval_policy: row.approval_policy.as_deref().map(word).transpose()?,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: row.revision,
    })
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

impl<C: Connection> Organizations<'_, C> {
    /// A project.
    ///
    /// # Errors
    /// The database fails.
    pub async fn project(&self, tenant: Tenant, id: ProjectId) -> Result<Option<Project>> {
        let row = of(tenant).filter(Column::Id.eq(id.0)).one(&self.0.db()).await?;
        row.map(project).transpose()
    }

    /// A project by its name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn project_by_name(&self, tenant: Tenant, name: &str) -> Result<Option<Project>> {
        let row = of(tenant).filter(Column::Name.eq(name)).one(&self.0.db()).await?;
        row.map(project).transpose()
    }

    /// Those of the projects that there are, in no order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn projects_of(&self, tenant: Tenant, ids: &[ProjectId]) -> Result<Vec<Project>> {
        let some = of(tenant).filter(Column::Id.is_in(ids.iter().map(|id| id.0)));
        let rows = some.all(&self.0.db()).await?;
        rows.into_iter().map(project).collect()
    }

    /// The projects, or those of `only`; sorted by `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn projects(
        &self,
        tenant: Tenant,
        only: Option<&[ProjectId]>,
        q: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Project>> {
        let mut select = of(tenant);
        if let Some(only) = only {
            select = select.filter(Column::Id.is_in(only.iter().map(|id| id.0)));
        }
        if let Some(q) = q {
            let found = Condition::any()
                .add(page::contains(Column::Name, q))
                .add(page::contains(Column::Description, q));
            select = select.filter(found);
        }
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(project)
    }

    /// Whether what is published in a project, or in none, needs an approval.
    ///
    /// # Errors
    /// The database fails.
    pub async fn approval_policy(
        &self,
        tenant: Tenant,
        project: Option<ProjectId>,
    ) -> Result<ApprovalPolicy> {
        let own = match project {
            Some(id) => self
                .project(tenant, id)
                .await?
                .and_then(|project| project.approval_policy),
            None => None,
        };
        if let Some(own) = own {
            return Ok(own);
        }
        let organization = self.find(tenant).await?.ok_or(Error::NotFound("organisation"))?;
        Ok(organization.approval_policy)
    }
}

impl Organizations<'_, WriteTx> {
    /// A project, kept from changing until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lock_project(&self, tenant: Tenant, id: ProjectId) -> Result<Option<Project>> {
        let row = of(tenant)
            .filter(Column::Id.eq(id.0))
            .lock(LockType::Update)
            .one(&self.0.db())
            .await?;
        row.map(project).transpose()
    }

    /// Keeps a project from being deleted until the transaction ends. Returns whether there is one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn hold_project(&self, tenant: Tenant, id: ProjectId) -> Result<bool> {
        let row = of(tenant).filter(Column::Id.eq(id.0)).lock(LockType::Share);
        Ok(row.one(&self.0.db()).await?.is_some())
    }

    /// Adds a project.
    ///
    /// # Errors
    /// [`Unique::ProjectName`](crate::Unique::ProjectName), or the database fails.
    pub async fn insert_project(&self, project: &Project) -> Result<()> {
        let row = ActiveModel {
            id: Set(project.id.0),
            organization_id: Set(project.organization.0),
            name: Set(project.name.clone()),
            created_at: Set(project.created_at),
            updated_at: Set(project.updated_at),
            revision: Set(project.revision),
            description: Set(project.description.clone()),
            approval_policy: Set(project.approval_policy.map(|policy| policy.to_string())),
            deleted_at: Set(None),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Writes name, description and policy of a project that is still at `project.revision`. Returns the project
    /// as it is now.
    ///
    /// # Errors
    /// Not found, [`Unique::ProjectName`](crate::Unique::ProjectName), a stale revision, or the database fails.
    pub async fn update_project(&self, project: &Project, at: Timestamp) -> Result<Project> {
        self.write_project(project, at, None).await?;
        Ok(Project {
            updated_at: at,
            revision: project.revision + 1,
            ..project.clone()
        })
    }

    /// Deletes a project that is still at `project.revision`, softly: deleted datasources still name it.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn delete_project(&self, project: &Project, at: Timestamp) -> Result<()> {
        self.write_project(project, at, Some(at)).await
    }

    /// Deletes all projects of an organisation that is deleted itself.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_projects(&self, tenant: Tenant, at: Timestamp) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    async fn write_project(
        &self,
        project: &Project,
        at: Timestamp,
        deleted_at: Option<Timestamp>,
    ) -> Result<()> {
        let tenant = Tenant(project.organization);
        let policy = project.approval_policy.map(ApprovalPolicy::as_str);
        let done = Entity::update_many()
            .col_expr(Column::Name, Expr::value(project.name.as_str()))
            .col_expr(Column::Description, Expr::value(project.description.clone()))
            .col_expr(Column::ApprovalPolicy, Expr::value(policy))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::value(project.revision + 1))
            .col_expr(Column::DeletedAt, Expr::value(deleted_at))
            .filter(Column::Id.eq(project.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Revision.eq(project.revision))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.project(tenant, project.id).await?;
        Err(Error::StaleRevision {
            current: current.ok_or(Error::NotFound("project"))?.revision,
        })
    }
}
