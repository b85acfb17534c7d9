//! Runs by a schedule, and backfills.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "ALTER TABLE datasource_state ADD COLUMN schedule TEXT",
    "CREATE TABLE backfills (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        number BIGINT NOT NULL,
        range_from {time} NOT NULL,
        range_to {time} NOT NULL,
        records_per_second BIGINT,
        comment TEXT,
        status TEXT NOT NULL,
        progress TEXT NOT NULL,
        message TEXT,
        worker_id {uuid},
        created_kind TEXT NOT NULL,
        created_by {uuid},
        created_name TEXT NOT NULL,
        created_at {time} NOT NULL,
        started_at {time},
        finished_at {time},
        revision BIGINT NOT NULL)",
    "CREATE INDEX backfills_datasource ON backfills (organization_id, datasource_id, created_at, id)",
    "CREATE INDEX backfills_open ON backfills (created_at, id) WHERE status IN ('queued', 'running')",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["backfills"]).await?;
        dialect::run(manager, &["ALTER TABLE datasource_state DROP COLUMN schedule"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
