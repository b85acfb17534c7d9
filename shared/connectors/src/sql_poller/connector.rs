//! The catalog's side of `sql_poller`.

use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use halcyon_domain::{clock::Timestamp, error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    config::{Kind, Settings},
    failure::{Step, Unopened},
    position::{Position, Start, written},
    session::{Session, open},
    source::SqlSource,
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid,
};

/// The word for a datasource's `type`.
pub(super) const TYPE: &str = "sql_poller";
/// How long a check may take once the database was reached, which has 3 s of its own.
const PATIENCE: Duration = Duration::from_millis(1_900);

/// Rows of a database, in the order of a column that grows.
#[derive(Clone, Copy, Debug)]
pub struct SqlPoller;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "SQL database",
    description: "Rows of a table or a query of PostgreSQL, MySQL, MariaDB or SQL Server, in the order of a column that grows.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "engine": "postgresql", "host": "db.example.com", "database": "siem",
        "username": "halcyon", "password": {"$secret": "password"}, "tls": {},
        "table": "public.alerts",
        "cursor": {"column": "updated_at", "kind": "timestamp", "overlap": "5m"},
        "key": "id",
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: false,
        scheduled: true,
        ordering: Ordering::Total,
        resumable: true,
        backfill: true,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "A row of alerts",
        payload: json!({
            "id": 4711, "updated_at": "2026-01-01T00:00:00.123456+00:00", "severity": "high",
            "title": "Malware found", "score": "97.50", "tags": ["edr", "server"],
            "details": {"host": "web-1", "sha256": "9f86d081"},
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for SqlPoller {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Settings::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let mut results = match check::begin(TYPE, context, &[]) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(settings) = Settings::read(context.connection) else {
            return results;
        };
        let (reached, stream) = check::reach(context.guard, &settings.host, settings.port).await;
        results.extend(reached);
        if stream.is_none() {
            results.extend(["tls", "authenticate", "permission", "sample"].map(check::not_tried));
            return results;
        }
        drop(stream);
        results.extend(signed_in(&settings, context).await);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let settings = Settings::read(&context.connection).map_err(Error::Config)?;
        Ok(Box::new(SqlSource::new(settings, context)?))
    }

    fn check_position(&self, connection: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        let settings = Settings::read(connection).map_err(Error::Config)?;
        Position::read(checkpoint, &settings.cursor).map(drop)
    }
}

/// The checks from `tls` on.
async fn signed_in(settings: &Settings, context: &CheckContext<'_>) -> Vec<CheckResult> {
    let deadline = Instant::now() + PATIENCE;
    let opened = timeout_at(deadline, open(settings, context.secrets, context.guard)).await;
    let opened = opened.unwrap_or_else(|_| {
        let silent = Error::transient("the database does not answer in time");
        Err(Unopened::new(Step::Authenticate, silent))
    });
    let encrypted = match &settings.tls {
        Some(_) => check::passed("tls", "the connection is encrypted"),
        None => check::skipped(
            "tls",
            "nothing is encrypted, the password neither: switch on `tls` if you can",
        ),
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(Unopened { step, error }) => return not_opened(step, &error, encrypted),
    };
    let user = &settings.username;
    let mut results = vec![
        encrypted,
        check::passed("authenticate", format!("signed in as `{user}`")),
    ];
    let work = examine(session.as_mut(), settings, context.clock.now(), deadline).await;
    results.extend(work);
    results
}

fn not_opened(step: Step, error: &Error, encrypted: CheckResult) -> Vec<CheckResult> {
    let failed = |name, remedy| check::failed(name, error.to_string(), remedy);
    let mut results = match step {
        Step::Connect => {
            let remedy = "see that the host is the database's own, and stays reachable";
            vec![failed("tls", remedy), check::not_tried("authenticate")]
        }
        Step::Tls => {
            let remedy = "give the certificate's authority as `tls.ca`, and its name as `tls.server_name` if it is not the host's";
            vec![failed("tls", remedy), check::not_tried("authenticate")]
        }
        Step::Authenticate => {
            let remedy =
                "see that user, password and database are right, and that the server lets this host in";
            vec![encrypted, failed("authenticate", remedy)]
        }
    };
    results.extend(["permission", "sample"].map(check::not_tried));
    results
}

/// Whether what is wanted can be read, and what it is like.
async fn examine(
    session: &mut dyn Session,
    settings: &Settings,
    now: Timestamp,
    deadline: Instant,
) -> Vec<CheckResult> {
    let silent = |_| Error::transient("the database does not answer in time");
    let described = timeout_at(deadline, session.describe()).await.map_err(silent);
    if let Err(error) = described.and_then(|outcome| outcome) {
        let remedy = format!(
            "GRANT SELECT on what is read to `{}`, and see that table, columns and query are right",
            settings.username
        );
        let failed = check::failed("permission", error.to_string(), remedy);
        return vec![failed, check::not_tried("sample")];
    }
    let mut permission = check::passed("permission", "the rows may be read");
    if let Ok(Ok(true)) = timeout_at(deadline, session.could_write()).await {
        permission.message = "the rows may be read; the user could also write to the database".to_owned();
        permission.remedy = Some("use a user that has SELECT and nothing else".to_owned());
    }
    let first = settings.start.clone().map_or(Start::Beginning, Start::From);
    let page = timeout_at(deadline, session.page(&first, None, 1))
        .await
        .map_err(silent);
    let sample = match page.and_then(|outcome| outcome) {
        Err(error) => {
            let remedy = format!(
                "make an index on (`{}`, `{}`), and see that `key` always has a value",
                settings.cursor, settings.key
            );
            check::failed("sample", error.to_string(), remedy)
        }
        Ok(page) if page.rows.is_empty() => check::passed("sample", "there are no rows yet"),
        Ok(page) => {
            let bytes: usize = page.rows.iter().map(|row| row.json.len()).sum();
            let mut sample =
                check::passed("sample", format!("the first row makes a record of {bytes} bytes"));
            if let Ok(Ok(true)) = timeout_at(deadline, session.has_null_cursor()).await {
                sample.message += "; some rows have no cursor and will not be read";
                sample.remedy = Some("read a query with COALESCE in place of the column".to_owned());
            }
            let ahead = Start::From(written(now + session.ahead()));
            if settings.kind == Kind::Timestamp
                && let Ok(Ok(page)) = timeout_at(deadline, session.page(&ahead, None, 1)).await
                && !page.rows.is_empty()
            {
                sample.message += "; some rows are dated ahead and will be read when their time comes";
                let remedy = "correct their cursor, or read a query with LEAST";
                sample.remedy.get_or_insert_with(|| remedy.to_owned());
            }
            sample
        }
    };
    vec![permission, sample]
}
