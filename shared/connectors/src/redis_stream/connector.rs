//! The catalog's side of `redis_stream`.

use std::sync::LazyLock;

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use redis::{Value as Answer, cmd};
use serde_json::{Value, json};

use super::{
    client::{Client, failed},
    config::Connection,
    source::{Position, RedisStreamSource},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid,
};

const TYPE: &str = "redis_stream";

/// Entries of a Redis stream.
#[derive(Clone, Copy, Debug)]
pub struct RedisStream;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "Redis stream",
    description: "Entries of a Redis stream, read as a member of a consumer group and acknowledged once they are durable.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "host": "redis.example.com", "port": 6380, "tls": {"enabled": true},
        "username": "halcyon", "password": {"$secret": "password"},
        "stream": "alerts", "group": "halcyon", "field": "payload",
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: false,
        ordering: Ordering::None,
        resumable: true,
        backfill: false,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "An entry without `field`",
        payload: json!({"id": "a-1", "severity": "high", "title": "Malware found", "host": "web-1"}),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for RedisStream {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        match Connection::read(connection) {
            Ok(connection) => connection.validate(),
            Err(error) => vec![error],
        }
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let steps = ["resolve", "connect", "authenticate", "permission", "sample"];
        let mut results = match check::begin(TYPE, context, &steps) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(connection) = Connection::read(context.connection) else {
            return results;
        };
        let late = check::whole("the server", at_server(&connection, context, &mut results)).await;
        results.extend(late);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let connection = Connection::read(&context.connection).map_err(|error| Error::Config(vec![error]))?;
        Ok(Box::new(RedisStreamSource::new(connection, context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}

async fn at_server(connection: &Connection, context: &CheckContext<'_>, results: &mut Vec<CheckResult>) {
    let (reached, stream) = check::reach(context.guard, &connection.host, connection.port).await;
    results.extend(reached);
    let Some(stream) = stream else {
        results.extend(["authenticate", "permission", "sample"].map(check::not_tried));
        return;
    };
    let client = check::in_time("the server", Client::over(connection, context.secrets, stream)).await;
    results.push(check::of_step(
        "authenticate",
        &client,
        "the server lets us in",
        "see that `tls`, user and password are what the server asks for",
    ));
    match client {
        Ok(client) => results.extend(look(&client, connection).await),
        Err(_) => results.extend(["permission", "sample"].map(check::not_tried)),
    }
}

/// The `permission` and `sample` checks: what the stream holds, without touching it.
async fn look(client: &Client, connection: &Connection) -> [CheckResult; 2] {
    let mut link = client.connection.clone();
    let kind: Result<String, _> = cmd("TYPE").arg(&connection.stream).query_async(&mut link).await;
    if kind.is_ok_and(|kind| kind == "none") {
        let message = format!("`{}` does not exist yet and will be made", connection.stream);
        return [
            check::skipped("permission", message),
            check::skipped("sample", "there is no entry yet"),
        ];
    }
    let mut groups = cmd("XINFO");
    groups.arg("GROUPS").arg(&connection.stream);
    let groups = groups
        .query_async::<Answer>(&mut link)
        .await
        .map_err(|error| failed(&error));
    let permission = check::of_step(
        "permission",
        &groups,
        "the stream and its groups can be seen",
        "see that the key is a stream, and let the user run XINFO, XGROUP, XREADGROUP, XAUTOCLAIM and XACK on it",
    );
    if groups.is_err() {
        return [permission, check::not_tried("sample")];
    }
    let length: Result<u64, Error> = cmd("XLEN")
        .arg(&connection.stream)
        .query_async(&mut link)
        .await
        .map_err(|error| failed(&error));
    let told = length
        .as_ref()
        .map(|length| format!("the stream has {length} entries"));
    let told = told.unwrap_or_default();
    [
        permission,
        check::of_step("sample", &length, told, "let the user run XLEN on the stream"),
    ]
}
