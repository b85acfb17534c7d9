//! SQL Server. The database writes rows as JSON (2016 or newer). Kept small: there is no server to try it on here.

use async_trait::async_trait;
use chrono::TimeDelta;
use halcyon_egress::Guard;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Query, error::Error as DatabaseError};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::{
    config::{Kind, Overlap, Settings},
    failure::{Step, Unopened, bad_credentials, bad_query, no_column, no_key, refused, wrong_kind},
    position::{AHEAD, AHEAD_DATES, AHEAD_WITHOUT_ZONE, Start, Stretch},
    session::{Dialect, Page, Row, Session, conditions},
    statement,
};
use crate::{Error, Secrets};

/// A connection and what is known of the columns: their names and types.
pub(super) struct SqlServerSession {
    client: Client<Compat<TcpStream>>,
    settings: Settings,
    columns: Vec<(String, String)>,
}

impl SqlServerSession {
    pub(super) async fn open(
        settings: &Settings,
        secrets: &Secrets,
        guard: &Guard,
    ) -> Result<Self, Unopened> {
        let password = settings.password.text(secrets);
        let password = password.map_err(|error| Unopened::new(Step::Authenticate, error))?;
        let stream = guard
            .connect(&settings.host, settings.port)
            .await
            .map_err(|error| Unopened::new(Step::Connect, error.into()))?;
        let mut config = Config::new();
        config.host(&settings.host);
        config.port(settings.port);
        config.database(&settings.database);
        config.application_name("halcyon");
        config.readonly(true);
        config.authentication(AuthMethod::sql_server(&settings.username, password));
        match &settings.tls {
            None => config.encryption(EncryptionLevel::NotSupported),
            Some(tls) => {
                config.encryption(EncryptionLevel::Required);
                if let Some(name) = &tls.server_name {
                    config.hostname_in_certificate(name);
                }
                if let Some(authorities) = &tls.ca {
                    config.trust_cert_ca_bundle(authorities.as_bytes());
                }
            }
        }
        let client = Client::connect(config, stream.compat_write()).await;
        let client = client.map_err(|error| not_opened(settings, error))?;
        Ok(Self {
            client,
            settings: settings.clone(),
            columns: Vec::new(),
        })
    }

    fn type_of(&self, name: &str) -> Result<&str, Error> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found
            .map(|(_, kind)| kind.as_str())
            .ok_or_else(|| no_column(name))
    }

    /// The rows of a query, each with so many columns of text.
    async fn texts<const N: usize>(
        &mut self,
        query: String,
        values: Vec<String>,
    ) -> Result<Vec<[Option<String>; N]>, Error> {
        let settings = self.settings.clone();
        let mut asked = Query::new(query);
        for value in values {
            asked.bind(value);
        }
        let answered = async {
            let stream = asked.query(&mut self.client).await?;
            let mut found = Vec::new();
            for row in stream.into_first_result().await? {
                let mut texts = [const { None }; N];
                for (index, text) in texts.iter_mut().enumerate() {
                    *text = row.try_get::<&str, _>(index)?.map(ToOwned::to_owned);
                }
                found.push(texts);
            }
            Ok(found)
        };
        match tokio::time::timeout(settings.timeout, answered).await {
            Ok(outcome) => outcome.map_err(|error| told(&settings, error)),
            Err(_) => Err(Error::transient(
                "the statement took longer than `statement_timeout`",
            )),
        }
    }
}

/// The query that gives a page.
pub(super) fn select(settings: &Settings, kinds: (&str, &str), conditions: &str, limit: usize) -> String {
    let (cursor, key) = (settings.column(&settings.cursor), settings.column(&settings.key));
    let columns = match &settings.columns {
        None => "q.*".to_owned(),
        Some(names) => {
            let one =
                |name: &String| format!("{} AS {}", settings.column(name), statement::name(name, '[', ']'));
            names.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "SELECT TOP ({more}) {cursor_text}, {key_text}, \
         (SELECT {columns} FOR JSON PATH, WITHOUT_ARRAY_WRAPPER, INCLUDE_NULL_VALUES) \
         FROM {from} WHERE {conditions} ORDER BY {cursor}, {key}",
        more = limit + 1,
        cursor_text = as_text(&cursor, kinds.0),
        key_text = as_text(&key, kinds.1),
        from = settings.from,
    )
}

/// How a type is written as text and read from it, without the session's language having a say.
fn style(kind: &str) -> &'static str {
    if kind.starts_with("date") || kind.starts_with("smalldatetime") {
        ", 121"
    } else if kind.starts_with("binary") || kind.starts_with("varbinary") || kind.starts_with("timestamp") {
        ", 1"
    } else {
        ""
    }
}

fn as_text(column: &str, kind: &str) -> String {
    format!("CONVERT(nvarchar(450), {column}{})", style(kind))
}

/// The types of the cursor and the key.
pub(super) struct Types<'a> {
    pub(super) cursor: &'a str,
    pub(super) key: &'a str,
    pub(super) overlap: Overlap,
}

