//! How to reach the bus.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use halcyon_domain::{
    duration::HumanDuration,
    partition::{DEFAULT_PARTITIONS, PoolPartitions},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The settings of a connection to the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// Servers, separated by commas: `nats://host:port`, or `tls://host:port`. User and password may stand in the
    /// URL; a seed in the identity wins over them.
    pub url: String,
    /// Encryption on the way to the servers.
    pub tls: BusTls,
    /// The file with the service's nkey seed (`SU...`); none where the URL carries credentials.
    pub nkey_seed_file: Option<PathBuf>,
    /// The number of partitions of the data path. The same for every service; it can only grow.
    pub partitions: u16,
    /// Further pools of workers that have partitions of their own, by name: what is pushed to datasources that ask
    /// for such a pool is processed by its workers. The same for every service; a range can only grow.
    pub pools: BTreeMap<String, PoolPartitions>,
    /// Copies of each stream: 1 on one node, 3 on a cluster.
    pub replicas: u8,
    /// The server's monitoring address (`http://host:port`), for the durability check.
    pub monitor_url: Option<String>,
    /// How long to try at the start before giving up.
    pub connect_timeout: HumanDuration,
    /// How long a request may take.
    pub request_timeout: HumanDuration,
    /// How long an ack of a publish may take before the same message is sent again.
    pub ack_timeout: HumanDuration,
    /// How long a publish may take in all, sending again included.
    pub publish_deadline: HumanDuration,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            tls: BusTls::default(),
            nkey_seed_file: None,
            partitions: DEFAULT_PARTITIONS,
            pools: BTreeMap::new(),
            replicas: 1,
            monitor_url: None,
            connect_timeout: HumanDuration::from_secs(10),
            request_timeout: HumanDuration::from_secs(5),
            ack_timeout: HumanDuration::from_secs(2),
            publish_deadline: HumanDuration::from_secs(5),
        }
    }
}

/// Encryption on the way to the servers. Where nothing is set, `tls://` in the address still asks for it, and the
/// system's authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BusTls {
    /// A file with the certificates (PEM) of the authorities that sign for the servers; no others are trusted then,
    /// and a server without TLS is refused.
    pub ca_file: Option<PathBuf>,
    /// A file with the client's own certificate (PEM), where the servers ask for one.
    pub certificate: Option<PathBuf>,
    /// A file with its private key (PEM).
    pub key: Option<PathBuf>,
    /// Whether something beneath encrypts already, such as a service mesh: production is then content without TLS.
    pub encrypted_beneath: bool,
}

impl BusTls {
    /// Whether servers without TLS are refused.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        self.ca_file.is_some() || self.certificate.is_some()
    }

    /// Looks at the files once, so that a wrong name is said instead of tried again for ever. They are read again at
    /// each connection, so they can be replaced.
    ///
    /// # Errors
    /// A file cannot be read, or a certificate comes without its key.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Error::Setup(
                "bus.tls: `certificate` and `key` go together".to_owned(),
            ));
        }
        for file in [&self.ca_file, &self.certificate, &self.key]
            .into_iter()
            .flatten()
        {
            std::fs::File::open(file)
                .map_err(|error| Error::Setup(format!("bus.tls: {}: {error}", file.display())))?;
        }
        Ok(())
    }
}

/// How often the connection is checked; a half-open one is noticed after two of them.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);
