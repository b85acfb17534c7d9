//! What can go wrong, told apart by what a caller does about it.

use sea_orm::{DbErr, RuntimeErr};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was to be changed does not exist (or belongs to another tenant).
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Another row already has what must be unique.
    #[error("{0} is taken")]
    Conflict(Unique),
    /// The row was changed since it was read.
    #[error("revision is stale, the current one is {current}")]
    StaleRevision {
        /// The revision it has now.
        current: i64,
    },
    /// A list was asked for in a way that it does not offer.
    #[error("invalid {parameter}: {detail}")]
    InvalidPage {
        /// The parameter: `cursor`, `sort` or `limit`.
        parameter: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Another transaction was in the way; the same transaction may succeed if it is run again.
    #[error("another transaction was in the way")]
    Contention(#[source] Box<DbErr>),
    /// The database cannot be reached, is overloaded or is shutting down.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<DbErr>),
    /// A row or statement that should not be: a bug, or a database that was changed by hand.
    #[error("unexpected failure in the database")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unique {
    /// An organisation's name.
    OrganizationName,
    /// A project's name within its organisation.
    ProjectName,
    /// A user's e-mail address.
    UserEmail,
    /// A service account's name within its organisation.
    ServiceAccountName,
    /// A role of a user or service account at a scope.
    RoleBinding,
    /// A datasource's name within its organisation and environment.
    DatasourceName,
    /// A version's number within its datasource, or a second published one.
    Version,
    /// A secret's version.
    SecretVersion,
    /// A second request for approval of one draft that is open.
    OpenApproval,
    /// A sample's name within its datasource.
    SampleName,
    /// A key.
    Key,
    /// A link of the audit trail.
    AuditSequence,
    /// Anything else.
    Other,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OrganizationName => "organisation name",
            Self::ProjectName => "project name",
            Self::UserEmail => "e-mail address",
            Self::ServiceAccountName => "service account name",
            Self::RoleBinding => "role binding",
            Self::DatasourceName => "datasource name",
            Self::Version => "version",
            Self::SecretVersion => "secret version",
            Self::OpenApproval => "open request for approval",
            Self::SampleName => "sample name",
            Self::Key => "key",
            Self::AuditSequence => "audit sequence",
            Self::Other => "identifier",
        })
    }
}

impl Error {
    pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// The error of a write that is only refused as a duplicate because another transaction was faster.
    pub(crate) fn contended(error: DbErr) -> Self {
        match &error {
            DbErr::Query(RuntimeErr::SqlxError(cause)) | DbErr::Exec(RuntimeErr::SqlxError(cause))
                if matches!(classify(cause), Class::Unique(_)) =>
            {
                Self::Contention(Box::new(error))
            }
            _ => Self::from(error),
        }
    }

    /// Whether the database cannot be reached, is overloaded or is shutting down.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the same thing may work later without any change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Contention(_) | Self::Unavailable(_))
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(Box::new(error)),
            DbErr::Query(RuntimeErr::SqlxError(cause)) | DbErr::Exec(RuntimeErr::SqlxError(cause)) => {
                match classify(cause) {
                    Class::Unique(unique) => Self::Conflict(unique),
                    Class::Contention => Self::Contention(Box::new(error)),
                    Class::Unavailable => Self::Unavailable(Box::new(error)),
                    Class::Internal => Self::internal(error),
                }
            }
            _ => Self::internal(error),
        }
    }
}

enum Class {
    Unique(Unique),
    Contention,
    Unavailable,
    Internal,
}

fn classify(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => {
            Class::Unique(unique_of(error.constraint().unwrap_or_default(), error.message()))
        }
        sqlx::Error::Database(error) => classify_code(&error.code().unwrap_or_default()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Unavailable,
        _ => Class::Internal,
    }
}

/// Postgres: five-character SQLSTATE (appendix A of its manual). SQLite: the result code in decimal, whose
/// low byte is the primary code.
fn classify_code(code: &str) -> Class {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => return Class::Contention,
        // query_canceled (statement timeout), shutdowns, cannot_connect_now, read_only_sql_transaction
        "57014" | "57P01" | "57P02" | "57P03" | "25006" => return Class::Unavailable,
        _ if code.len() == 5 => {
            // connection exceptions; insufficient resources (disk full, out of memory, too many connections)
            let unavailable = code.starts_with("08") || code.starts_with("53");
            return if unavailable {
                Class::Unavailable
            } else {
                Class::Internal
            };
        }
        _ => {}
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(5 | 6) => Class::Contention,             // BUSY, LOCKED
        Ok(7 | 10 | 13 | 14) => Class::Unavailable, // NOMEM, IOERR, FULL, CANTOPEN
        _ => Class::Internal,
    }
}

/// Postgres names the index, SQLite the columns (`table.column, table.column`).
fn unique_of(constraint: &str, message: &str) -> Unique {
    let named = |name: &str| constraint.starts_with(name) || message.contains(&format!(" {name}."));
    const TABLES: &[(&str, Unique)] = &[
        ("organizations", Unique::OrganizationName),
        ("projects", Unique::ProjectName),
        ("users", Unique::UserEmail),
        ("service_accounts", Unique::ServiceAccountName),
        ("role_bindings", Unique::RoleBinding),
        ("datasources", Unique::DatasourceName),
        ("datasource_versions", Unique::Version),
        ("datasource_secrets", Unique::SecretVersion),
        ("approvals", Unique::OpenApproval),
        ("datasource_samples", Unique::SampleName),
        ("tenant_keys", Unique::Key),
        ("signing_keys", Unique::Key),
        ("audit_entries", Unique::AuditSequence),
        ("audit_checkpoints", Unique::AuditSequence),
    ];
    let primary = constraint.ends_with("_pkey") || message.ends_with(".id");
    let table = TABLES
        .iter()
        .find(|(table, _)| named(table))
        .map_or(Unique::Other, |(_, unique)| *unique);
    match table {
        Unique::Key | Unique::AuditSequence => table,
        _ if primary => Unique::Other,
        _ => table,
    }
}
