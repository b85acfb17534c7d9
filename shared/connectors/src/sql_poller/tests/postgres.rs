//! PostgreSQL.

use std::{fs, ops::Range, os::unix::fs::MetadataExt};

use async_trait::async_trait;
use halcyon_domain::test_run::CheckStatus;
use halcyon_tests::postgres::Postgres;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use super::{PASSWORD, SqlPoller, check, failure, numbers, run, run_over, secrets, source, told};
use crate::{
    Error, Secrets,
    compliance::{Peer, comply},
};

/// A server whose user `reader` has a password, and the certificate that it shows.
pub(super) struct Server {
    pub(super) postgres: Postgres,
    certificate: String,
}

impl Server {
    pub(super) async fn start() -> Self {
        let postgres = Postgres::start().await.unwrap();
        let data = postgres.folder().join("data");
        let owner = fs::metadata(&data).unwrap();
        let shown = generate_simple_self_signed(vec!["db.test".to_owned()]).unwrap();
        fs::write(
            data.join("pg_hba.conf"),
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 md5\n",
        )
        .unwrap();
        for (name, text) in [
            ("server.crt", shown.cert.pem()),
            ("server.key", shown.signing_key.serialize_pem()),
        ] {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        postgres
            .execute("postgres", "ALTER SYSTEM SET ssl = on")
            .await
            .unwrap();
        postgres
            .execute("postgres", "SELECT pg_reload_conf()")
            .await
            .unwrap();
        let password = PASSWORD.replace('\'', "''");
        // SCRAM is slow on purpose, so only one user has it.
        for (name, how) in [("reader", "md5"), ("careful", "scram-sha-256")] {
            let make =
                format!("SET password_encryption = '{how}'; CREATE ROLE {name} LOGIN PASSWORD '{password}'");
            postgres.execute("postgres", &make).await.unwrap();
        }
        postgres
            .execute("postgres", "GRANT reader TO careful")
            .await
            .unwrap();
        Self {
            postgres,
            certificate: shown.cert.pem(),
        }
    }

    /// A new database. Returns its name.
    pub(super) async fn database(&self) -> String {
        let address = self.postgres.database().await.unwrap();
        address.rsplit('/').next().unwrap().to_owned()
    }

    pub(super) async fn execute(&self, database: &str, statement: &str) {
        self.postgres.execute(database, statement).await.unwrap();
    }

    pub(super) fn connection(&self, database: &str, rest: Value) -> Value {
        let mut connection = json!({
            "engine": "postgresql", "host": "127.0.0.1", "port": self.postgres.port(), "database": database,
            "username": "reader", "password": {"$secret": "password"}, "key": "n", "batch": 11,
        });
        for (name, value) in rest.as_object().unwrap() {
            connection[name] = value.clone();
        }
        connection
    }

    fn tls(&self) -> Value {
        json!({"ca": self.certificate, "server_name": "db.test"})
    }
}

/// A table whose rows share their cursor with four others each.
struct Table {
    server: Server,
    database: String,
    /// How many tables there were before. Databases would be more than a server recovers from in good time.
    made: u32,
    table: String,
    encrypted: bool,
}

#[async_trait]
impl Peer for Table {
    async fn fresh(&mut self) {
        self.made += 1;
        self.table = format!("events_{}", self.made);
        let make = format!(
            "CREATE TABLE {0} (n bigint PRIMARY KEY, at timestamptz, c int); GRANT SELECT ON {0} TO reader",
            self.table
        );
        self.server.execute(&self.database, &make).await;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let insert = format!(
            "INSERT INTO {} SELECT n, '2026-01-01Z'::timestamptz + n / 5 * interval '1 second', n / 5 \
             FROM generate_series({}, {}) n",
            self.table,
            numbers.start,
            numbers.end - 1
        );
        self.server.execute(&self.database, &insert).await;
    }

    fn connection(&self) -> Value {
        let rest = if self.encrypted {
            json!({
                "table": format!("public.{}", self.table), "tls": self.server.tls(),
                "cursor": {"column": "at", "kind": "timestamp", "overlap": "2s"},
            })
        } else {
            json!({"query": format!("SELECT n, c FROM {} -- all", self.table), "cursor": {"column": "c", "kind": "integer"}})
        };
        self.server.connection(&self.database, rest)
    }

