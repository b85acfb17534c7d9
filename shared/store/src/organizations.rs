//! Organisations.

use halcyon_domain::{clock::Timestamp, id::OrganizationId, organization::ApprovalPolicy};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::organizations::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::word,
    tenant::{AllTenants, Tenant},
};

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its identifier.
    pub id: OrganizationId,
    /// Its name, unique.
    pub name: String,
    /// Whether what is to be published needs an approval, where a project does not say otherwise.
    pub approval_policy: ApprovalPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows with every change.
    pub revision: i64,
}

fn organization(row: Model) -> Result<Organization> {
    Ok(Organization {
        id: OrganizationId(row.id),
        name: row.name,
        approval_policy: word(&row.approval_policy)?,
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

/// Organisations and projects.
#[derive(Debug)]
pub struct Organizations<'c, C>(pub(crate) &'c C);

impl<C: Connection> Organizations<'_, C> {
    /// The tenant itself; none if it was deleted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant) -> Result<Option<Organization>> {
        let row = Entity::find_by_id(tenant.uuid())
            .filter(Column::DeletedAt.is_null())
            .one(&self.0.db())
            .await?;
        row.map(organization).transpose()
    }

    /// The organisations, or those of `only`; sorted by `name`, `created_at` or `updated_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        _: AllTenants,
        only: Option<&[OrganizationId]>,
        q: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Organization>> {
        let mut select = Entity::find().filter(Column::DeletedAt.is_null());
        if let Some(only) = only {
            select = select.filter(Column::Id.is_in(only.iter().map(|id| id.0)));
        }
        if let Some(q) = q {
            select = select.filter(page::contains(Column::Name, q));
        }
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(organization)
    }
}

impl Organizations<'_, WriteTx> {
    /// Adds an organisation.
    ///
    /// # Errors
    /// [`Unique::OrganizationName`](crate::Unique::OrganizationName), or the database fails.
    pub async fn insert(&self, organization: &Organization) -> Result<()> {
        let row = ActiveModel {
            id: Set(organization.id.0),
            name: Set(organization.name.clone()),
            created_at: Set(organization.created_at),
            updated_at: Set(organization.updated_at),
            revision: Set(organization.revision),
            approval_policy: Set(organization.approval_policy.to_string()),
            deleted_at: Set(None),
        };
        Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        Ok(())
    }

    /// Writes the name and policy of an organisation that is still at `organization.revision`. Returns it as it
    /// is now.
    ///
    /// # Errors
    /// Not found, [`Unique::OrganizationName`](crate::Unique::OrganizationName), a stale revision, or the
    /// database fails.
    pub async fn update(&self, organization: &Organization, at: Timestamp) -> Result<Organization> {
        self.write(organization, at, None).await?;
        Ok(Organization {
            updated_at: at,
            revision: organization.revision + 1,
            ..organization.clone()
        })
    }

    /// Deletes an organisation that is still at `organization.revision`, softly: its row stays, no finder gives
    /// it.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn delete(&self, organization: &Organization, at: Timestamp) -> Result<()> {
        self.write(organization, at, Some(at)).await
    }

    async fn write(
        &self,
        organization: &Organization,
        at: Timestamp,
        deleted_at: Option<Timestamp>,
    ) -> Result<()> {
        let tenant = Tenant(organization.id);
        let done = Entity::update_many()
            .col_expr(Column::Name, Expr::value(organization.name.as_str()))
            .col_expr(
                Column::ApprovalPolicy,
                Expr::value(organization.approval_policy.as_str()),
            )
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Revision, Expr::value(organization.revision + 1))
            .col_expr(Column::DeletedAt, Expr::value(deleted_at))
            .filter(Column::Id.eq(tenant.uuid()))
            .filter(Column::DeletedAt.is_null())
            .filter(Column::Revision.eq(organization.revision))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(());
        }
        let current = self.find(tenant).await?.ok_or(Error::NotFound("organisation"))?;
        Err(Error::StaleRevision {
            current: current.revision,
        })
    }
}
