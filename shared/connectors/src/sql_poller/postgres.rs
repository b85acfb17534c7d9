//! PostgreSQL. The database itself writes rows as JSON, so that every type it has comes out as it means it.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::TryStreamExt;
use halcyon_egress::Guard;
use tokio::task::JoinSet;
use tokio_postgres::{
    Client, Config,
    config::SslMode,
    types::{Kind as TypeKind, Type},
};

use super::{
    config::{Kind, Overlap, Settings},
    failure::{Step, Unopened, bad_credentials, bad_query, no_column, no_key, refused, too_long, wrong_kind},
    position::{AHEAD, AHEAD_DATES, AHEAD_WITHOUT_ZONE, Start, Stretch},
    postgres_frames::Framed,
    postgres_tls::Encrypt,
    session::{Dialect, Page, Row, Session, conditions},
    statement,
};
use crate::{Error, Secrets};

/// A connection, its reader and what is known of the columns.
pub(super) struct PostgresSession {
    client: Client,
    /// Drives the connection, and ends with the session.
    _driver: JoinSet<()>,
    /// Whether the connection ended because a message was too long.
    too_long: Arc<AtomicBool>,
    settings: Settings,
    columns: Vec<(String, Type)>,
}

impl PostgresSession {
    pub(super) async fn open(
        settings: &Settings,
        secrets: &Secrets,
        guard: &Guard,
    ) -> Result<Self, Unopened> {
        let unopened = |step| move |error| Unopened::new(step, error);
        let password = settings
            .password
            .text(secrets)
            .map_err(unopened(Step::Authenticate))?;
        let stream = guard
            .connect(&settings.host, settings.port)
            .await
            .map_err(|error| Unopened::new(Step::Connect, error.into()))?;
        let mut config = Config::new();
        config
            .user(&settings.username)
            .password(password)
            .dbname(&settings.database)
            .application_name("halcyon");
        let mut driver = JoinSet::new();
        let too_long = Arc::new(AtomicBool::new(false));
        let client = match &settings.tls {
            None => {
                config.ssl_mode(SslMode::Disable);
                let stream = Framed::new(stream, Arc::clone(&too_long));
                let connected = config.connect_raw(stream, tokio_postgres::NoTls).await;
                let (client, connection) = connected.map_err(|error| not_opened(settings, error))?;
                driver.spawn(async { drop(connection.await) });
                client
            }
            Some(tls) => {
                config.ssl_mode(SslMode::Require);
                let tls = Encrypt {
                    tls: tls.clone(),
                    host: settings.host.clone(),
                    secrets: secrets.clone(),
                    too_long: Arc::clone(&too_long),
                };
                let connected = config.connect_raw(stream, tls).await;
                let (client, connection) = connected.map_err(|error| not_opened(settings, error))?;
                driver.spawn(async { drop(connection.await) });
                client
            }
        };
        Ok(Self {
            client,
            _driver: driver,
            too_long,
            settings: settings.clone(),
            columns: Vec::new(),
        })
    }

