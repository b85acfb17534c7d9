//! Sessions and their refresh tokens, users of an external issuer, and counters that rise when rights change.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE sessions (
        id {uuid} NOT NULL PRIMARY KEY,
        organization_id {uuid} NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
        user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at {time} NOT NULL,
        last_seen_at {time} NOT NULL,
        expires_at {time} NOT NULL,
        user_agent TEXT,
        remote_ip TEXT,
        ended_at {time},
        end_reason TEXT)",
    "CREATE INDEX sessions_user ON sessions (user_id, last_seen_at)",
    "CREATE INDEX sessions_expires ON sessions (expires_at)",
    // Every refresh token that a session was given, as its SHA-256: one that was used shows when it is used again.
    "CREATE TABLE refresh_tokens (
        hash {bytes} NOT NULL PRIMARY KEY,
        session_id {uuid} NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        created_at {time} NOT NULL,
        used_at {time})",
    "CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id)",
    // Whose identity another issuer vouches for. Their e-mail address is what that issuer says, and proves nothing
    // here: it may be one that a local user has, too.
    "ALTER TABLE users ADD COLUMN issuer TEXT",
    "ALTER TABLE users ADD COLUMN subject TEXT",
    "DROP INDEX users_email",
    "CREATE UNIQUE INDEX users_email ON users (email) WHERE issuer IS NULL AND deleted_at IS NULL",
    "CREATE UNIQUE INDEX users_external ON users (issuer, subject) WHERE issuer IS NOT NULL",
    // Since when a key signs; from the time it was made if absent.
    "ALTER TABLE signing_keys ADD COLUMN signs_from {time}",
    // What open streams and caches look at, instead of at every table that gives somebody a right.
    "CREATE TABLE access_epochs (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO access_epochs (name, value) VALUES ('rights', 0), ('token_keys', 0)",
];

/// What raises a counter: the table, the event, the condition, the counter. An insertion of a user or a session
/// takes nothing away.
const RAISES: &[(&str, &str, &str, &str)] = &[
    (
        "users",
        "UPDATE",
        "OLD.disabled <> NEW.disabled OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at",
        "rights",
    ),
    ("users", "DELETE", "", "rights"),
    ("role_bindings", "INSERT", "", "rights"),
    ("role_bindings", "UPDATE", "", "rights"),
    ("role_bindings", "DELETE", "", "rights"),
    (
        "sessions",
        "UPDATE",
        "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL",
        "rights",
    ),
    ("sessions", "DELETE", "", "rights"),
    (
        "service_accounts",
        "UPDATE",
        "OLD.disabled <> NEW.disabled OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at",
        "rights",
    ),
    (
        "service_account_tokens",
        "UPDATE",
        "OLD.revoked_at IS DISTINCT FROM NEW.revoked_at",
        "rights",
    ),
    (
        "organizations",
        "UPDATE",
        "OLD.deleted_at IS DISTINCT FROM NEW.deleted_at",
        "rights",
    ),
    (
        "projects",
        "UPDATE",
        "OLD.deleted_at IS DISTINCT FROM NEW.deleted_at",
        "rights",
    ),
    (
        "datasources",
        "UPDATE",
        "OLD.project_id IS DISTINCT FROM NEW.project_id OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at",
        "rights",
    ),
    ("signing_keys", "INSERT", "", "token_keys"),
    ("signing_keys", "UPDATE", "", "token_keys"),
    ("signing_keys", "DELETE", "", "token_keys"),
];

fn trigger((table, event, _, counter): &(&str, &str, &str, &str)) -> String {
    format!("{table}_{}_raises_{counter}", event.to_lowercase())
}

fn when(condition: &str) -> String {
    if condition.is_empty() {
        String::new()
    } else {
        format!("WHEN ({condition})")
    }
}

fn sqlite(raise: &(&str, &str, &str, &str)) -> String {
    let (table, event, condition, counter) = raise;
    format!(
        "CREATE TRIGGER {} AFTER {event} ON {table} FOR EACH ROW {}
            BEGIN UPDATE access_epochs SET value = value + 1 WHERE name = '{counter}'; END",
        trigger(raise),
        when(condition),
    )
}

/// Deferred to the end of the transaction, so that the counter's row is the last that is locked: two transactions
/// cannot wait for each other there.
fn postgres(raise: &(&str, &str, &str, &str)) -> String {
    let (table, event, condition, counter) = raise;
    format!(
        "CREATE CONSTRAINT TRIGGER {} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW {} EXECUTE FUNCTION raise_access_epoch('{counter}')",
        trigger(raise),
        when(condition),
    )
}

const RAISE: &str = "CREATE FUNCTION raise_access_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE access_epochs SET value = value + 1 WHERE name = TG_ARGV[0]; RETURN NULL; END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await?;
        dialect::run_on_postgres(manager, &[RAISE]).await?;
        for raise in RAISES {
            dialect::run_on_sqlite(manager, &[&sqlite(raise)]).await?;
            dialect::run_on_postgres(manager, &[&postgres(raise)]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for raise in RAISES {
            let (table, name) = (raise.0, trigger(raise));
            dialect::run_on_sqlite(manager, &[&format!("DROP TRIGGER {name}")]).await?;
            dialect::run_on_postgres(manager, &[&format!("DROP TRIGGER {name} ON {table}")]).await?;
        }
        dialect::run_on_postgres(manager, &["DROP FUNCTION raise_access_epoch()"]).await?;
        let statements = [
            // Without their issuer nobody could tell them from local users.
            "DELETE FROM users WHERE issuer IS NOT NULL",
            "DROP INDEX users_external",
            "DROP INDEX users_email",
            "CREATE UNIQUE INDEX users_email ON users (email) WHERE deleted_at IS NULL",
            "ALTER TABLE users DROP COLUMN issuer",
            "ALTER TABLE users DROP COLUMN subject",
            "ALTER TABLE signing_keys DROP COLUMN signs_from",
        ];
        dialect::run(manager, &statements).await?;
        dialect::drop_tables(manager, &["refresh_tokens", "sessions", "access_epochs"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
