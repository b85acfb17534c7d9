//! Signed checkpoints of the audit trail, and the trail in monthly partitions.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: &[&str] = &[
    "CREATE TABLE audit_keys (
        id TEXT NOT NULL PRIMARY KEY,
        public_key {bytes} NOT NULL,
        endorsed_by TEXT,
        endorsement {bytes},
        created_at {time} NOT NULL)",
    "CREATE TABLE audit_checkpoints (
        organization_id {uuid} NOT NULL,
        kind TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        number BIGINT NOT NULL,
        hash {bytes} NOT NULL,
        at {time} NOT NULL,
        key_id TEXT NOT NULL,
        signature {bytes} NOT NULL,
        PRIMARY KEY (organization_id, kind, sequence))",
    "CREATE UNIQUE INDEX audit_checkpoints_number ON audit_checkpoints (organization_id, number)
        WHERE kind = 'head'",
];

/// The columns that came with this migration are read off the text that was hashed.
const SQLITE_COLUMNS: &[&str] = &[
    "DROP TRIGGER audit_entries_no_update",
    "DROP TRIGGER audit_entries_no_delete",
    "ALTER TABLE audit_entries ADD COLUMN outcome TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit_entries ADD COLUMN request_id TEXT",
    "ALTER TABLE audit_entries ADD COLUMN recorded_at TEXT NOT NULL DEFAULT ''",
    "UPDATE audit_entries SET
        outcome = json_extract(body, '$.outcome'),
        request_id = json_extract(body, '$.request_id'),
        recorded_at = latest.at
        FROM (SELECT organization_id, sequence,
            max(at) OVER (PARTITION BY organization_id ORDER BY sequence) AS at FROM audit_entries) AS latest
        WHERE latest.organization_id = audit_entries.organization_id
            AND latest.sequence = audit_entries.sequence",
];

/// Rows go only when a cut says so, which the audit service signs before.
const SQLITE_TRIGGERS: &[&str] = &[
    "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
        WHEN NOT EXISTS (SELECT 1 FROM audit_checkpoints c WHERE c.organization_id = OLD.organization_id
            AND c.kind = 'cut' AND c.sequence >= OLD.sequence)
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
        WHEN OLD.kind <> 'head' OR NOT EXISTS (SELECT 1 FROM audit_checkpoints c
            WHERE c.organization_id = OLD.organization_id AND c.kind = 'cut' AND c.sequence >= OLD.sequence)
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_keys_no_update BEFORE UPDATE ON audit_keys
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_keys_no_delete BEFORE DELETE ON audit_keys
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
];

/// The trail as it was becomes the partitions of its months. A text may hold `\u0000`, which Postgres cannot read as
/// JSON: the columns are cut out of it. An entry's own `outcome` comes before whatever changed, its `request_id` at
/// the end.
const POSTGRES_PARTITIONS: &[&str] = &[
    "DROP TRIGGER audit_entries_append_only ON audit_entries",
    "ALTER TABLE audit_entries RENAME TO audit_entries_whole",
    "ALTER INDEX audit_entries_pkey RENAME TO audit_entries_whole_pkey",
    "CREATE TABLE audit_entries (
        organization_id uuid NOT NULL,
        sequence BIGINT NOT NULL,
        id uuid NOT NULL,
        prev_hash bytea NOT NULL,
        hash bytea NOT NULL,
        at timestamptz NOT NULL,
        actor_id uuid,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        resource_kind TEXT NOT NULL,
        resource_id TEXT,
        body TEXT NOT NULL,
        outcome TEXT NOT NULL,
        request_id TEXT,
        recorded_at timestamptz NOT NULL,
        PRIMARY KEY (organization_id, sequence, recorded_at)) PARTITION BY RANGE (recorded_at)",
    "CREATE TABLE audit_entries_default PARTITION OF audit_entries DEFAULT",
    "DO $do$
    DECLARE month timestamptz;
    BEGIN
        FOR month IN SELECT DISTINCT date_trunc('month', at, 'UTC') FROM audit_entries_whole LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF audit_entries FOR VALUES FROM (%L) TO (%L)',
                'audit_entries_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM'), month,
                (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
        END LOOP;
    END $do$",
    "INSERT INTO audit_entries SELECT organization_id, sequence, id, prev_hash, hash, at, actor_id, actor, action,
        resource_kind, resource_id, body,
        substring(body from '\"outcome\":\"([a-z]+)\"'),
        substring(body from '\"request_id\":\"([^\"]*)\"(,\"remote_ip\":\"[^\"]*\")?}$'),
        max(at) OVER (PARTITION BY organization_id ORDER BY sequence)
        FROM audit_entries_whole",
    "DROP TABLE audit_entries_whole",
];