    fn type_of(&self, name: &str) -> Result<&Type, Error> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, kind)| kind).ok_or_else(|| no_column(name))
    }

    /// Ends what a statement that failed has left open.
    async fn ended(&self, error: tokio_postgres::Error) -> Error {
        if self.too_long.load(Ordering::Relaxed) {
            return too_long();
        }
        let _ = self.client.batch_execute("ROLLBACK").await;
        told(&self.settings, error)
    }

    async fn begin(&self) -> Result<(), Error> {
        let milliseconds = self.settings.timeout.as_millis();
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}; \
             SET LOCAL idle_in_transaction_session_timeout = {milliseconds}; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL extra_float_digits = 1"
        );
        match self.client.batch_execute(&begin).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(error).await),
        }
    }

    async fn commit(&self) -> Result<(), Error> {
        let done = self.client.batch_execute("COMMIT").await;
        done.map_err(|error| told(&self.settings, error))
    }

    /// The answer of a query that has one value.
    async fn holds(&self, query: &str) -> Result<bool, Error> {
        self.begin().await?;
        let answer = match self.client.query_typed_one(query, &[]).await {
            Ok(row) => row.try_get(0).unwrap_or(false),
            Err(error) => return Err(self.ended(error).await),
        };
        self.commit().await?;
        Ok(answer)
    }

    fn select(&self, limit: usize, conditions: &str) -> String {
        let settings = &self.settings;
        let (cursor, key) = (settings.column(&settings.cursor), settings.column(&settings.key));
        let mut record = String::new();
        for (name, kind) in &self.columns {
            if settings.wants(name) {
                let comma = if record.is_empty() { "" } else { ", " };
                let (value, name) = (
                    value(&settings.column(name), kind),
                    statement::name(name, '"', '"'),
                );
                let _ = write!(record, "{comma}{value} AS {name}");
            }
        }
        format!(
            "SELECT ({cursor})::text, ({key})::text, (SELECT row_to_json(r)::text FROM (SELECT {record}) AS r) \
             FROM {from} WHERE {conditions} ORDER BY {cursor}, {key} LIMIT {more}",
            from = settings.from,
            more = limit + 1,
        )
    }
}

/// A column as it goes into the record: decimals as text, bytes in base64, times without a zone as UTC.
fn value(column: &str, kind: &Type) -> String {
    let base = base(kind);
    match *base {
        Type::NUMERIC => format!("({column})::text"),
        Type::NUMERIC_ARRAY => format!("({column})::text[]"),
        Type::BYTEA => format!("translate(encode({column}, 'base64'), E'\\n', '')"),
        Type::TIMESTAMP => format!("({column} AT TIME ZONE 'UTC')"),
        Type::TIMESTAMP_ARRAY => format!("({column})::timestamptz[]"),
        _ => column.to_owned(),
    }
}

/// What a domain is made of.
fn base(kind: &Type) -> &Type {
    match kind.kind() {
        TypeKind::Domain(inner) => base(inner),
        _ => kind,
    }
}

fn is_of_kind(kind: Kind, found: &Type) -> bool {
    let found = base(found);
    match kind {
        Kind::Integer => [Type::INT2, Type::INT4, Type::INT8, Type::OID].contains(found),
        Kind::Timestamp => [Type::TIMESTAMP, Type::TIMESTAMPTZ, Type::DATE].contains(found),
        Kind::Text => [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME].contains(found),
        Kind::Uuid => *found == Type::UUID,
    }
}

/// The types of the cursor and the key.
struct Types<'a> {
    cursor: &'a Type,
    key: &'a Type,
    overlap: Overlap,
}

fn cast(number: usize, kind: &Type) -> String {
    let (schema, name) = (
        statement::name(kind.schema(), '"', '"'),
        statement::name(kind.name(), '"', '"'),
    );
    format!("(${number}::text)::{schema}.{name}")
}

