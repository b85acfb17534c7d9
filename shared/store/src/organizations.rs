//! Organisations and their projects.

use halcyon_domain::{
    clock::Timestamp,
    id::{OrganizationId, ProjectId},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::Expr};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{organizations, projects},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    tenant::{AllTenants, Tenant},
};

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its identifier.
    pub id: OrganizationId,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

/// A project of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its identifier.
    pub id: ProjectId,
    /// Its organisation.
    pub organization: OrganizationId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

impl From<organizations::Model> for Organization {
    fn from(row: organizations::Model) -> Self {
        Self {
            id: OrganizationId(row.id),
            name: row.name,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

impl From<projects::Model> for Project {
    fn from(row: projects::Model) -> Self {
        Self {
            id: ProjectId(row.id),
            organization: OrganizationId(row.organization_id),
            name: row.name,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

const PROJECT_SORTING: Sorting<projects::Column> = Sorting {
    fields: &[
        ("name", projects::Column::Name),
        ("created_at", projects::Column::CreatedAt),
        ("updated_at", projects::Column::UpdatedAt),
    ],
    default: "name",
    id: projects::Column::Id,
};

/// Organisations and projects.
#[derive(Debug)]
pub struct Organizations<'c, C>(pub(crate) &'c C);

impl<C: Connection> Organizations<'_, C> {
    /// The tenant itself.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant) -> Result<Option<Organization>> {
        let row = organizations::Entity::find_by_id(tenant.uuid())
            .one(&self.0.db())
            .await?;
        Ok(row.map(Organization::from))
    }

    /// All organisations, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(&self, _: AllTenants) -> Result<Vec<Organization>> {
        let rows = organizations::Entity::find()
            .order_by_asc(organizations::Column::Name)
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(Organization::from).collect())
    }

    /// A project.
    ///
    /// # Errors
    /// The database fails.
    pub async fn project(&self, tenant: Tenant, id: ProjectId) -> Result<Option<Project>> {
        let row = projects::Entity::find_by_id(id.0)
            .filter(projects::Column::OrganizationId.eq(tenant.uuid()))
            .one(&self.0.db())
            .await?;
        Ok(row.map(Project::from))
    }

    /// A project by its name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn project_by_name(&self, tenant: Tenant, name: &str) -> Result<Option<Project>> {
        let row = projects::Entity::find()
            .filter(projects::Column::OrganizationId.eq(tenant.uuid()))
            .filter(projects::Column::Name.eq(name))
            .one(&self.0.db())
            .await?;
        Ok(row.map(Project::from))
    }

    /// The projects; sorted by `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn projects(&self, tenant: Tenant, request: &PageRequest) -> Result<Page<Project>> {
        let select = projects::Entity::find().filter(projects::Column::OrganizationId.eq(tenant.uuid()));
        page::fetch(self.0, select, &PROJECT_SORTING, request)
            .await?
            .try_map(|row| Ok(row.into()))
    }
}

impl Organizations<'_, WriteTx> {
    /// Adds an organisation.
    ///
    /// # Errors
    /// [`Unique::OrganizationName`](crate::Unique::OrganizationName), or the database fails.
    pub async fn insert(&self, organization: &Organization) -> Result<()> {
        let row = organizations::ActiveModel {
            id: Set(organization.id.0),
            name: Set(organization.name.clone()),
            created_at: Set(organization.created_at),
            updated_at: Set(organization.updated_at),
            revision: Set(organization.revision),
        };
        organizations::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Adds a project.
    ///
    /// # Errors
    /// [`Unique::ProjectName`](crate::Unique::ProjectName), or the database fails.
    pub async fn insert_project(&self, project: &Project) -> Result<()> {
        let row = projects::ActiveModel {
            id: Set(project.id.0),
            organization_id: Set(project.organization.0),
            name: Set(project.name.clone()),
            created_at: Set(project.created_at),
            updated_at: Set(project.updated_at),
            revision: Set(project.revision),
        };
        projects::Entity::insert(row)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Renames a project that is at `revision`. Returns the project as it is now.
    ///
    /// # Errors
    /// Not found, [`Unique::ProjectName`](crate::Unique::ProjectName), a stale revision, or the database fails.
    pub async fn rename_project(
        &self,
        tenant: Tenant,
        id: ProjectId,
        name: &str,
        revision: i64,
        at: Timestamp,
    ) -> Result<Project> {
        let done = projects::Entity::update_many()
            .col_expr(projects::Column::Name, Expr::value(name))
            .col_expr(projects::Column::UpdatedAt, Expr::value(at))
            .col_expr(projects::Column::Revision, Expr::value(revision + 1))
            .filter(projects::Column::Id.eq(id.0))
            .filter(projects::Column::OrganizationId.eq(tenant.uuid()))
            .filter(projects::Column::Revision.eq(revision))
            .exec(&self.0.db())
            .await?;
        let project = self
            .project(tenant, id)
            .await?
            .ok_or(Error::NotFound("project"))?;
        if done.rows_affected == 0 {
            return Err(Error::StaleRevision {
                current: project.revision,
            });
        }
        Ok(project)
    }
}
