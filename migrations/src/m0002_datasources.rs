//! Datasources, their versions, their state at run time and their history.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE datasources (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id),
        project_id {uuid} REFERENCES projects (id),
        name TEXT NOT NULL,
        connector TEXT NOT NULL,
        description TEXT,
        tags {json} NOT NULL,
        owner TEXT,
        env TEXT NOT NULL,
        status TEXT NOT NULL,
        desired_state TEXT NOT NULL,
        current_version BIGINT,
        draft_version BIGINT,
        generation BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        created_at {time} NOT NULL,
        created_by {uuid},
        updated_at {time} NOT NULL,
        updated_by {uuid},
        deleted_at {time})",
    "CREATE UNIQUE INDEX datasources_name ON datasources (organization_id, env, name) WHERE deleted_at IS NULL",
    "CREATE INDEX datasources_updated ON datasources (organization_id, updated_at, id) WHERE deleted_at IS NULL",
    "CREATE INDEX datasources_status ON datasources (organization_id, status) WHERE deleted_at IS NULL",
    "CREATE INDEX datasources_connector ON datasources (organization_id, connector) WHERE deleted_at IS NULL",
    "CREATE INDEX datasources_project ON datasources (project_id) WHERE deleted_at IS NULL",
    "CREATE TABLE datasource_versions (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL REFERENCES datasources (id),
        number BIGINT NOT NULL,
        state TEXT NOT NULL,
        config TEXT NOT NULL,
        comment TEXT,
        approval_status TEXT,
        created_at {time} NOT NULL,
        created_by {uuid},
        updated_at {time} NOT NULL,
        published_at {time},
        published_by {uuid},
        revision BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX datasource_versions_number ON datasource_versions (datasource_id, number)",
    "CREATE UNIQUE INDEX datasource_versions_published ON datasource_versions (datasource_id)
        WHERE state = 'published'",
    // What a worker reached, and the numbers it reported last. Written by the registry alone.
    "CREATE TABLE datasource_state (
        datasource_id {uuid} NOT NULL PRIMARY KEY REFERENCES datasources (id),
        organization_id {uuid} NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT,
        observed_generation BIGINT NOT NULL,
        version BIGINT,
        last_good_version BIGINT,
        worker_id {uuid},
        epoch BIGINT NOT NULL,
        last_heartbeat {time},
        last_event_at {time},
        restarts BIGINT NOT NULL,
        next_attempt_at {time},
        error_code TEXT,
        metrics TEXT NOT NULL,
        updated_at {time} NOT NULL)",
    "CREATE INDEX datasource_state_worker ON datasource_state (worker_id)",
];

const EVENT_COLUMNS: &str = "
        id {uuid} NOT NULL,
        organization_id {uuid} NOT NULL,
        datasource_id {uuid} NOT NULL,
        at {time} NOT NULL,
        kind TEXT NOT NULL,
        version BIGINT,
        actor TEXT,
        message TEXT NOT NULL,
        PRIMARY KEY (id, at)";

const EVENT_INDEX: &str =
    "CREATE INDEX datasource_events_at ON datasource_events (organization_id, datasource_id, at, id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await?;
        let table = format!("CREATE TABLE datasource_events ({EVENT_COLUMNS})");
        dialect::run_on_sqlite(manager, &[&table]).await?;
        let partitioned = format!("{table} PARTITION BY RANGE (at)");
        // Rows of a month whose partition was not made in time land in the default one.
        let default = "CREATE TABLE datasource_events_default PARTITION OF datasource_events DEFAULT";
        dialect::run_on_postgres(manager, &[&partitioned, default]).await?;
        dialect::run(manager, &[EVENT_INDEX]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            "datasource_events",
            "datasource_state",
            "datasource_versions",
            "datasources",
        ];
        dialect::drop_tables(manager, &tables).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