impl Dialect for Types<'_> {
    fn cursor_value(&self, number: usize) -> String {
        cast(number, self.cursor)
    }

    fn key_value(&self, number: usize) -> String {
        cast(number, self.key)
    }

    fn less_overlap(&self, value: &str) -> String {
        match self.overlap {
            Overlap::None => value.to_owned(),
            Overlap::Values(values) => format!("({value}::bigint - {values})"),
            Overlap::Time(time) => format!("({value} - interval '{} microseconds')", time.as_micros()),
        }
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn describe(&mut self) -> Result<(), Error> {
        let probe = format!("SELECT * FROM {} LIMIT 0", self.settings.from);
        let prepared = self.client.prepare(&probe).await;
        let prepared = prepared.map_err(|error| told(&self.settings, error))?;
        let columns = prepared.columns().iter();
        self.columns = columns
            .map(|column| (column.name().to_owned(), column.type_().clone()))
            .collect();
        // A statement that is only prepared needs no permission.
        let from = &self.settings.from;
        self.holds(&format!("SELECT EXISTS (SELECT 1 FROM {from} LIMIT 0)"))
            .await?;
        self.type_of(&self.settings.key)?;
        let found = self.type_of(&self.settings.cursor)?;
        if !is_of_kind(self.settings.kind, found) {
            return Err(wrong_kind(&self.settings, found.name()));
        }
        for name in self.settings.columns.iter().flatten() {
            self.type_of(name)?;
        }
        Ok(())
    }

    fn ahead(&self) -> TimeDelta {
        match self.type_of(&self.settings.cursor).map(base) {
            Ok(&Type::TIMESTAMPTZ) => AHEAD,
            Ok(&Type::DATE) => AHEAD_DATES,
            _ => AHEAD_WITHOUT_ZONE,
        }
    }

    async fn page(&mut self, start: &Start, stretch: Option<Stretch>, limit: usize) -> Result<Page, Error> {
        let types = Types {
            cursor: self.type_of(&self.settings.cursor)?,
            key: self.type_of(&self.settings.key)?,
            overlap: self.settings.overlap,
        };
        let conditions = conditions(&types, &self.settings, start, stretch);
        let select = self.select(limit, &conditions.text);
        self.begin().await?;
        let values = conditions.values.into_iter().map(|value| (value, Type::TEXT));
        let mut page = Page::default();
        let outcome = async {
            let rows = self.client.query_typed_raw(&select, values).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                let key: Option<String> = row.try_get(1)?;
                let Some(key) = key else {
                    return Ok(Err(no_key(&self.settings)));
                };
                let (cursor, json): (String, String) = (row.try_get(0)?, row.try_get(2)?);
                let json = json.into_bytes();
                if page.push(Row { cursor, key, json }, limit) {
                    break;
                }
            }
            Ok(Ok(()))
        };
        match outcome.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = self.client.batch_execute("ROLLBACK").await;
                return Err(error);
            }
            Err(error) => return Err(self.ended(error).await),
        }
        self.commit().await?;
        Ok(page)
    }

    async fn could_write(&mut self) -> Result<bool, Error> {
        self.holds(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
             AND n.nspname NOT LIKE 'pg\\_t%' AND has_schema_privilege(n.oid, 'USAGE') \
             AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))",
        )
        .await
    }

    async fn has_null_cursor(&mut self) -> Result<bool, Error> {
        let cursor = self.settings.column(&self.settings.cursor);
        let from = &self.settings.from;
        self.holds(&format!(
            "SELECT EXISTS (SELECT 1 FROM {from} WHERE {cursor} IS NULL)"
        ))
        .await
    }
}

/// Why there is no session.
fn not_opened(settings: &Settings, error: tokio_postgres::Error) -> Unopened {
    if error.as_db_error().is_some() {
        return Unopened::new(Step::Authenticate, told(settings, error));
    }
    let text = error.to_string();
    match error.into_source().map(|source| source.downcast::<Error>()) {
        Some(Ok(ours)) => Unopened::new(Step::Tls, *ours),
        _ if text.contains("TLS") => {
            let message = "the database does not speak TLS: switch it on there, or off here";
            Unopened::new(Step::Tls, refused(message))
        }
        _ if text.contains("authentication") || text.contains("configuration") => {
            Unopened::new(Step::Authenticate, bad_credentials(settings))
        }
        _ => Unopened::new(
            Step::Authenticate,
            Error::transient(format!("the database cannot be used: {text}")),
        ),
    }
}

/// What a failure means. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn told(settings: &Settings, error: tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else {
        return Error::transient(format!("the connection to the database broke: {error}"));
    };
    let code = answer.code().code();
    match (code.get(..2).unwrap_or_default(), code) {
        ("28", _) => bad_credentials(settings),
        (_, "3D000") => refused(format!("there is no database `{}`", settings.database)),
        (_, "42501") => refused(format!(
            "user `{}` may not read this: {}",
            settings.username,
            answer.message()
        )),
        (_, "25006") => refused("the query writes, and only reading is allowed"),
        ("42" | "0A", _) => bad_query(answer.message()),
        (_, "57014") => Error::transient("the statement took longer than `statement_timeout`"),
        ("22", _) => refused(format!("the query fails for a row (SQLSTATE {code})")),
        _ => Error::transient(format!("the database failed (SQLSTATE {code})")),
    }
}
