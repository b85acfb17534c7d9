//! The connection of a `sql_poller` datasource, as it is written and as it is used.

use std::time::Duration;

use halcyon_domain::{
    duration::HumanDuration,
    error::{InputError, from_value},
};
use serde::Deserialize;
use serde_json::Value;

use super::statement;
use crate::tls::{SecretRef, Tls};

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    engine: Engine,
    host: String,
    port: Option<u16>,
    database: String,
    username: String,
    password: SecretRef,
    tls: Option<Tls>,
    table: Option<String>,
    columns: Option<Vec<String>>,
    query: Option<String>,
    cursor: Cursor,
    key: String,
    #[serde(default = "default_batch")]
    batch: usize,
    #[serde(default = "default_timeout")]
    statement_timeout: HumanDuration,
    #[serde(default)]
    json_columns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    Postgresql,
    Mysql,
    Sqlserver,
}

impl Engine {
    const fn port(self) -> u16 {
        match self {
            Self::Postgresql => 5432,
            Self::Mysql => 3306,
            Self::Sqlserver => 1433,
        }
    }

    /// Between what names are quoted.
    const fn quotes(self) -> (char, char) {
        match self {
            Self::Postgresql => ('"', '"'),
            Self::Mysql => ('`', '`'),
            Self::Sqlserver => ('[', ']'),
        }
    }
}

/// The column that grows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    column: String,
    kind: Kind,
    overlap: Option<HumanDuration>,
    overlap_values: Option<u32>,
    start: Option<String>,
}

/// What the cursor's column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Timestamp,
    Integer,
    Text,
    Uuid,
}

/// How far a run goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    None,
    Time(Duration),
    Values(u32),
}

const fn default_batch() -> usize {
    1_000
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(30)
}

/// The connection, understood.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) engine: Engine,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) username: String,
    pub(super) password: SecretRef,
    /// `None` where nothing is encrypted.
    pub(super) tls: Option<Tls>,
    pub(super) table: Option<String>,
    /// What rows come from, named `q`.
    pub(super) from: String,
    pub(super) columns: Option<Vec<String>>,
    pub(super) cursor: String,
    pub(super) kind: Kind,
    pub(super) overlap: Overlap,
    pub(super) start: Option<String>,
    pub(super) key: String,
    pub(super) batch: usize,
    pub(super) timeout: Duration,
    pub(super) json_columns: Vec<String>,
}

impl Settings {
    /// Reads a connection; the schema has passed.
    pub(super) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let read: Connection = from_value(connection.clone()).map_err(|error| vec![error])?;
        let errors = errors(&read);
        if !errors.is_empty() {
            return Err(errors);
        }
        let (open, close) = read.engine.quotes();
        let from = match (&read.table, &read.query) {
            (Some(table), _) => format!("{} AS q", statement::table(table, open, close)),
            // On a line of its own, because the query may end with a comment.
            (None, query) => format!("({}\n) AS q", query.as_deref().unwrap_or_default()),
        };
        let overlap = match (read.cursor.overlap, read.cursor.overlap_values) {
            (Some(time), _) => Overlap::Time(time.get()),
            (_, Some(values)) => Overlap::Values(values),
            (None, None) => Overlap::None,
        };
        Ok(Self {
            port: read.port.unwrap_or(read.engine.port()),
            engine: read.engine,
            host: read.host,
            database: read.database,
            username: read.username,
            password: read.password,
            tls: read.tls.filter(|tls| tls.enabled),
            table: read.table,
            from,
            columns: read.columns,
            cursor: read.cursor.column,
            kind: read.cursor.kind,
            overlap,
            start: read.cursor.start,
            key: read.key,
            batch: read.batch,
            timeout: read.statement_timeout.get(),
            json_columns: read.json_columns,
        })
    }

    /// A column of `q`, between its quotes.
    pub(super) fn column(&self, name: &str) -> String {
        let (open, close) = self.engine.quotes();
        format!("q.{}", statement::name(name, open, close))
    }

    /// Whether a record has the column.
    pub(super) fn wants(&self, name: &str) -> bool {
        let listed = self.columns.as_ref();
        listed.is_none_or(|columns| columns.iter().any(|column| column == name))
    }
}

fn errors(read: &Connection) -> Vec<InputError> {
    let mut errors = Vec::new();
    let mut say = |pointer: &str, code: &str, detail: &str| {
        errors.push(InputError::new(pointer, code, detail));
    };
    match (&read.table, &read.query) {
        (None, None) => say("/table", "required", "a table or a query is needed"),
        (Some(_), Some(_)) => say("/query", "unknown_field", "there is a table already"),
        (Some(table), None) => {
            let parts: Vec<&str> = table.split('.').collect();
            if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
                say(
                    "/table",
                    "format",
                    "the value is no table's name such as `public.alerts`",
                );
            }
        }
        (None, Some(query)) => {
            if let Some(fault) = statement::fault(query) {
                say("/query", "format", fault);
            }
        }
    }
    let kind = read.cursor.kind;
    if read.cursor.overlap.is_some() && kind != Kind::Timestamp {
        say(
            "/cursor/overlap",
            "unknown_field",
            "only a timestamp has an overlap in time",
        );
    }
    if read
        .cursor
        .overlap
        .is_some_and(|overlap| overlap.get() > Duration::from_secs(7 * 86_400))
    {
        let detail = "the identity of rows that come again is known for 7 days";
        say("/cursor/overlap", "out_of_range", detail);
    }
    if read.cursor.overlap_values.is_some() && kind != Kind::Integer {
        say(
            "/cursor/overlap_values",
            "unknown_field",
            "only numbers have an overlap in values",
        );
    }
    let timeout = read.statement_timeout.get();
    if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(3_600) {
        say("/statement_timeout", "out_of_range", "from 100ms to 1h");
    }
    if !read.json_columns.is_empty() && read.engine != Engine::Mysql {
        say(
            "/json_columns",
            "unknown_field",
            "only MySQL and MariaDB have JSON in text columns",
        );
    }
    let Some(tls) = &read.tls else {
        return errors;
    };
    if tls.certificate.is_some() && read.engine == Engine::Sqlserver {
        say(
            "/tls/certificate",
            "unknown_field",
            "SQL Server is not shown client certificates",
        );
    }
    errors.extend(tls.validate().into_iter().map(|mut error| {
        error.pointer.insert_str(0, "/tls");
        error
    }));
    errors
}