const INDEXES: &[&str] = &[
    "CREATE INDEX audit_entries_at ON audit_entries (organization_id, at)",
    "CREATE INDEX audit_entries_action ON audit_entries (organization_id, action, sequence)",
    "CREATE INDEX audit_entries_resource ON audit_entries (organization_id, resource_id, sequence)",
];

/// On a partitioned table a unique index must hold the partition's column: what comes twice is found under the lock
/// of the chain instead.
const POSTGRES_ID: &str = "CREATE INDEX audit_entries_id ON audit_entries (organization_id, id)";

const BOTH_INDEXES: &[&str] = &[
    "CREATE INDEX audit_entries_request ON audit_entries (organization_id, request_id)",
    "CREATE INDEX audit_entries_recorded ON audit_entries (organization_id, recorded_at)",
];

/// Triggers for each row hold in every partition, whichever way it is reached; only `TRUNCATE` knows none.
const POSTGRES_TRIGGERS: &[&str] = &[
    "CREATE FUNCTION audit_entries_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM audit_checkpoints c WHERE c.organization_id = OLD.organization_id
                AND c.kind = 'cut' AND c.sequence >= OLD.sequence) THEN
                RAISE EXCEPTION 'the audit trail is append-only';
            END IF;
            RETURN OLD;
        END $$",
    "CREATE FUNCTION audit_checkpoints_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.kind <> 'head' OR NOT EXISTS (SELECT 1 FROM audit_checkpoints c
                WHERE c.organization_id = OLD.organization_id
                AND c.kind = 'cut' AND c.sequence >= OLD.sequence) THEN
                RAISE EXCEPTION 'the audit trail is append-only';
            END IF;
            RETURN OLD;
        END $$",
    "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
        FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse()",
    "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
        FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse_delete()",
    "CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()",
    "CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
        FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse()",
    "CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
        FOR EACH ROW EXECUTE FUNCTION audit_checkpoints_refuse_delete()",
    "CREATE TRIGGER audit_checkpoints_no_truncate BEFORE TRUNCATE ON audit_checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()",
    "CREATE TRIGGER audit_keys_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_keys
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()",
];

/// Back to one table, as the migration before left it.
const POSTGRES_WHOLE: &[&str] = &[
    "ALTER TABLE audit_entries RENAME TO audit_entries_parts",
    "ALTER INDEX audit_entries_pkey RENAME TO audit_entries_parts_pkey",
    "CREATE TABLE audit_entries (
        organization_id uuid NOT NULL,
        sequence BIGINT NOT NULL,
        id uuid NOT NULL,
        prev_hash bytea NOT NULL,
        hash bytea NOT NULL,
        at timestamptz NOT NULL,
        actor_id uuid,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        resource_kind TEXT NOT NULL,
        resource_id TEXT,
        body TEXT NOT NULL,
        PRIMARY KEY (organization_id, sequence))",
    "INSERT INTO audit_entries SELECT organization_id, sequence, id, prev_hash, hash, at, actor_id, actor, action,
        resource_kind, resource_id, body FROM audit_entries_parts",
    "DROP TABLE audit_entries_parts",
    "DROP TABLE audit_checkpoints",
    "DROP TABLE audit_keys",
    "DROP FUNCTION audit_entries_refuse_delete()",
    "DROP FUNCTION audit_checkpoints_refuse_delete()",
    "CREATE UNIQUE INDEX audit_entries_id ON audit_entries (organization_id, id)",
    "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()",
];

const SQLITE_WHOLE: &[&str] = &[
    "DROP TRIGGER audit_entries_no_update",
    "DROP TRIGGER audit_entries_no_delete",
    "DROP INDEX audit_entries_request",
    "DROP INDEX audit_entries_recorded",
    "ALTER TABLE audit_entries DROP COLUMN outcome",
    "ALTER TABLE audit_entries DROP COLUMN request_id",
    "ALTER TABLE audit_entries DROP COLUMN recorded_at",
    "DROP TABLE audit_checkpoints",
    "DROP TABLE audit_keys",
    "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, TABLES).await?;
        dialect::run_on_sqlite(manager, SQLITE_COLUMNS).await?;
        dialect::run_on_postgres(manager, POSTGRES_PARTITIONS).await?;
        dialect::run_on_postgres(manager, INDEXES).await?;
        dialect::run_on_postgres(manager, &[POSTGRES_ID]).await?;
        dialect::run(manager, BOTH_INDEXES).await?;
        dialect::run_on_sqlite(manager, SQLITE_TRIGGERS).await?;
        dialect::run_on_postgres(manager, POSTGRES_TRIGGERS).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run_on_sqlite(manager, SQLITE_WHOLE).await?;
        dialect::run_on_postgres(manager, POSTGRES_WHOLE).await?;
        dialect::run_on_postgres(manager, INDEXES).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
