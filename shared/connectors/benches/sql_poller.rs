//! Records a second of `sql_poller`, beside its library on its own: the same rows of one PostgreSQL, as columns and as
//! JSON.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use halcyon_connectors::{SecretValue, Secrets};
use halcyon_tests::postgres::Postgres;
use serde_json::json;
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_postgres::{Config, NoTls};

const ROWS: usize = 20_000;

async fn server() -> (Postgres, String) {
    let postgres = Postgres::start().await.unwrap();
    let address = postgres.database().await.unwrap();
    let fill = format!(
        "CREATE TABLE events AS SELECT n, '2026-01-01Z'::timestamptz + n / 5 * interval '1 second' AS at, \
         repeat('m', 400) AS message, 'high' AS severity, n * 1.5 AS score, '{{\"host\": \"web-1\"}}'::jsonb AS details \
         FROM generate_series(1, {ROWS}) n; CREATE UNIQUE INDEX ON events (at, n); ANALYZE events"
    );
    postgres.execute(&address, &fill).await.unwrap();
    (postgres, address.rsplit('/').next().unwrap().to_owned())
}

async fn poll(port: u16, database: &str) -> usize {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new("not asked for"));
    let connection = json!({
        "engine": "postgresql", "host": "127.0.0.1", "port": port, "database": database, "username": "postgres",
        "password": {"$secret": "password"}, "table": "events", "key": "n",
        "cursor": {"column": "at", "kind": "timestamp"},
    });
    let mut source = support::source("sql_poller", connection, secrets);
    support::read(&mut *source, usize::MAX).await
}

async fn bare(address: &str, query: &str) -> usize {
    let config: Config = address.parse().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", config.get_ports()[0]))
        .await
        .unwrap();
    let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let rows = client.query(query, &[]).await.unwrap();
    let found = black_box(rows).len();
    driver.abort();
    found
}

fn compare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (postgres, database) = runtime.block_on(server());
    let address = format!("postgres://postgres@127.0.0.1:{}/{database}", postgres.port());
    let mut group = support::group(criterion, "sql_poller", ROWS);
    let expect = |found: usize| assert_eq!(found, ROWS);
    for (name, query) in [
        (
            "columns",
            "SELECT n, at::text, message, severity, score::text, details::text FROM events ORDER BY at, n",
        ),
        (
            "json",
            "SELECT row_to_json(events)::text FROM events ORDER BY at, n",
        ),
    ] {
        group.bench_function(format!("bare_client/{name}"), |bench| {
            bench.iter(|| expect(runtime.block_on(bare(&address, query))));
        });
    }
    group.bench_function("connector", |bench| {
        bench.iter(|| expect(runtime.block_on(poll(postgres.port(), &database))));
    });
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
