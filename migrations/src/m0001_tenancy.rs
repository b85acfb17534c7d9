//! Organisations, projects, users, role bindings, and the answers kept for repeated requests.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE organizations (
        id {uuid} NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX organizations_name ON organizations (name)",
    "CREATE TABLE projects (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        name TEXT NOT NULL,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX projects_name ON projects (organization_id, name)",
    // The e-mail address is kept in lower case: it is unique whatever its letters.
    "CREATE TABLE users (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        email TEXT NOT NULL CHECK (email = lower(email)),
        name TEXT NOT NULL,
        password_hash TEXT,
        disabled BOOLEAN NOT NULL,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX users_email ON users (email)",
    "CREATE INDEX users_organization ON users (organization_id, email)",
    // The scope of a global binding has the nil identifier, so that the unique index sees it.
    "CREATE TABLE role_bindings (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} REFERENCES organizations (id),
        user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        scope_kind TEXT NOT NULL,
        scope_id {uuid} NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid})",
    "CREATE UNIQUE INDEX role_bindings_grant ON role_bindings (user_id, scope_kind, scope_id, role)",
    "CREATE INDEX role_bindings_organization ON role_bindings (organization_id, user_id)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = ["role_bindings", "users", "projects", "organizations"];
        dialect::drop_tables(manager, &tables).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
