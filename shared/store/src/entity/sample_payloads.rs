//! A saved payload's bytes.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sample_payloads")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sample_id: Uuid,
    pub organization_id: Uuid,
    pub payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
