//! How Vault is reached.

use std::path::PathBuf;

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How Vault (or OpenBao) is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VaultSettings {
    /// The server's address, such as `https://vault.example.com:8200`; without one Vault is not used.
    pub url: Option<String>,
    /// The namespace, where the server has them.
    pub namespace: Option<String>,
    /// A file with certificates (PEM) of authorities to be trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the AppRole method is mounted.
    pub approle_mount: String,
    /// The file with the AppRole's role id.
    pub role_id_file: PathBuf,
    /// The file with the AppRole's secret id; it is read at each login, so that it can be replaced.
    pub secret_id_file: PathBuf,
    /// Where the KV version 2 engine is mounted.
    pub kv_mount: String,
    /// What the paths of values begin with; then follow organisation, datasource and name.
    pub kv_prefix: String,
    /// Where the transit engine is mounted.
    pub transit_mount: String,
    /// The name of the transit key.
    pub transit_key: String,
    /// How long one request may take.
    pub timeout: HumanDuration,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            url: None,
            namespace: None,
            ca_file: None,
            approle_mount: "approle".to_owned(),
            role_id_file: PathBuf::from("vault-role-id"),
            secret_id_file: PathBuf::from("vault-secret-id"),
            kv_mount: "secret".to_owned(),
            kv_prefix: "halcyon".to_owned(),
            transit_mount: "transit".to_owned(),
            transit_key: "halcyon".to_owned(),
            timeout: HumanDuration::from_secs(5),
        }
    }
}
