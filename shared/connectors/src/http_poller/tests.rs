//! The poller against a scripted HTTP server that pages in each way, throttles, breaks off and lies.

mod auth;
mod checks;
mod failures;
mod pages;
mod runs;
mod server;
mod suite;

use std::sync::Arc;

use halcyon_domain::clock::SystemClock;
use serde_json::{Value, json};
use server::{Asked, Reply, Server};

use crate::{
    BatchLimits, Checkpoint, Connector, Error, SecretValue, Secrets, Share, Source, SourceContext,
    SourceRecord, compliance::loopback, http_poller::HttpPoller, validate_connection,
};

/// What the tests' sources are made from.
fn context(connection: Value, checkpoint: Option<Checkpoint>) -> SourceContext {
    assert_eq!(validate_connection("http_poller", &connection), []);
    let mut secrets = Secrets::none();
    for name in ["token", "other"] {
        secrets.insert(name, SecretValue::new(format!("canary-{name}")));
    }
    SourceContext {
        connection,
        secrets,
        checkpoint,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: loopback(),
    }
}

fn open(context: SourceContext) -> Box<dyn Source> {
    HttpPoller.source(context).unwrap()
}

/// A whole run, and where it ends.
async fn run(context: SourceContext) -> Result<(Vec<SourceRecord>, Option<Checkpoint>), Error> {
    let (mut found, mut checkpoint) = (Vec::new(), context.checkpoint.clone());
    let mut source = HttpPoller.source(context)?;
    while let Some(batch) = source.next_batch().await? {
        found.extend(batch.records);
        let text = serde_json::to_string(&batch.checkpoint).unwrap();
        assert!(!text.contains("canary"), "{text}");
        checkpoint = Some(serde_json::from_str(&text).unwrap());
        source.ack(&batch.checkpoint).await.unwrap();
    }
    Ok((found, checkpoint))
}

fn numbers(records: &[SourceRecord]) -> Vec<u64> {
    let number = |record: &SourceRecord| -> u64 {
        let value: Value = serde_json::from_slice(&record.bytes).unwrap();
        value["n"].as_u64().unwrap()
    };
    records.iter().map(number).collect()
}

fn rows(range: std::ops::Range<u64>) -> Vec<Value> {
    range
        .map(|n| json!({"n": n, "id": format!("r{n}"), "at": n}))
        .collect()
}

#[test]
fn what_does_not_go_together_is_said_at_its_field() {
    let base = json!({"url": "https://a.example/v1"});
    let secret = json!({"$secret": "s"});
    for (part, pointer) in [
        (json!({"url": "ftp://a.example"}), "/url"),
        (json!({"url": "https://u:p@a.example"}), "/url"),
        (json!({"body": {"a": 1}}), "/body"),
        (json!({"records": "a..b"}), "/records"),
        (json!({"id": "f(x)"}), "/id"),
        (json!({"headers": {"a b": "x"}}), "/headers/a b"),
        (json!({"headers": {"Host": "x"}}), "/headers/Host"),
        (json!({"query": {"q": "{{nothing}}"}}), "/query/q"),
        (
            json!({"method": "POST", "body": {"a": {"b": ["{{x}}"]}}}),
            "/body/a/b/0",
        ),
        (
            json!({"auth": {"type": "basic", "secret": secret}}),
            "/auth/username",
        ),
        (
            json!({"auth": {"type": "bearer", "secret": secret, "username": "u"}}),
            "/auth/username",
        ),
        (
            json!({"auth": {"type": "oauth2", "token_url": "https://a.example", "client_id": "c"}}),
            "/auth/secret",
        ),
        (
            json!({"auth": {"type": "oauth2", "token_url": "https://a.example", "client_id": "c",
                "grant": "refresh_token"}}),
            "/auth/refresh_token",
        ),
        (
            json!({"auth": {"type": "jwt", "algorithm": "HS256", "secret": secret, "grant": "jwt_bearer"}}),
            "/auth/token_url",
        ),
        (
            json!({"pagination": {"type": "cursor", "param": "p"}}),
            "/pagination/next",
        ),
        (
            json!({"pagination": {"type": "link", "param": "p"}}),
            "/pagination/param",
        ),
        (
            json!({"pagination": {"type": "page", "param": "p", "in": "body"}}),
            "/pagination/in",
        ),
        (
            json!({"format": "ndjson", "pagination": {"type": "odata"}}),
            "/pagination/type",
        ),
        (json!({"format": "ndjson", "records": "a"}), "/records"),
        (json!({"cursor": {"path": "a", "overlap": 5}}), "/cursor/overlap"),
        (
            json!({"cursor": {"path": "a", "kind": "integer", "format": "unix_s"}}),
            "/cursor/format",
        ),
        (
            json!({"cursor": {"path": "a", "kind": "timestamp", "format": "iso"}}),
            "/cursor/format",
        ),
        (
            json!({"cursor": {"path": "a", "kind": "timestamp", "format": "%H:%M"}}),
            "/cursor/format",
        ),
        (
            json!({"cursor": {"path": "a", "initial": "{{now-1w}}"}}),
            "/cursor/initial",
        ),
        (json!({"range": {"format": "iso"}}), "/range/format"),
        (json!({"tls": {"ca": "none"}}), "/tls/ca"),
        (json!({"rate_limit": 0}), "/rate_limit"),
    ] {
        let mut connection = base.clone();
        for (name, value) in part.as_object().unwrap() {
            connection[name] = value.clone();
        }
        let errors = validate_connection("http_poller", &connection);
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{part}");
    }
}