impl Dialect for Types<'_> {
    fn cursor_value(&self, number: usize) -> String {
        format!("CONVERT({}, @P{number}{})", self.cursor, style(self.cursor))
    }

    fn key_value(&self, number: usize) -> String {
        format!("CONVERT({}, @P{number}{})", self.key, style(self.key))
    }

    fn less_overlap(&self, value: &str) -> String {
        match self.overlap {
            Overlap::None => value.to_owned(),
            Overlap::Values(values) => format!("(CONVERT(bigint, {value}) - {values})"),
            Overlap::Time(time) => format!("DATEADD(second, -{}, {value})", time.as_secs_f64().ceil()),
        }
    }

    fn time_value(&self, number: usize) -> String {
        // It is written with microseconds, which not every type reads.
        format!("CONVERT({}, CONVERT(datetime2, @P{number}, 121))", self.cursor)
    }
}

fn is_of_kind(kind: Kind, found: &str) -> bool {
    let name = found.split('(').next().unwrap_or_default();
    match kind {
        Kind::Integer => matches!(name, "tinyint" | "smallint" | "int" | "bigint"),
        Kind::Timestamp => name.starts_with("date") || name == "smalldatetime",
        Kind::Text => matches!(name, "char" | "varchar" | "nchar" | "nvarchar"),
        Kind::Uuid => name == "uniqueidentifier",
    }
}

#[async_trait]
impl Session for SqlServerSession {
    async fn describe(&mut self) -> Result<(), Error> {
        let probe = format!("SELECT TOP (0) * FROM {}", self.settings.from);
        let described =
            "SELECT name, system_type_name FROM sys.dm_exec_describe_first_result_set(@P1, NULL, 0)";
        let found = self.texts::<2>(described.to_owned(), vec![probe.clone()]).await?;
        self.columns = found
            .into_iter()
            .filter_map(|[name, kind]| Some((name?, kind?)))
            .collect();
        // What is wrong with a query is only said by running it.
        self.texts::<0>(probe, Vec::new()).await?;
        self.type_of(&self.settings.key)?;
        let found = self.type_of(&self.settings.cursor)?;
        if !is_of_kind(self.settings.kind, found) {
            return Err(wrong_kind(&self.settings, found));
        }
        for name in self.settings.columns.iter().flatten() {
            self.type_of(name)?;
        }
        Ok(())
    }

    fn ahead(&self) -> TimeDelta {
        match self.type_of(&self.settings.cursor) {
            Ok(kind) if kind.starts_with("datetimeoffset") => AHEAD,
            Ok("date") => AHEAD_DATES,
            _ => AHEAD_WITHOUT_ZONE,
        }
    }

    async fn page(&mut self, start: &Start, stretch: Option<Stretch>, limit: usize) -> Result<Page, Error> {
        let settings = &self.settings;
        let (cursor, key) = (self.type_of(&settings.cursor)?, self.type_of(&settings.key)?);
        let types = Types {
            cursor,
            key,
            overlap: settings.overlap,
        };
        let conditions = conditions(&types, settings, start, stretch);
        let query = select(settings, (cursor, key), &conditions.text, limit);
        let mut page = Page::default();
        for [cursor, key, json] in self.texts::<3>(query, conditions.values).await? {
            let (Some(cursor), Some(key)) = (cursor, key) else {
                return Err(no_key(&self.settings));
            };
            let json = json.unwrap_or_else(|| "{}".to_owned()).into_bytes();
            if page.push(Row { cursor, key, json }, limit) {
                break;
            }
        }
        Ok(page)
    }

    async fn could_write(&mut self) -> Result<bool, Error> {
        let query = "SELECT CONVERT(nvarchar(1), CASE WHEN 1 IN (HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT'), \
                     HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UPDATE'), HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'DELETE')) \
                     THEN 1 ELSE 0 END)";
        let found = self.texts::<1>(query.to_owned(), Vec::new()).await?;
        Ok(found
            .first()
            .is_some_and(|[answer]| answer.as_deref() == Some("1")))
    }

    async fn has_null_cursor(&mut self) -> Result<bool, Error> {
        let cursor = self.settings.column(&self.settings.cursor);
        let query = format!(
            "SELECT TOP (1) N'1' FROM {} WHERE {cursor} IS NULL",
            self.settings.from
        );
        Ok(!self.texts::<1>(query, Vec::new()).await?.is_empty())
    }
}

/// Why there is no session.
fn not_opened(settings: &Settings, error: DatabaseError) -> Unopened {
    match error {
        DatabaseError::Tls(message) => Unopened::new(
            Step::Tls,
            refused(format!("TLS could not be agreed on: {message}")),
        ),
        // The address it names was not judged, and is not what the user named.
        DatabaseError::Routing { .. } => {
            let message = "the server sends us to another address: give that as the host if it is meant";
            Unopened::new(Step::Connect, refused(message))
        }
        error => Unopened::new(Step::Authenticate, told(settings, error)),
    }
}

/// What a failure means.
/// <https://learn.microsoft.com/en-us/sql/relational-databases/errors-events/database-engine-events-and-errors>
fn told(settings: &Settings, error: DatabaseError) -> Error {
    let DatabaseError::Server(answer) = error else {
        return Error::transient("the connection to the database broke");
    };
    match answer.code() {
        18452 | 18456 => bad_credentials(settings),
        4060 => refused(format!("there is no database `{}`", settings.database)),
        229 | 230 | 916 => refused(format!("user `{}` may not read this", settings.username)),
        102 | 105 | 156 | 207 | 208 | 209 | 319 | 1033 | 8155 | 8156 => bad_query(answer.message()),
        241 | 242 | 245 | 8114 | 8115 | 8134 => {
            refused(format!("the query fails for a row (error {})", answer.code()))
        }
        code => Error::transient(format!("the database failed (error {code})")),
    }
}
