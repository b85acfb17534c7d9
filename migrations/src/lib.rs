//! The database schema and how it came to be: reversible migrations for SQLite and Postgres.
//!
//! A migration is written once, in the SQL that both databases share; the column types that differ are named
//! (`{uuid}`, `{time}`, ...) and filled in by [`dialect`]. Statements that exist on one of them only are kept
//! apart. Every migration runs in a transaction.

mod dialect;
mod m0001_tenancy;
mod m0002_datasources;
mod m0003_secrets;
mod m0004_journal;
mod m0005_ontology;
mod m0006_access;
mod m0007_sessions;
mod m0008_reviews;
mod m0009_secret_store;
mod m0010_audit;
mod m0011_requests;
mod m0012_replays;
mod m0013_runs;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::{MigrationTrait, async_trait};

/// The migrations, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenancy::Migration),
            Box::new(m0002_datasources::Migration),
            Box::new(m0003_secrets::Migration),
            Box::new(m0004_journal::Migration),
            Box::new(m0005_ontology::Migration),
            Box::new(m0006_access::Migration),
            Box::new(m0007_sessions::Migration),
            Box::new(m0008_reviews::Migration),
            Box::new(m0009_secret_store::Migration),
            Box::new(m0010_audit::Migration),
            Box::new(m0011_requests::Migration),
            Box::new(m0012_replays::Migration),
            Box::new(m0013_runs::Migration),
        ]
    }
}
