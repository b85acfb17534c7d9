//! MariaDB, by the protocol of MySQL.

use std::ops::Range;

use async_trait::async_trait;
use halcyon_domain::test_run::CheckStatus;
use halcyon_tests::mariadb::MariaDb;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use super::super::mysql::writes;
use super::{PASSWORD, SqlPoller, check, failure, numbers, run, run_over, secrets, source, told};
use crate::{
    Checkpoint, Error, Secrets,
    compliance::{Peer, comply},
};

struct Table {
    server: MariaDb,
    certificate: String,
    database: String,
    encrypted: bool,
}

impl Table {
    async fn start() -> Self {
        let shown = generate_simple_self_signed(vec!["db.test".to_owned()]).unwrap();
        let (certificate, key) = (shown.cert.pem(), shown.signing_key.serialize_pem());
        let server = MariaDb::start(Some((&certificate, &key))).await.unwrap();
        let password = PASSWORD.replace('\'', "''");
        let make = format!("CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{password}'");
        server.execute("mysql", &make).await.unwrap();
        Self {
            server,
            certificate,
            database: String::new(),
            encrypted: false,
        }
    }

    async fn execute(&self, statements: &str) {
        self.server.execute(&self.database, statements).await.unwrap();
    }

    fn with(&self, rest: Value) -> Value {
        let mut connection = json!({
            "engine": "mysql", "host": "127.0.0.1", "port": self.server.port(), "database": self.database,
            "username": "reader", "password": {"$secret": "password"}, "key": "n", "batch": 11,
        });
        for (name, value) in rest.as_object().unwrap() {
            connection[name] = value.clone();
        }
        connection
    }
}

#[async_trait]
impl Peer for Table {
    async fn fresh(&mut self) {
        self.database = self.server.database().await.unwrap();
        self.execute(
            "CREATE TABLE events (n bigint unsigned PRIMARY KEY, at datetime(6), c int); \
             GRANT SELECT ON events TO reader@'127.0.0.1'",
        )
        .await;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let row = |n: u64| format!("({n}, '2026-01-01' + INTERVAL {} SECOND, {})", n / 5, n / 5);
        let rows: Vec<String> = numbers.map(row).collect();
        self.execute(&format!("INSERT INTO events VALUES {}", rows.join(", ")))
            .await;
    }

    fn connection(&self) -> Value {
        if self.encrypted {
            self.with(json!({
                "table": "events", "tls": {"ca": self.certificate, "server_name": "db.test"},
                "cursor": {"column": "at", "kind": "timestamp", "overlap": "2s"},
            }))
        } else {
            self.with(
                json!({"query": "SELECT n, c FROM events", "cursor": {"column": "c", "kind": "integer"}}),
            )
        }
    }

