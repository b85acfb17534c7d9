//! The catalog's side of `mqtt`.

use std::sync::LazyLock;

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    config::Connection,
    packet::Packet,
    session::{self, Stream, Who, Wire},
    source::{MqttSource, Position},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid,
};

const TYPE: &str = "mqtt";
/// The steps after the connection was made, in their order.
const STEPS: [&str; 3] = ["tls", "authenticate", "permission"];

/// Messages of an MQTT broker.
#[derive(Clone, Copy, Debug)]
pub struct Mqtt;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "MQTT",
    description: "Messages of an MQTT broker (3.1.1 and 5), acknowledged once they are delivered.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "host": "mqtt.example.com",
        "auth": {"username": "halcyon", "password": {"$secret": "password"}},
        "tls": {"enabled": true},
        "client_id": "halcyon-alarms",
        "topics": ["site/+/alarms/#"],
        "qos": 1,
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: false,
        ordering: Ordering::PerKey,
        resumable: true,
        backfill: false,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "An alarm",
        payload: json!({
            "id": "al-52", "time": "2026-01-01T00:00:00Z", "severity": "high",
            "site": "plant-3", "device": "door-17", "event": "forced_open",
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for Mqtt {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    fn validate_parallelism(&self, connection: &Value, parallelism: u16) -> Vec<InputError> {
        let ungrouped = Connection::read(connection).is_ok_and(|connection| connection.group.is_none());
        if parallelism <= 1 || !ungrouped {
            return Vec::new();
        }
        let detail = "several readers need a share group, else each of them gets every message";
        vec![InputError::new("/group", "required", detail)]
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
        Ok(Box::new(MqttSource::new(config, context)?))
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
    // Not as the reader, whose session would be taken over.
    let who = Who {
        client_id: format!("{}-check", config.client_id),
        clean: true,
    };
    let connected = in_time(session::log_in(config, stream, &who, context.secrets)).await;
    results.push(check::of_step(
        "authenticate",
        &connected,
        "the broker lets the client in",
        "see that user, password and version are right, and that the broker lets in the client id with `-check` at \
         its end, too",
    ));
    let Ok(mut wire) = connected else {
        results.push(check::not_tried("permission"));
        return;
    };
    let outcome = in_time(permission(&config.guest(), &mut wire)).await;
    results.push(check::of_step(
        "permission",
        &outcome,
        "the broker takes the subscriptions",
        "grant the user the topics, in the broker's access list",
    ));
}

/// Whether the topics may be subscribed to. The session is gone with the connection.
async fn permission(config: &Connection, wire: &mut Wire<Box<dyn Stream>>) -> Result<(), Error> {
    session::subscribe(config, wire).await?;
    loop {
        match wire.next().await? {
            Packet::Subscribed(codes) => return session::granted(config, &codes),
            Packet::Disconnected { code } => return Err(session::of_code(code)),
            _ => {}
        }
    }
}
