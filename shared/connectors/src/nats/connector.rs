//! The catalog's side of `nats`.

use std::sync::LazyLock;

use async_nats::jetstream::{self, consumer::pull};
use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};

use super::{
    config::{Connection, Mode},
    feed::{is_missing, not_had},
    link::Link,
    source::{NatsSource, Position},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid,
};

const TYPE: &str = "nats";

/// Messages of NATS.
#[derive(Clone, Copy, Debug)]
pub struct Nats;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "NATS",
    description: "Messages of a JetStream consumer, acknowledged once they are delivered, or of a plain subject.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "servers": ["nats-1.example.com:4222", "nats-2.example.com:4222"],
        "tls": {"enabled": true},
        "auth": {"type": "credentials", "secret": {"$secret": "creds"}},
        "stream": "ALERTS",
        "consumer": "halcyon",
        "filter": ["alerts.>"],
        "start": {"from": "new"},
        "ack_wait": "60s",
        "dedupe": "sequence"
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: false,
        ordering: Ordering::None,
        resumable: true,
        backfill: true,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "An alert",
        payload: json!({
            "id": "a-17", "time": "2026-01-01T00:00:00Z", "severity": "high", "title": "Port scan",
            "source": {"ip": "192.0.2.10"},
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for Nats {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    fn validate_parallelism(&self, connection: &Value, parallelism: u16) -> Vec<InputError> {
        let alone =
            |connection: Connection| connection.mode == Mode::Core && connection.queue_group.is_none();
        if parallelism <= 1 || !Connection::read(connection).is_ok_and(alone) {
            return Vec::new();
        }
        let detail = "several instances need a queue group, else each of them gets every message";
        vec![InputError::new("/queue_group", "required", detail)]
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let mut results = match check::begin(TYPE, context, &[]) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(connection) = Connection::read(context.connection) else {
            return results;
        };
        let late = check::whole("the servers", async {
            if reach(&connection, context, &mut results).await {
                results.extend(talk(&connection, context).await);
            }
        });
        let late = late.await;
        results.extend(late);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let connection = Connection::read(&context.connection).map_err(Error::Config)?;
        if context.range.is_some() && connection.mode == Mode::Core {
            return Err(Error::Unsupported {
                connector: TYPE,
                operation: "reading the past of a plain subject",
            });
        }
        Ok(Box::new(NatsSource::new(connection, context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}

/// Whether one of the servers can be connected to. What is told is of that one, or of the last.
async fn reach(connection: &Connection, context: &CheckContext<'_>, results: &mut Vec<CheckResult>) -> bool {
    let mut told = Vec::new();
    // Three at most: a check ends in time.
    for endpoint in connection.endpoints().into_iter().take(3) {
        let (outcome, stream) = check::reach(context.guard, &endpoint.host, endpoint.port).await;
        told = outcome;
        if stream.is_some() {
            results.extend(told);
            return true;
        }
    }
    results.extend(told);
    false
}

async fn talk(connection: &Connection, context: &CheckContext<'_>) -> Vec<CheckResult> {
    let made = Link::make(connection, context.secrets, context.guard, check::STEP).await;
    let link = match made {
        Ok(link) => link,
        Err(error) => {
            let told = error.to_string();
            let (name, remedy) = if told.contains("TLS") {
                (
                    "tls",
                    "see that the server's certificate is of a trusted authority and has the name that is connected to",
                )
            } else {
                (
                    "authenticate",
                    "compare the credentials with the server's users, and see whether it asks for TLS",
                )
            };
            return vec![check::failed(name, told, remedy), check::not_tried("permission")];
        }
    };
    let encrypted = connection.tls.as_ref().is_some_and(|tls| tls.enabled);
    let tls = if encrypted {
        check::passed("tls", "the connection is encrypted and the certificate trusted")
    } else {
        check::skipped("tls", "the connection does not ask for TLS")
    };
    let authenticated = check::passed("authenticate", "the server takes the credentials");
    vec![tls, authenticated, permission(connection, &link).await]
}

/// Whether the stream is there and its consumer can be had; nothing is made.
async fn permission(connection: &Connection, link: &Link) -> CheckResult {
    if connection.mode == Mode::Core {
        return check::skipped("permission", "a subscription shows what a plain subject allows");
    }
    let mut context = jetstream::new(link.client.clone());
    context.set_timeout(check::STEP);
    let stream = connection.stream.clone().unwrap_or_default();
    let name = connection.consumer.clone().unwrap_or_default();
    let found = link
        .heed(async {
            let consumer = context.get_consumer_from_stream::<pull::Config, _, _>(&name, &stream);
            match consumer.await {
                Ok(_) => Ok(true),
                Err(error) if is_missing(&error.kind()) => Ok(false),
                Err(error) => Err(not_had(error.kind())),
            }
        })
        .await;
    let good = match &found {
        Ok(true) => "the consumer is there",
        _ => "the stream is there; the consumer will be made",
    };
    let remedy = "see that JetStream is enabled for the user's account, the stream exists, and the user may publish to \
                  the subjects that the connector's page lists";
    check::of_step("permission", &found, good, remedy)
}
