//! MySQL and MariaDB.

use async_trait::async_trait;
use chrono::TimeDelta;
use halcyon_egress::Guard;
use mysql_async::{
    ClientIdentity, Column, Conn, DriverError, Error as DatabaseError, IoError, OptsBuilder, Params,
    Row as DatabaseRow, SslOpts, Value, consts::ColumnType, prelude::Queryable,
};

use super::{
    config::{Overlap, Settings},
    failure::{Step, Unopened, bad_credentials, bad_query, no_column, no_key, refused, too_long, wrong_kind},
    mysql_values::{Holds, text, write},
    position::{AHEAD, AHEAD_DATES, AHEAD_WITHOUT_ZONE, Start, Stretch},
    session::{Dialect, LONGEST, Page, Row, Session, conditions},
};
use crate::{
    Error, Secrets,
    tls::{Tls, certificates},
};

/// A connection and what is known of the columns.
pub(super) struct MysqlSession {
    connection: Conn,
    settings: Settings,
    columns: Vec<(Column, Holds)>,
}

impl MysqlSession {
    pub(super) async fn open(
        settings: &Settings,
        secrets: &Secrets,
        guard: &Guard,
    ) -> Result<Self, Unopened> {
        let password = settings.password.text(secrets);
        let password = password.map_err(|error| Unopened::new(Step::Authenticate, error))?;
        let addresses = guard.resolve(&settings.host).await;
        let addresses = addresses.map_err(|error| Unopened::new(Step::Connect, error.into()))?;
        let mut options = OptsBuilder::default()
            .ip_or_hostname(settings.host.clone())
            // The library connects to these and resolves nothing.
            .resolved_ips(Some(addresses))
            .tcp_port(settings.port)
            .user(Some(settings.username.clone()))
            .pass(Some(password))
            .db_name(Some(settings.database.clone()))
            .max_allowed_packet(Some(LONGEST))
            // Else it would leave the judged address for whatever socket the server names.
            .prefer_socket(false);
        if let Some(tls) = &settings.tls {
            let encrypted = encryption(tls, secrets);
            let encrypted = encrypted.map_err(|error| Unopened::new(Step::Tls, error))?;
            options = options.ssl_opts(Some(encrypted));
        }
        let mut connection = Conn::new(options)
            .await
            .map_err(|error| not_opened(settings, error))?;
        let prepared = prepare(&mut connection, settings).await;
        prepared.map_err(|error| Unopened::new(Step::Authenticate, told(settings, error)))?;
        Ok(Self {
            connection,
            settings: settings.clone(),
            columns: Vec::new(),
        })
    }

    fn holds(&self, name: &str) -> Result<Holds, Error> {
        let found = self.columns.iter().find(|(column, _)| column.name_str() == name);
        found.map(|(_, holds)| *holds).ok_or_else(|| no_column(name))
    }

    /// A row as a record, with its cursor and key, which come first.
    fn row(&self, row: &DatabaseRow) -> Result<Row, Error> {
        let broken = |error: serde_json::Error| Error::System(error.to_string());
        let (cursor, key) = (
            self.holds(&self.settings.cursor)?,
            self.holds(&self.settings.key)?,
        );
        let cursor = row.as_ref(0).and_then(|value| text(value, cursor));
        let key = row.as_ref(1).and_then(|value| text(value, key));
        let (Some(cursor), Some(key)) = (cursor, key) else {
            return Err(no_key(&self.settings));
        };
        let mut json = vec![b'{'];
        for (index, (column, holds)) in self.columns.iter().enumerate() {
            let name = column.name_str();
            if !self.settings.wants(&name) {
                continue;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &name).map_err(broken)?;
            json.push(b':');
            let is_json = self.settings.json_columns.iter().any(|column| *column == name);
            let value = row.as_ref(index + 2).unwrap_or(&Value::NULL);
            write(&mut json, value, *holds, column, is_json)?;
        }
        json.push(b'}');
        Ok(Row { cursor, key, json })
    }