    fn secrets(&self) -> Secrets {
        secrets()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_complies_and_is_told_apart_when_it_fails() {
    let mut table = Table::start().await;
    for encrypted in [false, true] {
        table.encrypted = encrypted;
        let kills = comply(&SqlPoller, &mut table).await;
        println!("encrypted {encrypted}: killed {kills} times");
    }
    table.fresh().await;
    table.put(0..100).await;
    failures_are_told_apart(&table).await;
    late_rows_are_found(&table).await;
    let server = &table.server;
    let records = run_over(&table.connection(), async || {
        server.kill().unwrap();
        server.resume().await.unwrap();
    })
    .await;
    let keys: std::collections::HashSet<_> = records.iter().map(|record| record.dedupe_key.clone()).collect();
    assert_eq!(keys.len(), records.len());
    types(&mut table).await;
    rows_of_the_future_and_long_ones(&mut table).await;
}

async fn rows_of_the_future_and_long_ones(table: &mut Table) {
    table.fresh().await;
    table.put(0..100).await;
    table
        .execute("INSERT INTO events VALUES (1000, '2099-01-01', 0); SET GLOBAL max_allowed_packet = 1 << 27")
        .await;
    let connection = table.connection();
    let (records, _) = run(source(&connection, None), None).await;
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
    let results = check(&connection).await;
    assert!(told(&results, "sample").1.contains("dated ahead"), "{results:?}");
    let long = table.with(json!({
        "query": "SELECT n, c, REPEAT('x', 34 << 20) AS long_one FROM events",
        "cursor": {"column": "c", "kind": "integer"},
    }));
    let refused = failure(&long).await;
    assert!(
        matches!(&refused, Error::Refused { message } if message.contains("32 MiB")),
        "{refused}"
    );
}

async fn failures_are_told_apart(table: &Table) {
    let good = table.connection();
    let tls = |name: &str| json!({"ca": table.certificate, "server_name": name});
    for (field, value, step, says) in [
        (
            "username",
            json!("nobody"),
            "authenticate",
            "refuses user `nobody`",
        ),
        ("database", json!("nothing"), "authenticate", "nothing"),
        ("tls", tls("other.test"), "tls", "TLS could not be agreed on"),
        ("tls", json!({}), "tls", "TLS could not be agreed on"),
        ("table", json!("nothing"), "permission", ""),
        ("table", json!("mysql.global_priv"), "permission", "may not read"),
        ("key", json!("nothing"), "permission", "no column `nothing`"),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let error = failure(&wrong).await;
        assert!(matches!(error, Error::Refused { .. }), "{field}: {error:?}");
        assert!(error.to_string().contains(says), "{field}: {error}");
        let results = check(&wrong).await;
        assert_eq!(told(&results, step).0, CheckStatus::Failed, "{results:?}");
    }
    table
        .execute("GRANT INSERT ON events TO reader@'127.0.0.1'; INSERT INTO events VALUES (1000, NULL, NULL)")
        .await;
    let results = check(&good).await;
    assert!(
        told(&results, "permission").1.contains("could also write"),
        "{results:?}"
    );
    assert!(told(&results, "sample").1.contains("no cursor"), "{results:?}");
    let mut slow = table.with(json!({
        "query": "SELECT n, c, SLEEP(10) AS s FROM events", "cursor": {"column": "c", "kind": "integer"},
    }));
    slow["statement_timeout"] = json!("300ms");
    let slow = failure(&slow).await;
    assert!(
        slow.is_transient() && slow.to_string().contains("statement_timeout"),
        "{slow}"
    );
}

async fn late_rows_are_found(table: &Table) {
    let connection = table.connection();
    let (records, stored) = run(source(&connection, None), None).await;
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
    table
        .execute("INSERT INTO events VALUES (200, '2026-01-01 00:00:18.5', 0)")
        .await;
    let (records, _) = run(source(&connection, stored.clone()), stored).await;
    let expected: Vec<u64> = (85..95).chain([200]).chain(95..100).collect();
    assert_eq!(numbers(&records), expected);
    let mut counted = connection.clone();
    counted["cursor"] = json!({"column": "n", "kind": "integer", "overlap_values": 300});
    let at = Some(Checkpoint(json!({"column": "n", "cursor": "200", "key": "200"})));
    let (records, _) = run(source(&counted, at.clone()), at).await;
    assert!(
        records.len() > 100,
        "unsigned numbers less the overlap: {}",
        records.len()
    );
}

async fn types(table: &mut Table) {
    table.fresh().await;
    table
        .execute(
            r#"CREATE TABLE kinds (
                n binary(16) PRIMARY KEY, at timestamp(3) NOT NULL, `quoted ``Name` varchar(40), u8 bigint unsigned, i1 tinyint, y year,
                num decimal(40,10), f4 float, f8 double, d date, dt datetime, t time(3), bits bit(10), raw blob, txt longtext, js json,
                lv enum('low', 'high'), st set('a', 'b', 'c'), id uuid, nothing int);
            SET time_zone = '+02:00';
            INSERT INTO kinds VALUES (
                UNHEX('00112233445566778899aabbccddeeff'), '2026-01-01 02:00:00.123', 'it''s "x" \\ ä 😀', 18446744073709551615, -1, 2026,
                123456789012345678901234567890.0123456789, 0.1, 1e300, '2026-01-01', '2026-01-01 12:00:00', '-100:00:00.5', b'1000000001',
                UNHEX('ff00'), REPEAT('x', 100), '{"a": 1.10, "big": 12345678901234567890123}', 'high', 'a,c',
                '6f9619ff-8b86-d011-b42d-00cf4fc964ff', NULL);
            INSERT INTO kinds (n, at) VALUES (UNHEX('00112233445566778899aabbccddef00'), '2026-01-01 02:00:00.123');
            GRANT SELECT ON kinds TO reader@'127.0.0.1'"#,
        )
        .await;
    for cursor in [
        json!({"column": "at", "kind": "timestamp"}),
        json!({"column": "n", "kind": "uuid"}),
    ] {
        let connection =
            table.with(json!({"table": "kinds", "cursor": cursor, "batch": 1, "json_columns": ["js"]}));
        let (records, _) = run(source(&connection, None), None).await;
        assert_eq!(records.len(), 2, "{cursor}");
        let text = String::from_utf8(records[0].bytes.to_vec()).unwrap();
        assert!(
            text.contains(r#""js":{"a": 1.10, "big": 12345678901234567890123}"#),
            "{text}"
        );
        let mut found: Value = serde_json::from_str(&text).unwrap();
        found["js"] = Value::Null;
        assert_eq!(
            found,
            json!({
                "n": "ABEiM0RVZneImaq7zN3u/w==", "at": "2026-01-01T00:00:00.123000Z", "quoted `Name": "it's \"x\" \\ ä 😀",
                "u8": 18_446_744_073_709_551_615_u64, "i1": -1, "y": 2026, "num": "123456789012345678901234567890.0123456789",
                "f4": 0.1, "f8": 1e300, "d": "2026-01-01", "dt": "2026-01-01T12:00:00Z", "t": "-100:00:00.500000", "bits": 513,
                "raw": "/wA=", "txt": "x".repeat(100), "js": null, "lv": "high", "st": "a,c",
                "id": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "nothing": null,
            })
        );
    }
}

#[test]
fn grants_that_write_are_known() {
    for (grant, expected) in [
        ("GRANT USAGE ON *.* TO `reader`@`%`", false),
        ("GRANT SELECT, SHOW VIEW ON `insert`.* TO `delete`@`%`", false),
        ("GRANT ALL PRIVILEGES ON `siem`.* TO `x`@`%`", true),
        ("GRANT SELECT, INSERT ON `siem`.* TO `x`@`%`", true),
    ] {
        assert_eq!(writes(grant), expected, "{grant}");
    }
}
