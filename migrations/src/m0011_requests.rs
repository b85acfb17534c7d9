//! Requests with an `Idempotency-Key`: who runs one, whether it took effect, and what it was answered.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE idempotency_keys (
        organization_id {uuid} NOT NULL,
        subject_id {uuid} NOT NULL,
        idempotency_key TEXT NOT NULL,
        request_hash {bytes} NOT NULL,
        claim {uuid} NOT NULL,
        claimed_until {time} NOT NULL,
        committed_at {time},
        object TEXT,
        status BIGINT,
        headers TEXT,
        body {bytes},
        created_at {time} NOT NULL,
        PRIMARY KEY (organization_id, subject_id, idempotency_key))",
    "CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["idempotency_keys"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
