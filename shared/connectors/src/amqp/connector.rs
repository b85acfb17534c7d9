//! The catalog's side of `amqp`.

use std::sync::LazyLock;

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use super::{
    config::Connection,
    session::{self, of_broker},
    source::{AmqpSource, Position},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid,
};

const TYPE: &str = "amqp";
/// The steps after the connection was made, in their order.
const STEPS: [&str; 3] = ["tls", "authenticate", "permission"];

/// Messages of an AMQP 0-9-1 queue.
#[derive(Clone, Copy, Debug)]
pub struct Amqp;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "AMQP (RabbitMQ)",
    description: "Messages of a queue of RabbitMQ or another AMQP 0-9-1 broker, acknowledged once they are delivered.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "host": "rabbit.example.com",
        "virtual_host": "security",
        "auth": {"mechanism": "plain", "username": "halcyon", "password": {"$secret": "password"}},
        "tls": {"enabled": true},
        "queue": "alerts",
        "bind": {"exchange": "detections", "routing_keys": ["alerts.#"]},
        "prefetch": 100,
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: false,
        // A queue has an order, but what a reader did not acknowledge comes again, perhaps to another one.
        ordering: Ordering::None,
        resumable: true,
        backfill: false,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "An alert",
        payload: json!({
            "id": "a-1007", "time": "2026-01-01T00:00:00Z", "severity": "high",
            "rule": {"id": "R-17", "name": "Login from two countries"},
            "user": {"name": "alice"}, "source_ip": "192.0.2.10",
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for Amqp {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let mut results = match check::begin(TYPE, context, &[&["resolve", "connect"], &STEPS[..]].concat()) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(config) = Connection::read(context.connection) else {
            return results;
        };
        let late = check::whole("the broker", async {
            let (reached, stream) = check::reach(context.guard, &config.host, config.port()).await;
            results.extend(reached);
            match stream {
                Some(stream) => at_broker(&config, context, stream, &mut results).await,
                None => results.extend(STEPS.map(check::not_tried)),
            }
        });
        let late = late.await;
        results.extend(late);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let config = Connection::read(&context.connection).map_err(Error::Config)?;
        Ok(Box::new(AmqpSource::new(config, context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    check::in_time("the broker", work).await
}

/// The steps over a connection, up to the first that fails.
async fn at_broker(
    config: &Connection,
    context: &CheckContext<'_>,
    stream: TcpStream,
    results: &mut Vec<CheckResult>,
) {
    let encrypted = in_time(session::encrypt(config, stream, context.secrets)).await;
    results.push(match config.tls() {
        Some(_) => check::of_step(
            "tls",
            &encrypted,
            "the connection is encrypted and the broker's certificate is trusted",
            "give the broker's certificate authority as `tls.ca`, and the name in its certificate as \
             `tls.server_name`; and see that the port is the one for TLS",
        ),
        None => check::skipped("tls", "the connection is not encrypted"),
    });
    let Ok(stream) = encrypted else {
        results.extend(["authenticate", "permission"].map(check::not_tried));
        return;
    };
    let connection = in_time(session::log_in(config, stream, context.secrets)).await;
    results.push(check::of_step(
        "authenticate",
        &connection,
        format!("the broker lets the user into `{}`", config.virtual_host),
        "see that user and password are right and that the user may use the virtual host",
    ));
    let Ok(connection) = connection else {
        results.push(check::not_tried("permission"));
        return;
    };
    let outcome = in_time(permission(config, &connection)).await;
    let good = match outcome {
        Ok(count) => format!("`{}` can be read; {count} messages wait in it", config.queue),
        Err(_) => String::new(),
    };
    results.push(check::of_step(
        "permission",
        &outcome,
        good,
        "see that the queue is there, and grant the user permission to read it (`rabbitmqctl set_permissions`)",
    ));
    let _ = timeout(check::STEP / 3, connection.close(200, "checked".into())).await;
}

/// How many messages wait in the queue, if it may be read.
async fn permission(config: &Connection, connection: &lapin::Connection) -> Result<u32, Error> {
    let channel = connection.create_channel().await;
    let channel = channel.map_err(|error| of_broker(&error, config))?;
    let count = session::look(&channel, config).await?;
    session::may_read(&channel, config).await?;
    Ok(count)
}
