//! A remark on a version.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "version_comments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    pub number: i64,
    pub approval_id: Option<Uuid>,
    pub thread_id: Uuid,
    pub reply_to: Option<Uuid>,
    pub pointer: Option<String>,
    pub body: String,
    pub author_kind: String,
    pub author_id: Option<Uuid>,
    pub author_name: String,
    pub created_at: DateTimeUtc,
    pub edited_at: Option<DateTimeUtc>,
    pub deleted_at: Option<DateTimeUtc>,
    pub resolved_at: Option<DateTimeUtc>,
    pub resolved_kind: Option<String>,
    pub resolved_by: Option<Uuid>,
    pub resolved_name: Option<String>,
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
