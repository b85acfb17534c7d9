//! Opening the database, reading from it and writing to it.

use std::{sync::Arc, time::Duration};

use halcyon_domain::clock::Timestamp;
use halcyon_migrations::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use crate::{
    db::{Db, Executes, Target, within},
    error::Result,
    settings::{Retention, StoreSettings},
};

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Postgres: the pool. SQLite: the readers.
    reader: DatabaseConnection,
    /// Postgres: the same pool. SQLite: the one writer, so that writers queue here and not for a file lock.
    writer: DatabaseConnection,
    deadline: Duration,
    retention: Retention,
}

impl Store {
    /// Opens the database. Postgres is connected to when first used, so that a service can start before it.
    ///
    /// # Errors
    /// The address is malformed, or the file of SQLite cannot be opened.
    pub async fn connect(settings: &StoreSettings) -> Result<Self> {
        let deadline = settings.statement_timeout.get() + Duration::from_secs(1);
        let inner = if settings.url.starts_with("sqlite:") {
            // The writer comes first: it makes the file and switches it to WAL.
            let writer = Database::connect(sqlite(settings, false)).await?;
            let reader = Database::connect(sqlite(settings, true)).await?;
            Inner {
                reader,
                writer,
                deadline,
                retention: settings.retention.clone(),
            }
        } else {
            let pool = Database::connect(postgres(settings)).await?;
            Inner {
                reader: pool.clone(),
                writer: pool,
                deadline,
                retention: settings.retention.clone(),
            }
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Something to read from, outside any transaction.
    #[must_use]
    pub fn read(&self) -> Read {
        Read { store: self.clone() }
    }

    /// Begins a transaction. Dropped without [`WriteTx::commit`], it has no effect.
    ///
    /// # Errors
    /// No connection is to be had in time.
    pub async fn begin(&self) -> Result<WriteTx> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = within(self.inner.deadline, self.inner.writer.begin_with_options(options)).await?;
        Ok(WriteTx {
            transaction,
            deadline: self.inner.deadline,
        })
    }

    /// Brings the schema up to date. Any number of processes may do so at once.
    ///
    /// # Errors
    /// A migration fails.
    pub async fn migrate(&self) -> Result<()> {
        if self.is_postgres() {
            // The lock is held by a transaction of its own; it ends with it, whatever happens.
            let guard = self.inner.writer.begin().await?;
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended('halcyon.migrations', 0))";
            guard.execute_unprepared(lock).await?;
            Migrator::up(&self.inner.writer, None).await?;
            guard.commit().await?;
        } else {
            Migrator::up(&self.inner.writer, None).await?;
        }
        Ok(())
    }

    /// Takes back the newest `steps` migrations, all of them if none is given, with the data they hold.
    ///
    /// # Errors
    /// A migration fails.
    pub async fn migrate_down(&self, steps: Option<u32>) -> Result<()> {
        Ok(Migrator::down(&self.inner.writer, steps).await?)
    }

