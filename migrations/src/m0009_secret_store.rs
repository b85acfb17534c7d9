//! Where a secret's value is kept, until when a replaced version is accepted, and what of it is still to be said
//! or wiped.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A value in Vault has neither data key nor ciphertext here.
const LOOSEN: &[&str] = &[
    "ALTER TABLE datasource_secrets ALTER COLUMN key_id DROP NOT NULL",
    "ALTER TABLE datasource_secrets ALTER COLUMN ciphertext DROP NOT NULL",
];

const TIGHTEN: &[&str] = &[
    "ALTER TABLE datasource_secrets ALTER COLUMN key_id SET NOT NULL",
    "ALTER TABLE datasource_secrets ALTER COLUMN ciphertext SET NOT NULL",
];

const UP: &[&str] = &[
    "ALTER TABLE datasource_secrets ADD COLUMN vault_version BIGINT",
    "ALTER TABLE datasource_secrets ADD COLUMN valid_until {time}",
    "ALTER TABLE datasource_secrets ADD COLUMN last_read_at {time}",
    "ALTER TABLE datasource_secrets ADD COLUMN expiry_notice BIGINT",
    "UPDATE datasource_secrets SET valid_until = expires_at, expires_at = NULL WHERE state = 'retiring'",
    "CREATE TABLE secret_backend (
        id BIGINT NOT NULL PRIMARY KEY,
        backend TEXT NOT NULL,
        changed_at {time} NOT NULL)",
    "CREATE TABLE secret_chores (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL,
        name TEXT NOT NULL,
        due_at {time} NOT NULL)",
    "CREATE INDEX secret_chores_due ON secret_chores (due_at)",
    "CREATE INDEX secret_chores_secret ON secret_chores (datasource_id, name)",
];

const DOWN: &[&str] = &[
    "DELETE FROM datasource_secrets WHERE ciphertext IS NULL",
    "UPDATE datasource_secrets SET expires_at = valid_until WHERE state = 'retiring'",
    "ALTER TABLE datasource_secrets DROP COLUMN vault_version",
    "ALTER TABLE datasource_secrets DROP COLUMN valid_until",
    "ALTER TABLE datasource_secrets DROP COLUMN last_read_at",
    "ALTER TABLE datasource_secrets DROP COLUMN expiry_notice",
];

/// SQLite changes no column's constraint: the table is made anew. `null` is `NOT NULL` or nothing.
fn rebuild(null: &str) -> Vec<String> {
    let table = format!(
        "CREATE TABLE datasource_secrets_new (
            id {{uuid}} NOT NULL PRIMARY KEY,
            organization_id {{uuid}} NOT NULL,
            datasource_id {{uuid}} NOT NULL REFERENCES datasources (id),
            name TEXT NOT NULL,
            version BIGINT NOT NULL,
            state TEXT NOT NULL,
            key_id {{uuid}} {null},
            ciphertext {{bytes}} {null},
            created_at {{time}} NOT NULL,
            created_by {{uuid}},
            rotated_at {{time}},
            expires_at {{time}})"
    );
    let rest = [
        "INSERT INTO datasource_secrets_new SELECT id, organization_id, datasource_id, name, version, state, key_id,
            ciphertext, created_at, created_by, rotated_at, expires_at FROM datasource_secrets",
        "DROP TABLE datasource_secrets",
        "ALTER TABLE datasource_secrets_new RENAME TO datasource_secrets",
        "CREATE UNIQUE INDEX datasource_secrets_version ON datasource_secrets (datasource_id, name, version)",
        "CREATE INDEX datasource_secrets_organization ON datasource_secrets (organization_id, datasource_id)",
    ];
    std::iter::once(table).chain(rest.map(str::to_owned)).collect()
}

async fn change_constraints(manager: &SchemaManager<'_>, postgres: &[&str], null: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        return dialect::run(manager, postgres).await;
    }
    let statements = rebuild(null);
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    dialect::run(manager, &statements).await
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        change_constraints(manager, LOOSEN, "").await?;
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::drop_tables(manager, &["secret_chores", "secret_backend"]).await?;
        dialect::run(manager, DOWN).await?;
        change_constraints(manager, TIGHTEN, "NOT NULL").await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
