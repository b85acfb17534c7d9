//! Alerts, entities, relationships, and the ledger of what was applied.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    // `fields` holds all values of the merged object, `stamps` the stamp of each; the columns beside them are
    // what lists are filtered and sorted by.
    "CREATE TABLE alerts (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL,
        external_id TEXT NOT NULL,
        title TEXT NOT NULL,
        time {time} NOT NULL,
        severity TEXT NOT NULL,
        status TEXT NOT NULL,
        fields TEXT NOT NULL,
        stamps TEXT NOT NULL,
        provenance TEXT NOT NULL,
        first_seen {time} NOT NULL,
        last_seen {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE INDEX alerts_time ON alerts (organization_id, time, id)",
    "CREATE INDEX alerts_datasource ON alerts (organization_id, datasource_id, time, id)",
    "CREATE INDEX alerts_severity ON alerts (organization_id, severity, time, id)",
    // Entities are found by type and key through their identifier; long keys would not fit an index.
    "CREATE TABLE entities (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL,
        type TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT,
        fields TEXT NOT NULL,
        stamps TEXT NOT NULL,
        provenance TEXT NOT NULL,
        first_seen {time} NOT NULL,
        last_seen {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE INDEX entities_seen ON entities (organization_id, last_seen, id)",
    "CREATE INDEX entities_key ON entities (organization_id, substr(key, 1, 64))",
    "CREATE TABLE relationships (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL,
        type TEXT NOT NULL,
        source_id {uuid} NOT NULL,
        source_type TEXT NOT NULL,
        source_key TEXT NOT NULL,
        target_id {uuid} NOT NULL,
        target_type TEXT NOT NULL,
        target_key TEXT NOT NULL,
        fields TEXT NOT NULL,
        stamps TEXT NOT NULL,
        provenance TEXT NOT NULL,
        first_seen {time} NOT NULL,
        last_seen {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE INDEX relationships_seen ON relationships (organization_id, last_seen, id)",
    "CREATE INDEX relationships_source ON relationships (source_id)",
    "CREATE INDEX relationships_target ON relationships (target_id)",
    // No version in the key: whichever version comes first decides about a record. The event comes first,
    // because a batch looks its events up by nothing else.
    "CREATE TABLE ledger (
        datasource_id {uuid} NOT NULL,
        event_id TEXT NOT NULL,
        attempt BIGINT NOT NULL,
        record_index BIGINT NOT NULL,
        version BIGINT NOT NULL,
        verdict TEXT NOT NULL,
        reason TEXT,
        at {time} NOT NULL,
        PRIMARY KEY (event_id, datasource_id, attempt, record_index)) {without_rowid}",
    "CREATE INDEX ledger_at ON ledger (at)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["ledger", "relationships", "entities", "alerts"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
