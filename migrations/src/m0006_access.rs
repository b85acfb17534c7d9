//! Service accounts and their tokens, roles for them, approval policies, and deletion that keeps what history
//! names.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "ALTER TABLE organizations ADD COLUMN approval_policy TEXT NOT NULL DEFAULT 'off'",
    "ALTER TABLE organizations ADD COLUMN deleted_at {time}",
    "ALTER TABLE projects ADD COLUMN description TEXT",
    // Without one, the organisation's holds.
    "ALTER TABLE projects ADD COLUMN approval_policy TEXT",
    "ALTER TABLE projects ADD COLUMN deleted_at {time}",
    "ALTER TABLE users ADD COLUMN deleted_at {time}",
    // A name or address is free again once its holder is gone.
    "DROP INDEX organizations_name",
    "DROP INDEX projects_name",
    "DROP INDEX users_email",
    "CREATE UNIQUE INDEX organizations_name ON organizations (name) WHERE deleted_at IS NULL",
    "CREATE UNIQUE INDEX projects_name ON projects (organization_id, name) WHERE deleted_at IS NULL",
    "CREATE UNIQUE INDEX users_email ON users (email) WHERE deleted_at IS NULL",
    "CREATE TABLE service_accounts (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        name TEXT NOT NULL,
        description TEXT,
        disabled BOOLEAN NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid},
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL,
        deleted_at {time})",
    "CREATE UNIQUE INDEX service_accounts_name ON service_accounts (organization_id, name)
        WHERE deleted_at IS NULL",
    // The secret itself is kept nowhere: it has 256 random bits, so a plain SHA-256 of it tells nothing.
    "CREATE TABLE service_account_tokens (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        service_account_id {uuid} NOT NULL REFERENCES service_accounts (id),
        name TEXT NOT NULL,
        hash {bytes} NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid},
        expires_at {time},
        last_used_at {time},
        revoked_at {time})",
    "CREATE INDEX service_account_tokens_account ON service_account_tokens (service_account_id, created_at, id)",
    // The scope of a global binding has the nil identifier, so that the unique indexes see it.
    "CREATE TABLE role_bindings_rebuilt (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} REFERENCES organizations (id),
        user_id {uuid} REFERENCES users (id),
        service_account_id {uuid} REFERENCES service_accounts (id),
        role TEXT NOT NULL,
        scope_kind TEXT NOT NULL,
        scope_id {uuid} NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid},
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL,
        CHECK ((user_id IS NULL) <> (service_account_id IS NULL)))",
    "INSERT INTO role_bindings_rebuilt
        (id, organization_id, user_id, role, scope_kind, scope_id, created_at, created_by, updated_at, revision)
        SELECT id, organization_id, user_id, role, scope_kind, scope_id, created_at, created_by, created_at, 1
        FROM role_bindings",
    "DROP TABLE role_bindings",
    "ALTER TABLE role_bindings_rebuilt RENAME TO role_bindings",
    "CREATE UNIQUE INDEX role_bindings_grant ON role_bindings (user_id, scope_kind, scope_id, role)",
    "CREATE UNIQUE INDEX role_bindings_account_grant
        ON role_bindings (service_account_id, scope_kind, scope_id, role)",
    "CREATE INDEX role_bindings_organization ON role_bindings (organization_id, created_at, id)",
    "CREATE INDEX role_bindings_scope ON role_bindings (scope_id)",
];

const DOWN: &[&str] = &[
    "CREATE TABLE role_bindings_rebuilt (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} REFERENCES organizations (id),
        user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        scope_kind TEXT NOT NULL,
        scope_id {uuid} NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid})",
    // What service accounts were given goes with them.
    "INSERT INTO role_bindings_rebuilt
        (id, organization_id, user_id, role, scope_kind, scope_id, created_at, created_by)
        SELECT id, organization_id, user_id, role, scope_kind, scope_id, created_at, created_by
        FROM role_bindings WHERE user_id IS NOT NULL",
    "DROP TABLE role_bindings",
    "ALTER TABLE role_bindings_rebuilt RENAME TO role_bindings",
    "CREATE UNIQUE INDEX role_bindings_grant ON role_bindings (user_id, scope_kind, scope_id, role)",
    "CREATE INDEX role_bindings_organization ON role_bindings (organization_id, user_id)",
    "DROP TABLE service_account_tokens",
    "DROP TABLE service_accounts",
    // What was deleted cannot be told from the rest any more, and must not hold a name or address that is in use.
    "UPDATE organizations SET name = name || ' (deleted ' || CAST(deleted_at AS TEXT) || ')'
        WHERE deleted_at IS NOT NULL",
    "UPDATE projects SET name = name || ' (deleted ' || CAST(deleted_at AS TEXT) || ')'
        WHERE deleted_at IS NOT NULL",
    "UPDATE users SET email = email || ' (deleted ' || lower(CAST(deleted_at AS TEXT)) || ')'
        WHERE deleted_at IS NOT NULL",
    "DROP INDEX organizations_name",
    "DROP INDEX projects_name",
    "DROP INDEX users_email",
    "CREATE UNIQUE INDEX organizations_name ON organizations (name)",
    "CREATE UNIQUE INDEX projects_name ON projects (organization_id, name)",
    "CREATE UNIQUE INDEX users_email ON users (email)",
    "ALTER TABLE users DROP COLUMN deleted_at",
    "ALTER TABLE projects DROP COLUMN deleted_at",
    "ALTER TABLE projects DROP COLUMN approval_policy",
    "ALTER TABLE projects DROP COLUMN description",
    "ALTER TABLE organizations DROP COLUMN deleted_at",
    "ALTER TABLE organizations DROP COLUMN approval_policy",
];

const RENAME: &[&str] = &["ALTER INDEX role_bindings_rebuilt_pkey RENAME TO role_bindings_pkey"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await?;
        dialect::run_on_postgres(manager, RENAME).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DOWN).await?;
        dialect::run_on_postgres(manager, RENAME).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
