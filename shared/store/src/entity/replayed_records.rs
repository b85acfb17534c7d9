//! A record of a dead letter that a replay sent on its way.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "replayed_records")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub datasource_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_index: i64,
    pub organization_id: Uuid,
    pub replay_id: Uuid,
    pub letter: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
