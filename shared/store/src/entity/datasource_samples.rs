//! A saved payload, without its bytes.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "datasource_samples")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    pub name: String,
    pub content_type: Option<String>,
    pub note: Option<String>,
    pub origin: String,
    pub origin_id: Option<String>,
    pub size: i64,
    pub created_kind: String,
    pub created_by: Option<Uuid>,
    pub created_name: String,
    pub created_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