    async fn rows(&mut self, select: &str, values: Vec<Value>, limit: usize) -> Result<Page, Error> {
        let settings = self.settings.clone();
        let failed = |error: DatabaseError| told(&settings, error);
        let begin = self.connection.query_drop("START TRANSACTION READ ONLY").await;
        begin.map_err(&failed)?;
        let values = if values.is_empty() {
            Params::Empty
        } else {
            Params::Positional(values)
        };
        let mut taken = Vec::new();
        let mut bytes = 0;
        {
            let mut result = self.connection.exec_iter(select, values).await.map_err(&failed)?;
            while let Some(row) = result.next().await.map_err(&failed)? {
                bytes += (0..row.len())
                    .filter_map(|index| row.as_ref(index))
                    .map(size)
                    .sum::<usize>();
                taken.push(row);
                if bytes > super::session::PAGE_BYTES {
                    break;
                }
            }
            result.drop_result().await.map_err(&failed)?;
        }
        self.connection.query_drop("COMMIT").await.map_err(&failed)?;
        let cut = bytes > super::session::PAGE_BYTES;
        let mut page = Page::default();
        for row in &taken {
            if page.push(self.row(row)?, limit) {
                break;
            }
        }
        page.more |= cut;
        Ok(page)
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 16,
        _ => 16,
    }
}

/// Trusts the operating system's authorities, as everywhere, and the connection's.
fn encryption(tls: &Tls, secrets: &Secrets) -> Result<SslOpts, Error> {
    let system = rustls_native_certs::load_native_certs().certs;
    let own = tls.ca.as_deref().and_then(certificates).unwrap_or_default();
    let roots = system.into_iter().chain(own);
    let roots = roots.map(|root| root.as_ref().to_vec().into()).collect();
    let mut options = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots)
        .with_danger_tls_hostname_override(tls.server_name.clone());
    if let (Some(chain), Some(key)) = (&tls.certificate, &tls.key) {
        let key = key.text(secrets)?.into_bytes();
        let chain = chain.clone().into_bytes().into();
        options = options.with_client_identity(Some(ClientIdentity::new(chain, key.into())));
    }
    Ok(options)
}

/// Sets the session up: times are UTC, nothing can be written, and no statement lasts for ever.
async fn prepare(connection: &mut Conn, settings: &Settings) -> Result<(), DatabaseError> {
    connection.query_drop("SET SESSION time_zone = '+00:00'").await?;
    connection.query_drop("SET SESSION TRANSACTION READ ONLY").await?;
    let version: Option<String> = connection.query_first("SELECT VERSION()").await?;
    let limit = if version.is_some_and(|version| version.contains("MariaDB")) {
        format!(
            "SET SESSION max_statement_time = {}",
            settings.timeout.as_secs_f64()
        )
    } else {
        format!(
            "SET SESSION max_execution_time = {}",
            settings.timeout.as_millis()
        )
    };
    connection.query_drop(limit).await
}

/// The types of the cursor and the key.
struct Types {
    cursor: Holds,
    key: Holds,
    overlap: Overlap,
}

impl Dialect for Types {
    fn cursor_value(&self, _: usize) -> String {
        self.cursor.placeholder().to_owned()
    }

    fn key_value(&self, _: usize) -> String {
        self.key.placeholder().to_owned()
    }

    fn less_overlap(&self, value: &str) -> String {
        match self.overlap {
            Overlap::None => value.to_owned(),
            // Unsigned numbers do not go below zero, they fail.
            Overlap::Values(values) => format!("(CAST(? AS DECIMAL(20,0)) - {values})"),
            Overlap::Time(time) => format!("({value} - INTERVAL {} MICROSECOND)", time.as_micros()),
        }
    }
}

#[async_trait]
impl Session for MysqlSession {
    async fn describe(&mut self) -> Result<(), Error> {
        let probe = format!("SELECT * FROM {} LIMIT 0", self.settings.from);
        let prepared = self.connection.prep(probe).await;
        let prepared = prepared.map_err(|error| told(&self.settings, error))?;
        let columns = prepared.columns();
        self.columns = columns
            .iter()
            .map(|column| (column.clone(), Holds::of(column)))
            .collect();
        let _ = self.connection.close(prepared).await;
        self.holds(&self.settings.key)?;
        let found = self.holds(&self.settings.cursor)?;
        if !found.is_of_kind(self.settings.kind) {
            return Err(wrong_kind(&self.settings, &format!("{found:?}").to_lowercase()));
        }
        for name in self
            .settings
            .columns
            .iter()
            .flatten()
            .chain(&self.settings.json_columns)
        {
            self.holds(name)?;
        }
        Ok(())
    }