    /// Whether all migrations have been applied.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn is_migrated(&self) -> Result<bool> {
        let pending = Migrator::get_pending_migrations_read_only(&self.inner.reader);
        Ok(within(self.inner.deadline, pending).await?.is_empty())
    }

    /// Asks the database for an answer, for readiness checks.
    ///
    /// # Errors
    /// It gives none.
    pub async fn ping(&self) -> Result<()> {
        Ok(within(self.inner.deadline, self.inner.reader.ping()).await?)
    }

    /// Makes the partitions of the coming months and removes what is past its time, but for the audit trail, whose
    /// end the audit service signs first. To be called at start and then hourly, by any number of processes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn maintain(&self, now: Timestamp) -> Result<()> {
        let tx = self.begin().await?;
        tx.datasource_events().ensure_partitions(now).await?;
        tx.idempotency().prune(now).await?;
        tx.audit().ensure_partitions(now).await?;
        tx.commit().await?;
        if let Some(past) = Retention::before(self.inner.retention.events, now) {
            let tx = self.begin().await?;
            let dropped = tx.datasource_events().drop_partitions(past).await?;
            tx.commit().await?;
            if dropped > 0 {
                tracing::info!(
                    months = dropped,
                    "months of the datasources' history are past their time and gone"
                );
            }
            loop {
                let tx = self.begin().await?;
                let more = tx.datasource_events().prune(past).await?;
                tx.commit().await?;
                if !more {
                    break;
                }
            }
        }
        loop {
            let tx = self.begin().await?;
            let more = tx.ontology().prune_ledger(now).await?;
            tx.commit().await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// How long rows are kept.
    #[must_use]
    pub fn retention(&self) -> &Retention {
        &self.inner.retention
    }

    /// Whether it is Postgres (and not SQLite).
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.inner.reader.get_database_backend() == DbBackend::Postgres
    }

    /// Closes all connections.
    ///
    /// # Errors
    /// The database fails to close.
    pub async fn close(&self) -> Result<()> {
        self.inner.reader.close_by_ref().await?;
        Ok(self.inner.writer.close_by_ref().await?)
    }
}

/// Reads outside any transaction.
#[derive(Clone, Debug)]
pub struct Read {
    store: Store,
}

impl Executes for Read {
    fn db(&self) -> Db<'_> {
        Db {
            target: Target::Pool(&self.store.inner.reader),
            deadline: self.store.inner.deadline,
        }
    }
}

/// A transaction: reads what it wrote, and writes. On SQLite it is the only one (IMMEDIATE).
#[derive(Debug)]
pub struct WriteTx {
    transaction: DatabaseTransaction,
    deadline: Duration,
}

impl Executes for WriteTx {
    fn db(&self) -> Db<'_> {
        Db {
            target: Target::Transaction(&self.transaction),
            deadline: self.deadline,
        }
    }
}

impl WriteTx {
    /// Makes all that was written durable and visible.
    ///
    /// # Errors
    /// The database fails; then nothing was written, or (if the answer was lost) all of it.
    pub async fn commit(self) -> Result<()> {
        Ok(within(self.deadline, self.transaction.commit()).await?)
    }

    /// Undoes all that was written.
    ///
    /// # Errors
    /// The database fails; nothing was written then either.
    pub async fn rollback(self) -> Result<()> {
        Ok(within(self.deadline, self.transaction.rollback()).await?)
    }

    /// Waits until no other transaction holds `name`, and holds it to the end of this one.
    ///
    /// # Errors
    /// The lock is not to be had in time.
    pub async fn lock(&self, name: &str) -> Result<()> {
        if self.transaction.get_database_backend() == DbBackend::Postgres {
            let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()]);
            self.db().execute_raw(statement).await?;
        }
        Ok(())
    }
}

fn sqlite(settings: &StoreSettings, reader: bool) -> ConnectOptions {
    let busy = settings.busy_timeout.get();
    let mut options = ConnectOptions::new(settings.url.clone());
    options
        .max_connections(if reader { settings.max_connections } else { 1 })
        .min_connections(1)
        // Writers queue for the one connection as they would for the file's lock.
        .acquire_timeout(if reader {
            settings.acquire_timeout.get()
        } else {
            busy
        })
        .test_before_acquire(false)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(busy)
                .foreign_keys(true)
                .pragma("query_only", if reader { "1" } else { "0" })
        });
    options
}

fn postgres(settings: &StoreSettings) -> ConnectOptions {
    let timeout = settings.statement_timeout.get().as_millis().to_string();
    let mut options = ConnectOptions::new(settings.url.clone());
    options
        .max_connections(settings.max_connections)
        .connect_timeout(settings.acquire_timeout.get())
        .acquire_timeout(settings.acquire_timeout.get())
        .connect_lazy(true)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            options.application_name("halcyon").options([
                ("statement_timeout", timeout.as_str()),
                ("idle_in_transaction_session_timeout", "60000"),
            ])
        });
    options
}
