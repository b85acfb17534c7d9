//! A merged alert.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    pub external_id: String,
    pub title: String,
    pub time: DateTimeUtc,
    pub severity: String,
    pub status: String,
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