    fn ahead(&self) -> TimeDelta {
        let cursor = &self.settings.cursor;
        let found = self
            .columns
            .iter()
            .find(|(column, _)| column.name_str() == *cursor);
        match found.map(|(column, _)| column.column_type()) {
            Some(ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2) => AHEAD,
            Some(ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE) => AHEAD_DATES,
            _ => AHEAD_WITHOUT_ZONE,
        }
    }

    async fn page(&mut self, start: &Start, stretch: Option<Stretch>, limit: usize) -> Result<Page, Error> {
        let settings = &self.settings;
        let types = Types {
            cursor: self.holds(&settings.cursor)?,
            key: self.holds(&settings.key)?,
            overlap: settings.overlap,
        };
        let conditions = conditions(&types, settings, start, stretch);
        let (cursor, key) = (settings.column(&settings.cursor), settings.column(&settings.key));
        let select = format!(
            "SELECT {cursor}, {key}, q.* FROM {} WHERE {} ORDER BY {cursor}, {key} LIMIT {}",
            settings.from,
            conditions.text,
            limit + 1,
        );
        let values = conditions.values.into_iter();
        let values = values.map(|value| Value::Bytes(value.into_bytes())).collect();
        self.rows(&select, values, limit).await
    }

    async fn could_write(&mut self) -> Result<bool, Error> {
        let grants = self.connection.query::<String, _>("SHOW GRANTS").await;
        let grants = grants.map_err(|error| told(&self.settings, error))?;
        Ok(grants.iter().any(|grant| writes(grant)))
    }

    async fn has_null_cursor(&mut self) -> Result<bool, Error> {
        let cursor = self.settings.column(&self.settings.cursor);
        let query = format!(
            "SELECT 1 FROM {} WHERE {cursor} IS NULL LIMIT 1",
            self.settings.from
        );
        let found = self.connection.query_first::<u8, _>(query).await;
        Ok(found.map_err(|error| told(&self.settings, error))?.is_some())
    }
}

/// Whether a line of `SHOW GRANTS` allows to write.
pub(super) fn writes(grant: &str) -> bool {
    let grant = grant.to_ascii_uppercase();
    let what = grant.split(" ON ").next().unwrap_or_default();
    [
        "ALL PRIVILEGES",
        "INSERT",
        "UPDATE",
        "DELETE",
        "DROP",
        "ALTER",
        "CREATE",
    ]
    .iter()
    .any(|privilege| what.contains(privilege))
}

/// Why there is no session.
fn not_opened(settings: &Settings, error: DatabaseError) -> Unopened {
    match error {
        DatabaseError::Io(IoError::Tls(error)) => {
            Unopened::new(Step::Tls, refused(format!("TLS could not be agreed on: {error}")))
        }
        // A certificate that is not trusted comes out of the stream.
        DatabaseError::Io(IoError::Io(error)) if settings.tls.is_some() => {
            Unopened::new(Step::Tls, crate::tls::not_agreed(&error))
        }
        DatabaseError::Driver(DriverError::NoClientSslFlagFromServer) => {
            let message = "the database does not speak TLS: switch it on there, or off here";
            Unopened::new(Step::Tls, refused(message))
        }
        error => Unopened::new(Step::Authenticate, told(settings, error)),
    }
}

/// What a failure means. <https://mariadb.com/kb/en/mariadb-error-code-reference/>
fn told(settings: &Settings, error: DatabaseError) -> Error {
    let DatabaseError::Server(answer) = error else {
        // The library says so in words only.
        if error.to_string().contains("max_allowed_packet") {
            return too_long();
        }
        return Error::transient(format!("the connection to the database broke: {error}"));
    };
    match answer.code {
        1045 | 1698 => bad_credentials(settings),
        1049 => refused(format!("there is no database `{}`", settings.database)),
        1044 | 1142 | 1143 | 1227 | 1370 => refused(format!(
            "user `{}` may not read this: {}",
            settings.username, answer.message
        )),
        1792 => refused("the query writes, and only reading is allowed"),
        1054 | 1060 | 1064 | 1109 | 1146 | 1247 | 1305 => bad_query(&answer.message),
        1969 | 3024 | 1317 => Error::transient("the statement took longer than `statement_timeout`"),
        code if answer.state.starts_with("22") => {
            refused(format!("the query fails for a row (error {code})"))
        }
        code if answer.state.starts_with("42") => bad_query(&format!("error {code}")),
        code => Error::transient(format!("the database failed (error {code})")),
    }
}
