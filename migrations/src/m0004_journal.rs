//! The outbox, and the audit trail that can only grow.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE outbox (
        position {serial},
        id {uuid} NOT NULL,
        topic TEXT NOT NULL,
        aggregate TEXT NOT NULL,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid},
        body TEXT NOT NULL,
        trace TEXT,
        created_at {time} NOT NULL)",
    "CREATE UNIQUE INDEX outbox_id ON outbox (id)",
    // The body is the text that was hashed, byte for byte; the other columns are for filters.
    "CREATE TABLE audit_entries (
        organization_id {uuid} NOT NULL,
        sequence BIGINT NOT NULL,
        id {uuid} NOT NULL,
        prev_hash {bytes} NOT NULL,
        hash {bytes} NOT NULL,
        at {time} NOT NULL,
        actor_id {uuid},
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        resource_kind TEXT NOT NULL,
        resource_id TEXT,
        body TEXT NOT NULL,
        PRIMARY KEY (organization_id, sequence))",
    "CREATE UNIQUE INDEX audit_entries_id ON audit_entries (organization_id, id)",
    "CREATE INDEX audit_entries_at ON audit_entries (organization_id, at)",
    "CREATE INDEX audit_entries_action ON audit_entries (organization_id, action, sequence)",
    "CREATE INDEX audit_entries_resource ON audit_entries (organization_id, resource_id, sequence)",
];

const SQLITE_TRIGGERS: &[&str] = &[
    "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
];

const POSTGRES_TRIGGERS: &[&str] = &[
    "CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$",
    "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await?;
        dialect::run_on_sqlite(manager, SQLITE_TRIGGERS).await?;
        dialect::run_on_postgres(manager, POSTGRES_TRIGGERS).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["audit_entries", "outbox"]).await?;
        dialect::run_on_postgres(manager, &["DROP FUNCTION audit_entries_refuse()"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
