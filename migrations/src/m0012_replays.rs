//! Requests that dead letters be processed anew, and the dead letters that each of them sent on their way.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE replays (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        trace_id TEXT,
        summary TEXT NOT NULL,
        created_kind TEXT NOT NULL,
        created_by {uuid},
        created_name TEXT NOT NULL,
        created_at {time} NOT NULL)",
    "CREATE INDEX replays_datasource ON replays (organization_id, datasource_id, created_at, id)",
    // The attempt under which an event was sent is taken here, so that two replays of one event never share it.
    "CREATE TABLE replayed_records (
        datasource_id {uuid} NOT NULL,
        event_id TEXT NOT NULL,
        attempt BIGINT NOT NULL,
        record_index BIGINT NOT NULL,
        organization_id {uuid} NOT NULL,
        replay_id {uuid} NOT NULL REFERENCES replays (id),
        letter BIGINT NOT NULL,
        PRIMARY KEY (event_id, datasource_id, attempt, record_index)) {without_rowid}",
    "CREATE INDEX replayed_records_replay ON replayed_records (replay_id)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["replayed_records", "replays"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
