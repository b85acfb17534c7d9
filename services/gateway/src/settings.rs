//! The gateway's settings.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use halcyon_domain::{duration::HumanDuration, network::Network};
use halcyon_infra::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{ExternalIssuerSettings, SessionSettings, ThrottleSettings, TokenSettings},
    edge::settings::{CorsSettings, LimitSettings, ProbeAudience, TlsSettings},
    graphql::GraphqlSettings,
    proxies::ForwardedHeader,
};

/// Balancers that look every second have seen by then that the gateway is not ready.
const DRAIN_DELAY: Duration = Duration::from_secs(3);

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "GatewaySettings")]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS of the gateway's own; plain HTTP if absent.
    pub tls: Option<TlsSettings>,
    /// Whether a proxy in front of the gateway does TLS, and is the only way to it.
    pub tls_terminated_in_front: bool,
    /// Whether browsers are to send the session cookie over HTTPS only; with TLS of either kind, and in
    /// production, they are in any case.
    pub secure_cookies: bool,
    /// The proxies in front, as addresses and networks: what they say of where a request came from counts.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say so.
    pub forwarded_header: ForwardedHeader,
    /// Access tokens.
    pub tokens: TokenSettings,
    /// Another issuer whose tokens count, beside our own.
    pub external_issuer: Option<ExternalIssuerSettings>,
    /// How long somebody stays signed in.
    pub sessions: SessionSettings,
    /// How fast passwords may be tried.
    pub login: ThrottleSettings,
    /// Who is told details by `/readyz` and `/healthz`, and answered by `/metrics`.
    pub probes: ProbeAudience,
    /// Web pages of other origins.
    pub cors: CorsSettings,
    /// How much the gateway takes on.
    pub limits: LimitSettings,
    /// The GraphQL API.
    pub graphql: GraphqlSettings,
    /// How long a test run may take.
    pub test_timeout: HumanDuration,
    /// How long a request to the API may take; longer than a test run may.
    pub request_timeout: HumanDuration,
    /// The file with the public keys of the audit trail's checkpoints. Without it the keys are taken from the database,
    /// which proves nothing against somebody who can write to it.
    pub audit_public_keys: Option<PathBuf>,
    /// How long the gateway goes on taking requests after it was told to stop, and says that it is not ready, so that
    /// balancers send it no more; 3 seconds in production and none in development, if absent.
    pub drain_delay: Option<HumanDuration>,
    /// How long requests under way may take after that.
    pub drain_timeout: HumanDuration,
    /// How soon another process relays the outbox after this one died: at least two seconds.
    pub relay_lease: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            tls_terminated_in_front: false,
            secure_cookies: false,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            tokens: TokenSettings::default(),
            external_issuer: None,
            sessions: SessionSettings::default(),
            login: ThrottleSettings::default(),
            probes: ProbeAudience::default(),
            cors: CorsSettings::default(),
            limits: LimitSettings::default(),
            graphql: GraphqlSettings::default(),
            test_timeout: HumanDuration::from_secs(30),
            request_timeout: HumanDuration::from_secs(60),
            audit_public_keys: None,
            drain_delay: None,
            drain_timeout: HumanDuration::from_secs(15),
            relay_lease: HumanDuration::from_secs(10),
        }
    }
}

impl Settings {
    /// How long to go on taking requests after the process was told to stop.
    pub(crate) fn drain_delay(&self, mode: Mode) -> Duration {
        let usual = if mode.is_production() {
            DRAIN_DELAY
        } else {
            Duration::ZERO
        };
        self.drain_delay.map_or(usual, |delay| delay.get())
    }

    /// Whether browsers reach the gateway by TLS, its own or a proxy's.
    #[must_use]
    pub const fn by_tls(&self) -> bool {
        self.tls.is_some() || self.tls_terminated_in_front
    }
}
