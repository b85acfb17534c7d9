//! How to reach the bus.

use std::time::Duration;

use halcyon_domain::{duration::HumanDuration, partition::DEFAULT_PARTITIONS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of a connection to the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// Servers, separated by commas: `nats://host:port`. User and password may stand in the URL; a seed in
    /// the identity wins over them.
    pub url: String,
    /// The file with the service's nkey seed (`SU...`); none where the URL carries credentials.
    pub nkey_seed_file: Option<std::path::PathBuf>,
    /// The number of partitions of the data path. The same for every service; it can only grow.
    pub partitions: u16,
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
            nkey_seed_file: None,
            partitions: DEFAULT_PARTITIONS,
            replicas: 1,
            monitor_url: None,
            connect_timeout: HumanDuration::from_secs(10),
            request_timeout: HumanDuration::from_secs(5),
            ack_timeout: HumanDuration::from_secs(2),
            publish_deadline: HumanDuration::from_secs(5),
        }
    }
}

/// How often the connection is checked; a half-open one is noticed after two of them.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);
