//! What surrounds a version: who wrote it, who approved it, what was said about it; and saved samples.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    // Was never written: an approval is a row of its own.
    "ALTER TABLE datasource_versions DROP COLUMN approval_status",
    "CREATE TABLE version_authors (
        version_id {uuid} NOT NULL REFERENCES datasource_versions (id),
        organization_id {uuid} NOT NULL,
        actor_kind TEXT NOT NULL,
        actor_id {uuid} NOT NULL,
        actor_name TEXT NOT NULL,
        at {time} NOT NULL,
        PRIMARY KEY (version_id, actor_kind, actor_id))",
    "INSERT INTO version_authors (version_id, organization_id, actor_kind, actor_id, actor_name, at)
        SELECT id, organization_id, 'user', created_by, '', created_at
        FROM datasource_versions WHERE created_by IS NOT NULL",
    "CREATE TABLE approvals (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        version_id {uuid} NOT NULL REFERENCES datasource_versions (id),
        number BIGINT NOT NULL,
        config_hash {bytes} NOT NULL,
        status TEXT NOT NULL,
        note TEXT,
        requested_kind TEXT NOT NULL,
        requested_by {uuid},
        requested_name TEXT NOT NULL,
        created_at {time} NOT NULL,
        expires_at {time},
        decided_kind TEXT,
        decided_by {uuid},
        decided_name TEXT,
        decided_at {time},
        decision_comment TEXT,
        updated_at {time} NOT NULL,
        revision BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX approvals_open ON approvals (version_id) WHERE status IN ('pending', 'approved')",
    "CREATE INDEX approvals_datasource ON approvals (organization_id, datasource_id, created_at, id)",
    "CREATE INDEX approvals_status ON approvals (organization_id, status, created_at, id)",
    "CREATE TABLE version_comments (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        number BIGINT NOT NULL,
        approval_id {uuid} REFERENCES approvals (id),
        thread_id {uuid} NOT NULL,
        reply_to {uuid},
        pointer TEXT,
        body TEXT NOT NULL,
        author_kind TEXT NOT NULL,
        author_id {uuid},
        author_name TEXT NOT NULL,
        created_at {time} NOT NULL,
        edited_at {time},
        deleted_at {time},
        resolved_at {time},
        resolved_kind TEXT,
        resolved_by {uuid},
        resolved_name TEXT,
        revision BIGINT NOT NULL)",
    "CREATE INDEX version_comments_version
        ON version_comments (organization_id, datasource_id, number, created_at, id)",
    "CREATE TABLE datasource_samples (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        name TEXT NOT NULL,
        content_type TEXT,
        note TEXT,
        origin TEXT NOT NULL,
        origin_id TEXT,
        size BIGINT NOT NULL,
        created_kind TEXT NOT NULL,
        created_by {uuid},
        created_name TEXT NOT NULL,
        created_at {time} NOT NULL)",
    "CREATE UNIQUE INDEX datasource_samples_name ON datasource_samples (datasource_id, name)",
    // The bytes stand apart, so that a list does not read them.
    "CREATE TABLE sample_payloads (
        sample_id {uuid} NOT NULL PRIMARY KEY REFERENCES datasource_samples (id) ON DELETE CASCADE,
        organization_id {uuid} NOT NULL,
        payload {bytes} NOT NULL)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            "sample_payloads",
            "datasource_samples",
            "version_comments",
            "approvals",
            "version_authors",
        ];
        dialect::drop_tables(manager, &tables).await?;
        dialect::run(
            manager,
            &["ALTER TABLE datasource_versions ADD COLUMN approval_status TEXT"],
        )
        .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
