//! Datasources: what their admins wrote and decided.

use halcyon_domain::{
    clock::Timestamp,
    datasource::Datasource,
    id::{ActorId, DatasourceId, OrganizationId, ProjectId},
    lifecycle::DatasourceStatus,
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, ExprTrait, LockType},
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasources::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{optional_number, word},
    tenant::{AllTenants, Tenant},
};

/// Which datasources a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasourceFilter {
    /// The admins' status.
    pub status: Option<DatasourceStatus>,
    /// The connector's type.
    pub connector: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// A tag it has.
    pub tag: Option<String>,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Its environment.
    pub env: Option<String>,
    /// Text in its name or description, whatever the case of its letters.
    pub q: Option<String>,
    /// What the asker may see, when that is not the whole organisation.
    pub visible: Option<Visibility>,
}

/// The parts of an organisation that a role holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Whole projects.
    pub projects: Vec<ProjectId>,
    /// Single datasources.
    pub datasources: Vec<DatasourceId>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[
        ("updated_at", Column::UpdatedAt),
        ("created_at", Column::CreatedAt),
        ("name", Column::Name),
        ("status", Column::Status),
        ("type", Column::Connector),
    ],
    default: "-updated_at",
    id: Column::Id,
};

fn datasource(row: Model) -> Result<Datasource> {
    Ok(Datasource {
        id: DatasourceId(row.id),
        organization: OrganizationId(row.organization_id),
        project: row.project_id.map(ProjectId),
        name: row.name,
        connector: row.connector,
        description: row.description,
        tags: serde_json::from_value(row.tags).map_err(Error::internal)?,
        owner: row.owner,
        env: row.env,
        status: word(&row.status)?,
        desired_state: word(&row.desired_state)?,
        current_version: optional_number(row.current_version)?,
        draft_version: optional_number(row.draft_version)?,
        generation: row.generation,
        revision: row.revision,
        created_at: row.created_at,
        created_by: row.created_by.map(ActorId),
        updated_at: row.updated_at,
        updated_by: row.updated_by.map(ActorId),
    })
}

fn row(datasource: &Datasource) -> ActiveModel {
    ActiveModel {
        id: Set(datasource.id.0),
        organization_id: Set(datasource.organization.0),
        project_id: Set(datasource.project.map(|id| id.0)),
        name: Set(datasource.name.clone()),
        connector: Set(datasource.connector.clone()),
        description: Set(datasource.description.clone()),
        tags: Set(datasource.tags.as_slice().into()),
        owner: Set(datasource.owner.clone()),
        env: Set(datasource.env.clone()),
        status: Set(datasource.status.to_string()),
        desired_state: Set(datasource.desired_state.to_string()),
        current_version: Set(datasource.current_version.map(i64::from)),
        draft_version: Set(datasource.draft_version.map(i64::from)),
        generation: Set(datasource.generation),
        revision: Set(datasource.revision),
        created_at: Set(datasource.created_at),
        created_by: Set(datasource.created_by.map(|id| id.0)),
        updated_at: Set(datasource.updated_at),
        updated_by: Set(datasource.updated_by.map(|id| id.0)),
        deleted_at: Set(None),
    }
}

fn filtered(tenant: Tenant, filter: &DatasourceFilter, backend: DbBackend) -> Condition {
    let mut all = Condition::all()
        .add(Column::OrganizationId.eq(tenant.uuid()))
        .add(Column::DeletedAt.is_null())
        .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
        .add_option(
            filter
                .connector
                .as_deref()
                .map(|connector| Column::Connector.eq(connector)),
        )
        .add_option(filter.owner.as_deref().map(|owner| Column::Owner.eq(owner)))
        .add_option(filter.project.map(|project| Column::ProjectId.eq(project.0)))
        .add_option(filter.env.as_deref().map(|env| Column::Env.eq(env)));
    if let Some(tag) = &filter.tag {
        all = all.add(match backend {
            DbBackend::Postgres => Expr::cust_with_values("tags @> to_jsonb($1::text)", [tag.as_str()]),
            _ => Expr::cust_with_values(
                "EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.value = ?)",
                [tag.as_str()],
            ),
        });
    }
    if let Some(q) = &filter.q {
        let found = Condition::any()
            .add(page::contains(Column::Name, q))
            .add(page::contains(Column::Description, q));
        all = all.add(found);
    }
    if let Some(visible) = &filter.visible {
        let seen = Condition::any()
            .add(Column::ProjectId.is_in(visible.projects.iter().map(|id| id.0)))
            .add(Column::Id.is_in(visible.datasources.iter().map(|id| id.0)));
        all = all.add(seen);
    }
    all
}

/// Datasources.
#[derive(Debug)]
pub struct Datasources<'c, C>(pub(crate) &'c C);

