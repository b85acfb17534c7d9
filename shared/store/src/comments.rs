//! What is said about versions.

use halcyon_domain::{
    comment::Comment,
    id::{ApprovalId, CommentId, DatasourceId},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, Select};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::version_comments::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{actor, number, optional_actor},
    tenant::Tenant,
};

/// Which comments a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommentFilter {
    /// Those on this version.
    pub version: Option<u32>,
    /// Those on this approval.
    pub approval: Option<ApprovalId>,
    /// Those of this thread.
    pub thread: Option<CommentId>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("created_at", Column::CreatedAt)],
    default: "created_at",
    id: Column::Id,
};

fn comment(row: Model) -> Result<Comment> {
    Ok(Comment {
        id: CommentId(row.id),
        datasource: DatasourceId(row.datasource_id),
        version: number(row.number)?,
        approval: row.approval_id.map(ApprovalId),
        thread: CommentId(row.thread_id),
        reply_to: row.reply_to.map(CommentId),
        pointer: row.pointer,
        body: row.body,
        author: actor(&row.author_kind, row.author_id, row.author_name)?,
        created_at: row.created_at,
        edited_at: row.edited_at,
        deleted_at: row.deleted_at,
        resolved_at: row.resolved_at,
        resolved_by: optional_actor(row.resolved_kind.as_deref(), row.resolved_by, row.resolved_name)?,
        revision: row.revision,
    })
}

fn row(tenant: Tenant, comment: &Comment) -> ActiveModel {
    let resolved = comment.resolved_by.as_ref();
    ActiveModel {
        id: Set(comment.id.0),
        organization_id: Set(tenant.uuid()),
        datasource_id: Set(comment.datasource.0),
        number: Set(i64::from(comment.version)),
        approval_id: Set(comment.approval.map(|id| id.0)),
        thread_id: Set(comment.thread.0),
        reply_to: Set(comment.reply_to.map(|id| id.0)),
        pointer: Set(comment.pointer.clone()),
        body: Set(comment.body.clone()),
        author_kind: Set(comment.author.kind.to_string()),
        author_id: Set(comment.author.id),
        author_name: Set(comment.author.name.clone()),
        created_at: Set(comment.created_at),
        edited_at: Set(comment.edited_at),
        deleted_at: Set(comment.deleted_at),
        resolved_at: Set(comment.resolved_at),
        resolved_kind: Set(resolved.map(|actor| actor.kind.to_string())),
        resolved_by: Set(resolved.and_then(|actor| actor.id)),
        resolved_name: Set(resolved.map(|actor| actor.name.clone())),
        revision: Set(comment.revision),
    }
}

fn of(tenant: Tenant, datasource: DatasourceId) -> Select<Entity> {
    Entity::find()
        .filter(Column::OrganizationId.eq(tenant.uuid()))
        .filter(Column::DatasourceId.eq(datasource.0))
}

/// What is said about versions.
#[derive(Debug)]
pub struct Comments<'c, C>(pub(crate) &'c C);

impl<C: Connection> Comments<'_, C> {
    /// A comment on a version of a datasource; one that was deleted, too.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        version: u32,
        id: CommentId,
    ) -> Result<Option<Comment>> {
        let select = of(tenant, datasource)
            .filter(Column::Number.eq(i64::from(version)))
            .filter(Column::Id.eq(id.0));
        select.one(&self.0.db()).await?.map(comment).transpose()
    }

    /// The comments on a datasource's versions; sorted by `created_at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        filter: &CommentFilter,
        request: &PageRequest,
    ) -> Result<Page<Comment>> {
        let wanted = Condition::all()
            .add_option(filter.version.map(|number| Column::Number.eq(i64::from(number))))
            .add_option(filter.approval.map(|id| Column::ApprovalId.eq(id.0)))
            .add_option(filter.thread.map(|id| Column::ThreadId.eq(id.0)));
        page::fetch(self.0, of(tenant, datasource).filter(wanted), &SORTING, request)
            .await?
            .try_map(comment)
    }

    /// How many comments a version has, deleted ones included.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count(&self, tenant: Tenant, datasource: DatasourceId, version: u32) -> Result<u64> {
        let select = of(tenant, datasource).filter(Column::Number.eq(i64::from(version)));
        Ok(select.count(&self.0.db()).await?)
    }
}

impl Comments<'_, WriteTx> {
    /// Adds a comment.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert(&self, tenant: Tenant, comment: &Comment) -> Result<()> {
        Entity::insert(row(tenant, comment))
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }

    /// Writes a comment that is still at `comment.revision`. Returns it with the revision it has now.
    ///
    /// # Errors
    /// Not found, a stale revision, or the database fails.
    pub async fn update(&self, tenant: Tenant, comment: &Comment) -> Result<Comment> {
        let written = Comment {
            revision: comment.revision + 1,
            ..comment.clone()
        };
        let done = Entity::update_many()
            .set(ActiveModel {
                id: sea_orm::NotSet,
                ..row(tenant, &written)
            })
            .filter(Column::Id.eq(comment.id.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Revision.eq(comment.revision))
            .exec(&self.0.db())
            .await?;
        if done.rows_affected > 0 {
            return Ok(written);
        }
        let current = self
            .find(tenant, comment.datasource, comment.version, comment.id)
            .await?;
        Err(
            current.map_or(Error::NotFound("comment"), |current| Error::StaleRevision {
                current: current.revision,
            }),
        )
    }
}
