//! `syslog` against its RFCs, hostile senders, and the programs that send by it.

mod formats;
mod framing;
mod messages;
mod peer;
mod ports;
mod programs;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Syslog;
use crate::{
    BatchLimits, Connector, Secrets, Share, Source, SourceContext, SourceRecord, compliance::nowhere,
};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn connection(port: u16, transport: &str) -> Value {
    json!({
        "listen": {"address": "127.0.0.1", "port": port},
        "transport": transport,
        "allowed_networks": ["127.0.0.1"],
    })
}

fn context(connection: Value, secrets: Secrets) -> SourceContext {
    SourceContext {
        connection,
        secrets,
        checkpoint: None,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: std::sync::Arc::new(halcyon_domain::clock::SystemClock),
        guard: nowhere(),
    }
}

/// A source whose port is open.
async fn opened(connection: Value, secrets: Secrets) -> Box<dyn Source> {
    let mut source = Syslog.source(context(connection, secrets)).unwrap();
    let nothing = timeout(Duration::from_millis(50), source.next_batch()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    source
}

/// The next `count` records, as JSON.
async fn take(source: &mut Box<dyn Source>, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = timeout(PATIENCE, source.next_batch()).await;
        let batch = batch.unwrap_or_else(|_| panic!("only {} of {count} came", found.len()));
        found.extend(batch.unwrap().unwrap().records.iter().map(read));
    }
    assert_eq!(found.len(), count);
    found
}

fn read(record: &SourceRecord) -> Value {
    serde_json::from_slice(&record.bytes).unwrap()
}

/// Nothing more comes.
async fn nothing_more(source: &mut Box<dyn Source>) {
    sleep(Duration::from_millis(1)).await;
    let more = timeout(Duration::from_millis(100), source.next_batch()).await;
    assert!(more.is_err(), "{more:?}");
}
