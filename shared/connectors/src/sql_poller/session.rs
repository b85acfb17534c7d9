//! A connection to a database, of whatever engine.

use async_trait::async_trait;
use chrono::TimeDelta;
use halcyon_egress::Guard;

use super::{
    config::{Engine, Settings},
    failure::Unopened,
    mysql::MysqlSession,
    position::{Start, Stretch},
    postgres::PostgresSession,
    sqlserver::SqlServerSession,
};
use crate::{Error, Secrets};

/// How many bytes of rows are taken at a time, whatever their number.
pub(super) const PAGE_BYTES: usize = 8 << 20;
/// The longest row that is taken in, as the database sends it.
pub(super) const LONGEST: usize = 32 << 20;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cursor: String,
    pub(super) key: String,
    /// The record.
    pub(super) json: Vec<u8>,
}

/// Rows in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Whether there are further ones.
    pub(super) more: bool,
    bytes: usize,
}

impl Page {
    /// Takes a row in. Whether the page is full with it: then what follows is for the next one. `limit` rows were
    /// wanted, and one more was asked for to see whether there is one.
    pub(super) fn push(&mut self, row: Row, limit: usize) -> bool {
        if self.rows.len() >= limit || (self.bytes > 0 && self.bytes + row.json.len() > PAGE_BYTES) {
            self.more = true;
            return true;
        }
        self.bytes += row.json.len() + row.cursor.len() + row.key.len();
        self.rows.push(row);
        false
    }
}

/// A connection that was made and knows the columns.
#[async_trait]
pub(super) trait Session: Send {
    /// Finds out what columns there are. The first thing to do; needs the permission to read.
    async fn describe(&mut self) -> Result<(), Error>;

    /// How far ahead of our clock a time may be, by what the cursor's column says of times.
    fn ahead(&self) -> TimeDelta;

    /// The next rows, in a transaction that cannot write.
    async fn page(&mut self, start: &Start, stretch: Option<Stretch>, limit: usize) -> Result<Page, Error>;

    /// Whether the user could write to a table of the database.
    async fn could_write(&mut self) -> Result<bool, Error>;

    /// Whether there is a row without a cursor, which will never be read.
    async fn has_null_cursor(&mut self) -> Result<bool, Error>;
}

/// Connects and signs in.
pub(super) async fn open(
    settings: &Settings,
    secrets: &Secrets,
    guard: &Guard,
) -> Result<Box<dyn Session>, Unopened> {
    Ok(match settings.engine {
        Engine::Postgresql => Box::new(PostgresSession::open(settings, secrets, guard).await?),
        Engine::Mysql => Box::new(MysqlSession::open(settings, secrets, guard).await?),
        Engine::Sqlserver => Box::new(SqlServerSession::open(settings, secrets, guard).await?),
    })
}

/// The conditions on the cursor and the key, from expressions of the engine's own, and the values that they are about,
/// in order of their placeholders.
pub(super) struct Conditions {
    pub(super) text: String,
    pub(super) values: Vec<String>,
}

/// How an engine writes what the conditions are made of.
pub(super) trait Dialect {
    /// The `number`th value (from 1), as the cursor's type.
    fn cursor_value(&self, number: usize) -> String;
    /// The same as the key's type.
    fn key_value(&self, number: usize) -> String;
    /// A cursor's value less the overlap.
    fn less_overlap(&self, value: &str) -> String;
    /// A time as the cursor's type.
    fn time_value(&self, number: usize) -> String {
        self.cursor_value(number)
    }
}

pub(super) fn conditions(
    dialect: &dyn Dialect,
    settings: &Settings,
    start: &Start,
    stretch: Option<Stretch>,
) -> Conditions {
    let (cursor, key) = (settings.column(&settings.cursor), settings.column(&settings.key));
    let mut parts = vec![format!("{cursor} IS NOT NULL")];
    let mut values = Vec::new();
    match start {
        Start::Beginning => {}
        Start::From(from) => {
            values.push(from.clone());
            parts.push(format!("{cursor} >= {}", dialect.cursor_value(1)));
        }
        Start::Before(high) => {
            values.push(high.clone());
            let least = dialect.less_overlap(&dialect.cursor_value(1));
            parts.push(format!("{cursor} >= {least}"));
        }
        Start::After {
            cursor: at,
            key: last,
        } => {
            // The first part lets an index on the cursor be used. A row without a key must not be passed over unseen.
            values.extend([at.clone(), at.clone(), last.clone()]);
            let (first, second) = (dialect.cursor_value(1), dialect.cursor_value(2));
            let third = dialect.key_value(3);
            parts.push(format!(
                "{cursor} >= {first} AND ({cursor} > {second} OR {key} > {third} OR {key} IS NULL)"
            ));
        }
    }
    if let Some((from, to)) = stretch {
        let from = from.map(|from| (from, ">="));
        for (time, compared) in from.into_iter().chain([(to, "<")]) {
            values.push(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string());
            parts.push(format!(
                "{cursor} {compared} {}",
                dialect.time_value(values.len())
            ));
        }
    }
    Conditions {
        text: parts.join(" AND "),
        values,
    }
}
