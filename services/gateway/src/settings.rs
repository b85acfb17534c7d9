//! The gateway's settings.

use std::net::{Ipv4Addr, SocketAddr};

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::{ThrottleSettings, TokenSettings};

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "GatewaySettings")]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether browsers are to send the session cookie over HTTPS only. Switch it on behind a TLS proxy.
    pub secure_cookies: bool,
    /// Access tokens.
    pub tokens: TokenSettings,
    /// How fast passwords may be tried.
    pub login: ThrottleSettings,
    /// How long a test run may take.
    pub test_timeout: HumanDuration,
    /// How long requests under way may take when the process is told to stop.
    pub drain_timeout: HumanDuration,
    /// How soon another process relays the outbox after this one died: at least two seconds.
    pub relay_lease: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            secure_cookies: false,
            tokens: TokenSettings::default(),
            login: ThrottleSettings::default(),
            test_timeout: HumanDuration::from_secs(30),
            drain_timeout: HumanDuration::from_secs(15),
            relay_lease: HumanDuration::from_secs(10),
        }
    }
}
