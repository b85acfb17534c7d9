//! What a worker reached.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "datasource_state")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub datasource_id: Uuid,
    pub organization_id: Uuid,
    pub status: String,
    pub reason: String,
    pub message: Option<String>,
    pub observed_generation: i64,
    pub version: Option<i64>,
    pub last_good_version: Option<i64>,
    pub worker_id: Option<Uuid>,
    pub epoch: i64,
    pub last_heartbeat: Option<DateTimeUtc>,
    pub last_event_at: Option<DateTimeUtc>,
    pub restarts: i64,
    pub next_attempt_at: Option<DateTimeUtc>,
    pub schedule: Option<String>,
    pub error_code: Option<String>,
    pub metrics: String,
    pub updated_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
