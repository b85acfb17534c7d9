//! An encrypted secret.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "datasource_secrets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    pub name: String,
    pub version: i64,
    pub state: String,
    pub key_id: Option<Uuid>,
    pub ciphertext: Option<Vec<u8>>,
    pub created_at: DateTimeUtc,
    pub created_by: Option<Uuid>,
    pub rotated_at: Option<DateTimeUtc>,
    pub expires_at: Option<DateTimeUtc>,
    pub vault_version: Option<i64>,
    pub valid_until: Option<DateTimeUtc>,
    pub last_read_at: Option<DateTimeUtc>,
    pub expiry_notice: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