impl<C: Connection> Datasources<'_, C> {
    /// A datasource that was not deleted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, id: DatasourceId) -> Result<Option<Datasource>> {
        select(tenant, id)
            .one(&self.0.db())
            .await?
            .map(datasource)
            .transpose()
    }

    /// Those of these datasources that are there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_many(&self, tenant: Tenant, ids: &[DatasourceId]) -> Result<Vec<Datasource>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)));
        found
            .all(&self.0.db())
            .await?
            .into_iter()
            .map(datasource)
            .collect()
    }

    /// A datasource that was not deleted, whoever's it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_any(&self, _: AllTenants, id: DatasourceId) -> Result<Option<Datasource>> {
        let found = Entity::find_by_id(id.0).filter(Column::DeletedAt.is_null());
        found.one(&self.0.db()).await?.map(datasource).transpose()
    }

    /// The datasource of a name in an environment.
    ///
    /// # Errors
    /// The database fails.
    pub async fn by_name(&self, tenant: Tenant, env: &str, name: &str) -> Result<Option<Datasource>> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Env.eq(env))
            .filter(Column::Name.eq(name))
            .filter(Column::DeletedAt.is_null());
        found.one(&self.0.db()).await?.map(datasource).transpose()
    }

    /// The datasources; sorted by `updated_at`, `created_at`, `name`, `status` or `type`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        filter: &DatasourceFilter,
        request: &PageRequest,
    ) -> Result<Page<Datasource>> {
        let select = Entity::find().filter(filtered(tenant, filter, self.0.db().get_database_backend()));
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(datasource)
    }

    /// Whether the organisation, or one project of it, has any datasource that was not deleted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn any_in(&self, tenant: Tenant, project: Option<ProjectId>) -> Result<bool> {
        let found = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Condition::all().add_option(project.map(|id| Column::ProjectId.eq(id.0))))
            .limit(1);
        Ok(found.one(&self.0.db()).await?.is_some())
    }

    /// All datasources that were not deleted, by identifier: the control plane reconciles all of them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(&self, _: AllTenants) -> Result<Vec<Datasource>> {
        let found = Entity::find()
            .filter(Column::DeletedAt.is_null())
            .order_by_asc(Column::Id);
        found
            .all(&self.0.db())
            .await?
            .into_iter()
            .map(datasource)
            .collect()
    }
}

fn select(tenant: Tenant, id: DatasourceId) -> Select<Entity> {
    Entity::find_by_id(id.0)
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DeletedAt.is_null())
}

impl Datasources<'_, WriteTx> {
    /// A datasource, kept from changing until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lock(&self, tenant: Tenant, id: DatasourceId) -> Result<Option<Datasource>> {
        select(tenant, id)
            .lock(LockType::Update)
            .one(&self.0.db())
            .await?
            .map(datasource)
            .transpose()
    }

    /// Adds a datasource.
    ///
    /// # Errors
    /// [`Unique::DatasourceName`](crate::Unique::DatasourceName), or the database fails.
    pub async fn insert(&self, datasource: &Datasource) -> Result<()> {
        Entity::insert(row(datasource))
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Writes all that can change of a datasource that is still at `datasource.revision`. Returns it with the
    /// revision it has now; generation, `updated_at` and `updated_by` are the caller's to set.
    ///
    /// # Errors
    /// Not found, [`Unique::DatasourceName`](crate::Unique::DatasourceName), a stale revision, or the database
    /// fails.
    pub async fn update(&self, datasource: &Datasource) -> Result<Datasource> {
        let written = Datasource {
            revision: datasource.revision + 1,
            ..datasource.clone()
        };
        self.write(&written, None).await?;
        Ok(written)
    }

    /// Writes the new e-mail address of an owner wherever the old one stands.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rename_owner(&self, tenant: Tenant, old: &str, new: &str, at: Timestamp) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Owner, Expr::value(new))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Owner.eq(old))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }

    /// Deletes a datasource that is still at `datasource.revision`, softly: its rows stay, no finder gives it.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn delete(&self, datasource: &Datasource, at: Timestamp) -> Result<()> {
        let written = Datasource {
            status: DatasourceStatus::Archived,
            revision: datasource.revision + 1,
            generation: datasource.generation + 1,
            updated_at: at,
            ..datasource.clone()
        };
        self.write(&written, Some(at)).await
    }

    async fn write(&self, datasource: &Datasource, deleted_at: Option<Timestamp>) -> Result<()> {
        let tenant = Tenant(datasource.organization);
        let changed = ActiveModel {
            id: sea_orm::NotSet,
            organization_id: sea_orm::NotSet,
            created_at: sea_orm::NotSet,
            created_by: sea_orm::NotSet,
            deleted_at: Set(deleted_at),
            ..row(datasource)
        };
        let done = Entity::update_many()
            .set(changed)
            .filter(Column::Id.eq(datasource.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Revision.eq(datasource.revision - 1))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self
            .find(tenant, datasource.id)
            .await?
            .ok_or(Error::NotFound("datasource"))?;
        Err(Error::StaleRevision {
            current: current.revision,
        })
    }
}
