//! The catalog's side of `kafka`.

use std::sync::LazyLock;

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    config::Connection,
    dial::{Step, Stream, silent},
    registry::Schemas,
    source::{KafkaSource, Position, dialer},
    wire::{Malformed, Reader, Writer, api, ask},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, endpoint::Endpoint, presets, spec::schema, validate::ensure_valid,
};

const TYPE: &str = "kafka";
/// The largest answer of a check.
const ANSWER: usize = 64 << 20;

/// Records of Kafka topics.
#[derive(Clone, Copy, Debug)]
pub struct Kafka;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "Kafka",
    description: "Records of Kafka topics, read as a member of a consumer group and committed once they are delivered.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "brokers": ["kafka-1.example.com:9093", "kafka-2.example.com:9093"],
        "tls": {"enabled": true},
        "sasl": {"mechanism": "SCRAM-SHA-512", "username": "halcyon", "password": {"$secret": "password"}},
        "topics": ["alerts"],
        "group": "halcyon-alerts",
        "start": "latest",
        "isolation": "read_committed",
        "format": "json",
        "tombstones": "skip"
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: false,
        ordering: Ordering::PerKey,
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
impl Connector for Kafka {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let mut results = match check::begin(TYPE, context, &[]) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(connection) = Connection::read(context.connection) else {
            return results;
        };
        let late = check::whole("the brokers", async {
            if let Some(broker) = reach(&connection, context, &mut results).await {
                talk(&connection, context, &broker, &mut results).await;
            }
        });
        let late = late.await;
        results.extend(late);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let connection = Connection::read(&context.connection).map_err(Error::Config)?;
        Ok(Box::new(KafkaSource::new(connection, context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}

/// The first of the brokers that can be connected to.
async fn reach(
    connection: &Connection,
    context: &CheckContext<'_>,
    results: &mut Vec<CheckResult>,
) -> Option<Endpoint> {
    let mut told = Vec::new();
    // Three at most: a check ends in time.
    for broker in connection.endpoints().into_iter().take(3) {
        let (outcome, stream) = check::reach(context.guard, &broker.host, broker.port).await;
        told = outcome;
        if stream.is_some() {
            results.extend(told);
            return Some(broker);
        }
    }
    results.extend(told);
    None
}

async fn talk(
    connection: &Connection,
    context: &CheckContext<'_>,
    broker: &Endpoint,
    results: &mut Vec<CheckResult>,
) {
    let dialer = dialer(
        connection,
        context.secrets.clone(),
        context.guard.clone(),
        check::STEP,
    );
    let outcome = dialer.dial(broker).await;
    let failed = outcome
        .as_ref()
        .err()
        .map(|(step, error)| (*step, error.to_string()));
    if failed.as_ref().is_some_and(|(step, _)| *step == Step::Connect) {
        let message = failed.map(|(_, message)| message).unwrap_or_default();
        results.push(check::failed(
            "tls",
            message,
            "see that the broker keeps taking connections",
        ));
        return;
    }
    let at = |step| {
        failed
            .as_ref()
            .filter(|(failed, _)| *failed == step)
            .map(|(_, message)| message.clone())
    };
    results.push(match (at(Step::Tls), connection.tls.as_ref().is_some_and(|tls| tls.enabled)) {
        (Some(message), _) => {
            let remedy = "see that the port is the one for TLS, and that the broker's certificate is of a trusted \
                          authority and has the name that is connected to";
            check::failed("tls", message, remedy)
        }
        (None, true) => check::passed("tls", "the connection is encrypted and the certificate trusted"),
        (None, false) => check::skipped("tls", "the connection does not ask for TLS"),
    });
    results.push(match (at(Step::Authenticate), &connection.sasl) {
        (Some(message), _) => {
            let remedy = "compare user, password and mechanism with the cluster's, and the port's listener";
            check::failed("authenticate", message, remedy)
        }
        (None, _) if failed.is_some() => check::not_tried("authenticate"),
        (None, Some(_)) => check::passed("authenticate", "the broker takes the credentials"),
        (None, None) => check::skipped("authenticate", "the connection has no credentials"),
    });
    let Ok(mut stream) = outcome else {
        results.push(check::not_tried("permission"));
        return;
    };
    look(connection, context, broker, &mut stream, results).await;
    if let Some(registry) = &connection.schema_registry {
        let asked = async {
            let mut schemas = Schemas::new(registry.clone(), context.secrets.clone(), context.guard.clone())?;
            schemas.get(0).await.map(drop)
        };
        let late = || Err(Error::transient("the schema registry does not answer in time"));
        let outcome = timeout(check::STEP, asked).await.unwrap_or_else(|_| late());
        let remedy = "see to the registry's URL and credentials, and that the address guard allows its host";
        results.push(check::of_step(
            "schema_registry",
            &outcome,
            "the schema registry answers",
            remedy,
        ));
    }
}

/// What the broker says of the cluster.
struct Cluster {
    brokers: Vec<Endpoint>,
    /// Name and error of each topic.
    topics: Vec<(String, i16)>,
}

async fn look(
    connection: &Connection,
    context: &CheckContext<'_>,
    broker: &Endpoint,
    stream: &mut Box<dyn Stream>,
    results: &mut Vec<CheckResult>,
) {
    let found = timeout(check::STEP, metadata(connection, broker, stream)).await;
    let found = found.unwrap_or_else(|_| Err(silent(broker)));
    let cluster = match found {
        Ok(cluster) => cluster,
        Err(error) => {
            let remedy = "see whether the port wants TLS or SASL; brokers must be of Kafka 2.3 or newer";
            results.push(check::failed("permission", error.to_string(), remedy));
            return;
        }
    };
    results.push(brokers(context, &cluster.brokers).await);
    let good = |wanted: &String| {
        cluster
            .topics
            .iter()
            .any(|(name, error)| name == wanted && *error == 0)
    };
    let missing: Vec<&String> = connection.topics.iter().filter(|wanted| !good(wanted)).collect();
    let matching = cluster
        .topics
        .iter()
        .filter(|(name, _)| connection.wants(name))
        .count();
    results.push(if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "there is no topic {}, or this user may not see it",
            names.join(", ")
        );
        let remedy = "create the topics, and allow the user to read them (ACL: Read and Describe)";
        check::failed("permission", message, remedy)
    } else if matching == 0 {
        check::skipped("permission", "no topic matches the pattern yet")
    } else {
        check::passed("permission", format!("{matching} topic(s) can be seen"))
    });
}

/// Whether the brokers that the cluster names may be connected to.
async fn brokers(context: &CheckContext<'_>, brokers: &[Endpoint]) -> CheckResult {
    let remedy = "the hosts are what the brokers' `advertised.listeners` say: see that this installation's name \
                  servers know them, and ask a global admin to add them to `egress.allow` if they are not public";
    for broker in brokers.iter().take(20) {
        match timeout(check::STEP, context.guard.resolve(&broker.host)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                return check::failed("brokers", format!("the cluster names a broker: {error}"), remedy);
            }
            Err(_) => {
                let message = format!("no name server told the address of broker `{broker}` in time");
                return check::failed("brokers", message, remedy);
            }
        }
    }
    check::passed(
        "brokers",
        format!("the cluster's {} broker(s) may be connected to", brokers.len()),
    )
}

