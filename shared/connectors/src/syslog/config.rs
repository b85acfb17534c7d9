//! The connection of a `syslog` datasource, as it is written and as it is used.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use chrono::{DateTime, FixedOffset, Offset, Utc};
use halcyon_domain::{
    duration::HumanDuration,
    error::{InputError, from_value},
};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{framing::Framing, record::Reading, tls::ServerTls};

/// Below are the ports of the system's own services, which a user of ours has no business with.
const FIRST_PORT: u16 = 1024;
/// No datagram is larger.
const DATAGRAM: usize = 65_536;
/// What all senders together may have half sent, in bytes.
const HALF_SENT: usize = 256 << 20;

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) listen: Listen,
    pub(super) transport: Transport,
    #[serde(default)]
    pub(super) framing: Framing,
    pub(super) tls: Option<ServerTls>,
    pub(super) allowed_networks: Vec<String>,
    #[serde(default = "default_max_message")]
    pub(super) max_message: usize,
    #[serde(default = "default_max_connections")]
    pub(super) max_connections: usize,
    #[serde(default = "default_idle")]
    pub(super) idle_timeout: HumanDuration,
    #[serde(default = "default_zone")]
    pub(super) timezone: String,
    #[serde(default)]
    pub(super) identity: Identity,
}

/// Where to listen.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    #[serde(default = "default_address")]
    pub(super) address: String,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    Tcp,
    Tls,
    Udp,
}

impl Transport {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

/// What makes two messages one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Identity {
    /// Nothing: each that comes is one.
    #[default]
    Arrival,
    /// The same bytes from the same sender.
    Content,
}

fn default_address() -> String {
    "0.0.0.0".to_owned()
}

const fn default_max_message() -> usize {
    65_536
}

const fn default_max_connections() -> usize {
    1_000
}

const fn default_idle() -> HumanDuration {
    HumanDuration::from_secs(86_400)
}

fn default_zone() -> String {
    "Z".to_owned()
}

/// The connection, understood.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) transport: Transport,
    pub(super) framing: Framing,
    pub(super) tls: Option<ServerTls>,
    pub(super) networks: Vec<IpNet>,
    pub(super) max_message: usize,
    pub(super) max_connections: usize,
    pub(super) idle: Duration,
    pub(super) reading: Reading,
}

impl Settings {
    /// Reads a connection; the schema has passed.
    pub(super) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let connection: Connection = from_value(connection.clone()).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let address = connection.listen.address.parse();
        let listen = address.map(|address: IpAddr| SocketAddr::new(address, connection.listen.port));
        if listen.is_err() {
            let detail = "the value is no address such as 0.0.0.0, :: or 127.0.0.1";
            errors.push(InputError::new("/listen/address", "format", detail));
        }
        if connection.listen.port < FIRST_PORT {
            let detail = format!("ports below {FIRST_PORT} are not for datasources");
            errors.push(InputError::new("/listen/port", "out_of_range", detail));
        }
        let mut networks = Vec::new();
        for (index, text) in connection.allowed_networks.iter().enumerate() {
            match network(text) {
                Some(network) => networks.push(network),
                None => errors.push(InputError::new(
                    format!("/allowed_networks/{index}"),
                    "format",
                    "the value is no network such as 10.20.0.0/16, and no address",
                )),
            }
        }
        let zone = zone(&connection.timezone);
        if zone.is_none() {
            let detail = "the value is no offset such as +02:00 or Z";
            errors.push(InputError::new("/timezone", "format", detail));
        }
        errors.extend(transport_errors(&connection));
        let (Ok(listen), Some(zone), true) = (listen, zone, errors.is_empty()) else {
            return Err(errors);
        };
        Ok(Self {
            listen,
            transport: connection.transport,
            framing: connection.framing,
            tls: connection.tls,
            networks,
            max_message: connection.max_message,
            max_connections: connection.max_connections,
            idle: connection.idle_timeout.get(),
            reading: Reading {
                zone,
                by_content: connection.identity == Identity::Content,
            },
        })
    }

    /// Whether a sender may send.
    pub(super) fn allows(&self, sender: IpAddr) -> bool {
        let sender = sender.to_canonical();
        self.networks.iter().any(|network| network.contains(&sender))
    }
}

fn transport_errors(connection: &Connection) -> Vec<InputError> {
    let mut errors = Vec::new();
    match (&connection.tls, connection.transport) {
        (None, Transport::Tls) => {
            errors.push(InputError::new(
                "/tls",
                "required",
                "transport `tls` needs a certificate and its key",
            ));
        }
        (Some(tls), Transport::Tls) => errors.extend(tls.validate().into_iter().map(|mut error| {
            error.pointer.insert_str(0, "/tls");
            error
        })),
        (Some(_), Transport::Tcp | Transport::Udp) => {
            let detail = "only transport `tls` has TLS settings";
            errors.push(InputError::new("/tls", "unknown_field", detail));
        }
        (None, _) => {}
    }
    if connection.transport == Transport::Udp && connection.framing != Framing::Auto {
        let detail = "a datagram is one message: there is nothing to frame";
        errors.push(InputError::new("/framing", "unknown_field", detail));
    }
    if connection.transport == Transport::Udp && connection.max_message > DATAGRAM {
        let detail = format!("a datagram has at most {DATAGRAM} bytes");
        errors.push(InputError::new("/max_message", "out_of_range", detail));
    }
    if connection.max_connections.saturating_mul(connection.max_message) > HALF_SENT {
        let detail =
            format!("times `max_message` it must not exceed {HALF_SENT} bytes, which senders could fill");
        errors.push(InputError::new("/max_connections", "out_of_range", detail));
    }
    errors
}

fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()))
        .ok()
}

fn zone(text: &str) -> Option<FixedOffset> {
    if text == "Z" {
        return Some(Utc.fix());
    }
    let example = format!("2000-01-01T00:00:00{text}");
    DateTime::parse_from_rfc3339(&example)
        .ok()
        .map(|time| *time.offset())
}
