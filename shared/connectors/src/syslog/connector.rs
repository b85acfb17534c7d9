//! The catalog's side of `syslog`.

use std::{io, net::SocketAddr, sync::LazyLock};

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use super::{
    config::{Settings, Transport},
    framing::Frame,
    record::{Origin, record},
    source::{Position, SyslogSource},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, secret_names, spec::schema, validate::ensure_valid, validate_connection,
};

/// The word for a datasource's `type`.
pub(super) const TYPE: &str = "syslog";

/// Messages that systems send by the syslog protocols.
#[derive(Clone, Copy, Debug)]
pub struct Syslog;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "Syslog",
    description: "Messages that systems and appliances send by RFC 5424 or RFC 3164 over TLS, TCP or UDP. CEF and LEEF inside are read, too.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "listen": {"address": "0.0.0.0", "port": 5514},
        "transport": "tcp",
        "allowed_networks": ["10.20.0.0/16"],
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: false,
        scheduled: false,
        ordering: Ordering::PerKey,
        resumable: false,
        backfill: false,
        sample: false,
    },
    samples: samples(),
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

const SAMPLES: [(&str, &str); 3] = [
    (
        "A login by RFC 5424",
        "<38>1 2026-01-01T00:00:00.003Z web-1.example.com sshd 4711 LOGIN [session@32473 user=\"alice\" from=\"192.0.2.10\"] Failed password for alice from 192.0.2.10 port 50022 ssh2",
    ),
    (
        "A firewall's CEF by RFC 3164",
        "<134>Jan  1 00:00:00 fw-1 CEF:0|ACME|Shield|1.0|100|Worm stopped|9|src=192.0.2.10 dst=198.51.100.7 spt=1232 msg=Blocked \\= stopped",
    ),
    (
        "LEEF",
        "<134>1 2026-01-01T00:00:00Z ids-1 - - - - LEEF:2.0|ACME|Shield|1.0|port_scan|^|src=192.0.2.10^dst=198.51.100.7^sev=5",
    ),
];

fn samples() -> Vec<SamplePayload> {
    let sample =
        |(name, text): (&'static str, &str)| payload_of(text).map(|payload| SamplePayload { name, payload });
    SAMPLES.into_iter().filter_map(sample).collect()
}

/// What becomes of a message at the beginning of 2026.
pub(crate) fn payload_of(text: &str) -> Option<Value> {
    let settings = Settings::read(&json!({
        "listen": {"port": 5514}, "transport": "tcp", "allowed_networks": ["192.0.2.1"],
    }));
    let origin = Origin {
        sender: [192, 0, 2, 1].into(),
        transport: "tcp",
    };
    let now = chrono::DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
    let frame = Frame {
        bytes: text.as_bytes().to_vec(),
        truncated: false,
    };
    let made = record(&frame, origin, settings.ok()?.reading, now, String::new).ok()?;
    serde_json::from_slice(&made.bytes).ok()
}

#[async_trait]
impl Connector for Syslog {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Settings::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let errors = validate_connection(TYPE, context.connection);
        let settings = Settings::read(context.connection)
            .ok()
            .filter(|_| errors.is_empty());
        let mut results = vec![check::of_configuration(&errors)];
        let Some(settings) = settings else {
            return results;
        };
        let secrets = check::of_secrets(&secret_names(context.connection), context.secrets);
        let has_secrets = secrets.status != halcyon_domain::test_run::CheckStatus::Failed;
        results.push(secrets);
        if let Some(tls) = &settings.tls {
            results.push(if has_secrets {
                let remedy = "give the certificate's own private key, in PEM form and without a password";
                let made = tls.server_config(context.secrets);
                check::of_step("tls", &made, "the certificate and its key can be used", remedy)
            } else {
                check::not_tried("tls")
            });
        }
        results.push(listen(settings.listen, settings.transport).await);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        if context.sample {
            // The port is the running datasource's, and nobody sends to another one.
            return Err(Error::Unsupported {
                connector: TYPE,
                operation: "sampling",
            });
        }
        let settings = Settings::read(&context.connection).map_err(Error::Config)?;
        Ok(Box::new(SyslogSource::new(settings, context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}

/// Whether the port could be opened here. In use it may be by the very datasource that is checked.
async fn listen(at: SocketAddr, transport: Transport) -> CheckResult {
    const NAME: &str = "listen";
    let outcome = match transport {
        Transport::Udp => UdpSocket::bind(at).await.map(drop),
        Transport::Tcp | Transport::Tls => TcpListener::bind(at).await.map(drop),
    };
    match outcome {
        Ok(()) => check::passed(NAME, format!("port {} is free where this check ran", at.port())),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => CheckResult {
            remedy: Some("if this datasource is not running there, choose another port".to_owned()),
            ..check::passed(
                NAME,
                format!(
                    "port {} is in use where this check ran, perhaps by this very datasource",
                    at.port()
                ),
            )
        },
        Err(error) => check::failed(
            NAME,
            format!("nobody can listen at {at} where this check ran: {error}"),
            "choose an address that the workers' machines have, or 0.0.0.0",
        ),
    }
}
