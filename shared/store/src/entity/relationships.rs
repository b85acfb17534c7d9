//! A merged relationship.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "relationships")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    #[sea_orm(column_name = "type")]
    pub kind: String,
    pub source_id: Uuid,
    pub source_type: String,
    pub source_key: String,
    pub target_id: Uuid,
    pub target_type: String,
    pub target_key: String,
    pub fields: String,
    pub stamps: String,
    pub provenance: String,
    pub first_seen: DateTimeUtc,
    pub last_seen: DateTimeUtc,
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
