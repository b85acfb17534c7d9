//! A request to fetch a past range of a feed again.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "backfills")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub organization_id: Uuid,
    pub datasource_id: Uuid,
    pub number: i64,
    pub range_from: DateTimeUtc,
    pub range_to: DateTimeUtc,
    pub records_per_second: Option<i64>,
    pub comment: Option<String>,
    pub status: String,
    pub progress: String,
    pub message: Option<String>,
    pub worker_id: Option<Uuid>,
    pub created_kind: String,
    pub created_by: Option<Uuid>,
    pub created_name: String,
    pub created_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub finished_at: Option<DateTimeUtc>,
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
