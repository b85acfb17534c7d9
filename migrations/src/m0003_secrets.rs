//! Secrets and keys. Every value here is encrypted; the key that opens them is not in the database.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE tenant_keys (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        version BIGINT NOT NULL,
        wrapped {bytes} NOT NULL,
        wrapped_by TEXT NOT NULL,
        created_at {time} NOT NULL,
        retired_at {time})",
    "CREATE UNIQUE INDEX tenant_keys_version ON tenant_keys (organization_id, version)",
    "CREATE TABLE signing_keys (
        id TEXT NOT NULL PRIMARY KEY,
        purpose TEXT NOT NULL,
        public_key {bytes} NOT NULL,
        wrapped {bytes} NOT NULL,
        wrapped_by TEXT NOT NULL,
        created_at {time} NOT NULL,
        retired_at {time})",
    "CREATE TABLE datasource_secrets (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        state TEXT NOT NULL,
        key_id {uuid} NOT NULL,
        ciphertext {bytes} NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid},
        rotated_at {time},
        expires_at {time})",
    "CREATE UNIQUE INDEX datasource_secrets_version ON datasource_secrets (datasource_id, name, version)",
    "CREATE INDEX datasource_secrets_organization ON datasource_secrets (organization_id, datasource_id)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["datasource_secrets", "signing_keys", "tenant_keys"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
