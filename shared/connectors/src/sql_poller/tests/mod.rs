//! `sql_poller` against PostgreSQL and MariaDB, and what it says to SQL Server.

mod mariadb;
mod postgres;
mod runs;
mod statements;

use std::{sync::Arc, time::Duration};

use halcyon_domain::{clock::SystemClock, test_run::CheckStatus};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::SqlPoller;
use crate::{
    BatchLimits, CheckContext, Checkpoint, Connector, Error, SecretValue, Secrets, Share, Source,
    SourceContext, SourceRecord, compliance::loopback,
};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "canary: it's a \"secret\"";

fn secrets() -> Secrets {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new(PASSWORD));
    secrets
}

fn context(connection: &Value, checkpoint: Option<Checkpoint>) -> SourceContext {
    SourceContext {
        connection: connection.clone(),
        secrets: secrets(),
        checkpoint,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: loopback(),
    }
}

fn source(connection: &Value, checkpoint: Option<Checkpoint>) -> Box<dyn Source> {
    SqlPoller.source(context(connection, checkpoint)).unwrap()
}

/// Reads a run to its end. Returns the records and the last checkpoint, or the one it began with.
async fn run(
    mut source: Box<dyn Source>,
    begun: Option<Checkpoint>,
) -> (Vec<SourceRecord>, Option<Checkpoint>) {
    let (mut records, mut stored) = (Vec::new(), begun);
    while let Some(batch) = timeout(PATIENCE, source.next_batch()).await.unwrap().unwrap() {
        records.extend(batch.records);
        stored = Some(batch.checkpoint);
    }
    assert_eq!(source.lag().records, Some(0));
    (records, stored)
}

fn read(record: &SourceRecord) -> Value {
    serde_json::from_slice(&record.bytes).unwrap()
}

fn numbers(records: &[SourceRecord]) -> Vec<u64> {
    records
        .iter()
        .map(|record| read(record)["n"].as_u64().unwrap())
        .collect()
}

/// The first thing that goes wrong.
async fn failure(connection: &Value) -> Error {
    let outcome = timeout(PATIENCE, source(connection, None).next_batch())
        .await
        .unwrap();
    outcome.expect_err("it fails")
}

async fn check(connection: &Value) -> Vec<(String, CheckStatus, String)> {
    let secrets = secrets();
    let context = CheckContext {
        connection,
        secrets: &secrets,
        clock: &SystemClock,
        guard: &loopback(),
    };
    let begun = Instant::now();
    let results = SqlPoller.check(&context).await;
    assert!(begun.elapsed() < Duration::from_secs(6));
    let told = |result: halcyon_domain::test_run::CheckResult| {
        let remedy = result.remedy.unwrap_or_default();
        (result.name, result.status, format!("{} {remedy}", result.message))
    };
    results.into_iter().map(told).collect()
}

/// What a check says of a step.
fn told<'a>(results: &'a [(String, CheckStatus, String)], name: &str) -> (CheckStatus, &'a str) {
    let found = results.iter().find(|(found, ..)| found == name);
    let (_, status, told) = found.unwrap_or_else(|| panic!("no `{name}` in {results:?}"));
    (*status, told)
}

/// Reads to the end over failures that pass, as a worker does. `restart` is called once, after the first batch.
async fn run_over<F: AsyncFnOnce()>(connection: &Value, restart: F) -> Vec<SourceRecord> {
    let mut context = context(connection, None);
    context.limits.max_records = 7;
    let mut source = SqlPoller.source(context).unwrap();
    let (mut records, mut restart, mut failures) = (Vec::new(), Some(restart), 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline);
        match source.next_batch().await {
            Ok(Some(batch)) => records.extend(batch.records),
            Ok(None) => break,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failures += 1;
                sleep(Duration::from_millis(50)).await;
            }
        }
        if let Some(restart) = restart.take() {
            restart().await;
        }
    }
    assert!(failures > 0, "the restart was noticed");
    records
}
