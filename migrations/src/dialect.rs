//! The differences between the two databases' SQL.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// Named column types: what stands in the migrations, on Postgres, on SQLite.
///
/// SQLite has no types for identifiers, times and documents: an identifier is its 16 bytes, a time is RFC 3339
/// text in UTC (which sorts as the time does), a document is its text.
const TYPES: &[(&str, &str, &str)] = &[
    ("{uuid}", "uuid", "BLOB"),
    ("{time}", "timestamptz", "TEXT"),
    ("{bytes}", "bytea", "BLOB"),
    ("{json}", "jsonb", "TEXT"),
    // A table without row numbers has one tree instead of two: half the writing.
    ("{without_rowid}", "", "WITHOUT ROWID"),
    (
        "{serial}",
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
    ),
];

fn translate(sql: &str, backend: DbBackend) -> String {
    TYPES
        .iter()
        .fold(sql.to_owned(), |sql, (name, postgres, sqlite)| {
            sql.replace(
                name,
                if backend == DbBackend::Postgres {
                    postgres
                } else {
                    sqlite
                },
            )
        })
}

/// Runs statements on either database.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    for statement in statements {
        manager
            .get_connection()
            .execute_unprepared(&translate(statement, backend))
            .await?;
    }
    Ok(())
}

/// Runs statements on Postgres only.
pub(crate) async fn run_on_postgres(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    run_on(manager, DbBackend::Postgres, statements).await
}

/// Runs statements on SQLite only.
pub(crate) async fn run_on_sqlite(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    run_on(manager, DbBackend::Sqlite, statements).await
}

async fn run_on(manager: &SchemaManager<'_>, backend: DbBackend, statements: &[&str]) -> Result<(), DbErr> {
    if manager.get_database_backend() == backend {
        run(manager, statements).await
    } else {
        Ok(())
    }
}

/// Drops tables, in the order given.
pub(crate) async fn drop_tables(manager: &SchemaManager<'_>, tables: &[&str]) -> Result<(), DbErr> {
    for table in tables {
        manager
            .get_connection()
            .execute_unprepared(&format!("DROP TABLE {table}"))
            .await?;
    }
    Ok(())
}