    fn secrets(&self) -> Secrets {
        secrets()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_complies_and_is_told_apart_when_it_fails() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut table = Table {
        server,
        database,
        made: 0,
        table: String::new(),
        encrypted: false,
    };
    for encrypted in [false, true] {
        table.encrypted = encrypted;
        let kills = comply(&SqlPoller, &mut table).await;
        println!("encrypted {encrypted}: killed {kills} times");
    }
    table.fresh().await;
    table.put(0..100).await;
    let closed = format!(
        "CREATE TABLE closed AS SELECT * FROM {0}; CREATE VIEW events AS SELECT * FROM {0}; GRANT SELECT ON events TO reader",
        table.table
    );
    table.server.execute(&table.database, &closed).await;
    let good = table.connection();
    let changed = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        match changed.pointer_mut(pointer) {
            Some(field) => *field = value,
            None => changed[&pointer[1..]] = value,
        }
        changed
    };
    wrong_connections_are_refused(&changed).await;
    wrong_queries_are_refused(&table, &changed).await;
    a_killed_server_loses_nothing(&table).await;
}

async fn wrong_connections_are_refused(changed: &dyn Fn(&str, Value) -> Value) {
    let wrong_name = json!({"ca": changed("/x", json!(0))["tls"]["ca"], "server_name": "other.test"});
    for (pointer, value, step, says) in [
        (
            "/username",
            json!("nobody"),
            "authenticate",
            "refuses user `nobody`",
        ),
        (
            "/database",
            json!("nothing"),
            "authenticate",
            "no database `nothing`",
        ),
        ("/tls", json!({}), "tls", "TLS could not be agreed on"),
        ("/tls", wrong_name, "tls", "TLS could not be agreed on"),
        ("/table", json!("public.nothing"), "permission", "does not exist"),
        ("/table", json!("public.closed"), "permission", "may not read"),
        ("/key", json!("nothing"), "permission", "no column `nothing`"),
        (
            "/columns",
            json!(["nothing"]),
            "permission",
            "no column `nothing`",
        ),
        (
            "/cursor/kind",
            json!("text"),
            "permission",
            "not of the cursor's kind",
        ),
        (
            "/cursor/column",
            json!("c"),
            "permission",
            "not of the cursor's kind",
        ),
    ] {
        let mut wrong = changed(pointer, value);
        if pointer == "/cursor/kind" {
            wrong["cursor"] = json!({"column": "at", "kind": "text"});
        }
        let error = failure(&wrong).await;
        assert!(matches!(error, Error::Refused { .. }), "{pointer}: {error:?}");
        assert!(error.to_string().contains(says), "{pointer}: {error}");
        let results = check(&wrong).await;
        let (status, text) = told(&results, step);
        assert_eq!(status, CheckStatus::Failed, "{results:?}");
        assert!(text.contains(says), "{results:?}");
    }
    let results = check(&changed("/username", json!("careful"))).await;
    assert!(
        told(&results, "authenticate")
            .1
            .contains("signed in as `careful`"),
        "{results:?}"
    );
    let results = check(&changed("/tls", json!({"enabled": false}))).await;
    assert_eq!(told(&results, "tls").0, CheckStatus::Skipped);
    assert_eq!(told(&results, "sample").0, CheckStatus::Passed);
    assert_eq!(
        told(&results, "permission"),
        (CheckStatus::Passed, "the rows may be read ")
    );
}

async fn wrong_queries_are_refused(table: &Table, changed: &dyn Fn(&str, Value) -> Value) {
    let (server, database) = (&table.server, &table.database);
    server
        .execute(
            database,
            &format!(
                "CREATE SEQUENCE s; GRANT ALL ON s TO reader; GRANT INSERT ON {} TO reader",
                table.table
            ),
        )
        .await;
    let query = |query: &str| {
        let mut connection = changed("/query", json!(query));
        connection.as_object_mut().unwrap().remove("table");
        connection["statement_timeout"] = json!("300ms");
        connection
    };
    for (text, says) in [
        ("SELECT n, at, nextval('s') FROM events", "the query writes"),
        (
            "SELECT n, at FROM events WHERE no_such_column",
            "does not accept the query",
        ),
        ("SELECT n, at, 1 / 0 AS x FROM events", "fails for a row"),
        (
            "WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x",
            "does not accept the query",
        ),
        ("SELECT NULL::int AS n, at FROM events", "no value in the key"),
    ] {
        let error = failure(&query(text)).await;
        assert!(
            matches!(error, Error::Refused { .. }) && error.to_string().contains(says),
            "{text}: {error}"
        );
    }
    let slow = failure(&query("SELECT n, at FROM events, pg_sleep(60)")).await;
    assert!(
        slow.is_transient() && slow.to_string().contains("statement_timeout"),
        "{slow}"
    );
    // The user could write now, and some rows have no cursor.
    server
        .execute(
            database,
            &format!("INSERT INTO {} VALUES (1000, NULL, NULL)", table.table),
        )
        .await;
    let results = check(&table.connection()).await;
    assert!(
        told(&results, "permission").1.contains("could also write"),
        "{results:?}"
    );
    assert!(told(&results, "sample").1.contains("no cursor"), "{results:?}");
    let (records, _) = run(source(&table.connection(), None), None).await;
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
}

async fn a_killed_server_loses_nothing(table: &Table) {
    let postgres = &table.server.postgres;
    let records = run_over(&table.connection(), async || {
        postgres.kill().unwrap();
        postgres.resume().await.unwrap();
    })
    .await;
    let keys: std::collections::HashSet<_> = records.iter().map(|record| record.dedupe_key.clone()).collect();
    assert_eq!((keys.len(), numbers(&records)), (100, (0..100).collect()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_of_postgres_comes_out_as_it_means_it() {
    let server = Server::start().await;
    let database = server.database().await;
    server
        .execute(
            &database,
            r#"CREATE TYPE level AS ENUM ('low', 'high');
            CREATE TYPE pair AS (a int, b text);
            CREATE DOMAIN money_amount AS numeric(20,2);
            CREATE TABLE events (
                n uuid PRIMARY KEY, at timestamp NOT NULL, "quoted "" Name" text, i2 smallint, i8 bigint, num numeric, big money_amount,
                f4 real, f8 double precision, nan double precision, yes boolean, tz timestamptz, d date, t time, iv interval,
                raw bytea, js json, jb jsonb, lv level, lvs level[], ints int[], nums numeric[], times timestamp[], p pair,
                ip inet, nothing text, inf timestamptz, b bit(3), ch char(4));
            INSERT INTO events VALUES (
                '6f9619ff-8b86-d011-b42d-00cf4fc964ff', '2026-01-01 00:00:00.123456', E'it''s "x" \\ \u00e4 \U0001F600', -32768, 9223372036854775807,
                123456789012345678901234567890.000000000123456789, 12.5, 0.1, 1e300, 'NaN', true, '2026-01-01 02:00:00+02', '2026-01-01', '12:30:00', '1 day 02:00:00',
                decode(repeat('ff00', 60), 'hex'), '{"a": 1.10, "b": [ ]}', '{"b": 12345678901234567890123}', 'high', '{low,high}', '{1,NULL,3}', '{1.10}', '{2026-01-01 00:00:00}', '(1,x)',
                '192.0.2.1/24', NULL, 'infinity', B'101', 'ab');
            GRANT SELECT ON events TO reader"#,
        )
        .await;
    let all = server.connection(
        &database,
        json!({"table": "events", "cursor": {"column": "at", "kind": "timestamp"}}),
    );
    let (records, _) = run(source(&all, None), None).await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        records[0].dedupe_key.as_deref(),
        Some("6f9619ff-8b86-d011-b42d-00cf4fc964ff@2026-01-01 00:00:00.123456")
    );
    assert_eq!(records[0].headers["table"], "events");
    use base64::{Engine, engine::general_purpose::STANDARD};
    let raw = STANDARD.encode([0xff_u8, 0].repeat(60));
    let text = String::from_utf8(records[0].bytes.to_vec()).unwrap();
    assert!(
        text.contains(r#""i8":9223372036854775807"#) && text.contains("12345678901234567890123"),
        "{text}"
    );
    let mut found: Value = serde_json::from_str(&text).unwrap();
    found["jb"] = Value::Null;
    assert_eq!(
        found,
        json!({
            "n": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "at": "2026-01-01T00:00:00.123456+00:00", "quoted \" Name": "it's \"x\" \\ ä 😀",
            "i2": -32768, "i8": 9_223_372_036_854_775_807_i64, "num": "123456789012345678901234567890.000000000123456789", "big": "12.50",
            "f4": 0.1, "f8": 1e300, "nan": "NaN", "yes": true, "tz": "2026-01-01T00:00:00+00:00", "d": "2026-01-01", "t": "12:30:00",
            "iv": "1 day 02:00:00", "raw": raw, "js": {"a": 1.10, "b": []}, "jb": null, "lv": "high", "lvs": ["low", "high"],
            "ints": [1, null, 3], "nums": ["1.10"], "times": ["2026-01-01T00:00:00+00:00"], "p": {"a": 1, "b": "x"},
            "ip": "192.0.2.1/24", "nothing": null, "inf": "infinity", "b": "101", "ch": "ab  ",
        })
    );
    let few = server.connection(
        &database,
        json!({
            "table": "events", "columns": ["num", "lv"], "cursor": {"column": "n", "kind": "uuid"},
        }),
    );
    let (records, _) = run(source(&few, None), None).await;
    assert_eq!(
        records[0].bytes,
        r#"{"num":"123456789012345678901234567890.000000000123456789","lv":"high"}"#
    );
}