async fn metadata(
    connection: &Connection,
    broker: &Endpoint,
    stream: &mut Box<dyn Stream>,
) -> Result<Cluster, Error> {
    let mut body = Writer::default();
    if connection.pattern.is_some() {
        body.i32(-1);
    } else {
        body.count(connection.topics.len(), false);
        connection
            .topics
            .iter()
            .for_each(|topic| body.string(Some(topic), false));
    }
    // Topics are not created by being asked for; what one may do is not asked.
    body.bytes(&[0, 0, 0]);
    let answer = ask(stream, api::METADATA, 8, &body.0, ANSWER).await;
    let answer = answer.map_err(|_| silent(broker))?;
    cluster(&answer).map_err(|Malformed| silent(broker))
}

/// An answer of version 8.
fn cluster(answer: &[u8]) -> Result<Cluster, Malformed> {
    let mut reader = Reader(answer);
    reader.i32()?;
    let mut brokers = Vec::new();
    for _ in 0..reader.count(false)? {
        reader.i32()?;
        let host = reader.string(false)?.unwrap_or_default().to_owned();
        let port = u16::try_from(reader.i32()?).map_err(|_| Malformed)?;
        reader.string(false)?;
        brokers.push(Endpoint { host, port });
    }
    reader.string(false)?;
    reader.i32()?;
    let mut topics = Vec::new();
    for _ in 0..reader.count(false)? {
        let error = reader.i16()?;
        let name = reader.string(false)?.unwrap_or_default().to_owned();
        reader.bytes(1)?;
        for _ in 0..reader.count(false)? {
            // Error, number, leader and its epoch; then three lists of brokers.
            reader.bytes(14)?;
            for _ in 0..3 {
                let count = reader.count(false)?;
                reader.bytes(count * 4)?;
            }
        }
        reader.i32()?;
        topics.push((name, error));
    }
    Ok(Cluster { brokers, topics })
}
