//! The registry's settings.

use std::path::PathBuf;

use halcyon_bus::trim::TrimPolicy;
use halcyon_domain::duration::HumanDuration;
use halcyon_secrets::{Wrapping, vault::VaultSettings};
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
    /// How long a datasource may take to start or to stop before that is an error, `start_timed_out` or
    /// `stop_timed_out`. It goes on trying.
    pub state_deadline: HumanDuration,
    /// How often everything is compared, whether or not a change was heard of.
    pub reconcile_interval: HumanDuration,
    /// How long after work was taken from busy workers for less busy ones it is done again at the earliest. A worker
    /// that is new gets its share at once.
    pub balance_interval: HumanDuration,
    /// How often numbers are written to the database. Changes of state are written at once.
    pub heartbeat_write_interval: HumanDuration,
    /// How long a ticket for the secrets of a test run is good.
    pub ticket_ttl: HumanDuration,
    /// How often a new key signs access tokens.
    pub rotate_token_keys_every: HumanDuration,
    /// How long gateways know a new key before it signs.
    pub announce_token_key: HumanDuration,
    /// How often the ingest stream is looked after.
    pub trim_interval: HumanDuration,
    /// What of the ingest stream is deleted, once it is acked.
    pub trim: TrimPolicy,
    /// How secrets are kept.
    pub secrets: SecretsSettings,
}

/// How secrets are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSettings {
    /// What wraps the tenants' data keys. A change is carried out by the leading registry in the background.
    pub key_wrapping: Wrapping,
    /// How long a rotated secret's previous version is accepted, unless the request says otherwise.
    pub overlap: HumanDuration,
    /// The longest overlap that a request may ask for.
    pub max_overlap: HumanDuration,
    /// How long before a secret's expiry its datasource's history warns of it.
    pub expiry_warnings: Vec<HumanDuration>,
    /// How often replaced versions are destroyed, expiries are looked at, and keys are wrapped anew.
    pub sweep_interval: HumanDuration,
    /// HashiCorp Vault or OpenBao, for values and for wrapping keys.
    pub vault: VaultSettings,
}

impl Default for SecretsSettings {
    fn default() -> Self {
        const DAY: u64 = 24 * 3_600;
        Self {
            key_wrapping: Wrapping::File,
            overlap: HumanDuration::from_secs(3_600),
            max_overlap: HumanDuration::from_secs(30 * DAY),
            expiry_warnings: [30, 7, 1].map(|days| HumanDuration::from_secs(days * DAY)).into(),
            sweep_interval: HumanDuration::from_secs(30),
            vault: VaultSettings::default(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kek_file: PathBuf::from("kek"),
            leader_lease: HumanDuration::from_secs(10),
            worker_lease: HumanDuration::from_secs(10),
            state_deadline: HumanDuration::from_secs(60),
            reconcile_interval: HumanDuration::from_secs(30),
            balance_interval: HumanDuration::from_secs(60),
            heartbeat_write_interval: HumanDuration::from_secs(2),
            ticket_ttl: HumanDuration::from_secs(60),
            rotate_token_keys_every: HumanDuration::from_secs(30 * 24 * 3600),
            announce_token_key: HumanDuration::from_secs(30),
            trim_interval: HumanDuration::from_secs(60),
            trim: TrimPolicy::default(),
            secrets: SecretsSettings::default(),
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
