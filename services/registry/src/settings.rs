//! The registry's settings.

use std::path::PathBuf;

use halcyon_bus::trim::TrimPolicy;
use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The registry's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "RegistrySettings")]
pub struct Settings {
    /// The file with the key-encryption keys; it must be readable by its owner only (0600). All registries have
    /// the same.
    pub kek_file: PathBuf,
    /// The time to live of the leader's lease: how long it takes another registry to take over.
    pub leader_lease: HumanDuration,
    /// The time to live of workers' leases: how long a new leader waits for a worker that it has not heard.
    pub worker_lease: HumanDuration,
    /// How often everything is compared, whether or not a change was heard of.
    pub reconcile_interval: HumanDuration,
    /// How often numbers are written to the database. Changes of state are written at once.
    pub heartbeat_write_interval: HumanDuration,
    /// How long a ticket for the secrets of a test run is good.
    pub ticket_ttl: HumanDuration,
    /// How often the ingest stream is looked after.
    pub trim_interval: HumanDuration,
    /// What of the ingest stream is deleted, once it is acked.
    pub trim: TrimPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kek_file: PathBuf::from("kek"),
            leader_lease: HumanDuration::from_secs(10),
            worker_lease: HumanDuration::from_secs(10),
            reconcile_interval: HumanDuration::from_secs(30),
            heartbeat_write_interval: HumanDuration::from_secs(2),
            ticket_ttl: HumanDuration::from_secs(60),
            trim_interval: HumanDuration::from_secs(60),
            trim: TrimPolicy::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_and_refuse_what_they_do_not_know() {
        let text = serde_json::to_string(&Settings::default()).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&text).unwrap(),
            Settings::default()
        );
        assert!(serde_json::from_str::<Settings>(r#"{"kek": "x"}"#).is_err());
    }
}
