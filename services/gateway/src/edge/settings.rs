//! What can be set about the edge.

use std::path::PathBuf;

use halcyon_domain::duration::HumanDuration;
use halcyon_infra::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway's own TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The file with the certificate and those it rests on, in PEM, the gateway's own first.
    pub certificate: PathBuf,
    /// The file with the certificate's private key, in PEM.
    pub key: PathBuf,
    /// How often the files are looked at. Changed ones serve new connections; open ones stay.
    #[serde(default = "reload")]
    pub reload: HumanDuration,
}

const fn reload() -> HumanDuration {
    HumanDuration::from_secs(5)
}

/// Which web pages of other origins may call the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSettings {
    /// The origins, each as a browser sends it: `https://console.example.org`. None: no page but our own. They
    /// send bearer tokens; the session cookie is for our own pages.
    pub origins: Vec<String>,
    /// For how long a browser may remember the answer to its question whether it may.
    pub max_age: HumanDuration,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            max_age: HumanDuration::from_secs(600),
        }
    }
}

/// How much the gateway takes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Connections at once; further ones wait in the system's queue.
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// How long a TLS handshake, or the head of a request, may take to come in.
    pub header_timeout: HumanDuration,
    /// How long an answer may make no progress because its receiver does not take it.
    pub write_timeout: HumanDuration,
    /// The largest head of a request, in bytes: at least 8192.
    #[schemars(range(min = 8192))]
    pub max_header_bytes: usize,
    /// Requests of one user or service account to the API.
    pub subject: Quota,
    /// Requests without credentials that hold, from one address (IPv6: one /64 network).
    pub address: Quota,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: HumanDuration::from_secs(10),
            write_timeout: HumanDuration::from_secs(60),
            max_header_bytes: 32 * 1024,
            subject: Quota {
                requests: 12_000,
                window: HumanDuration::from_secs(60),
            },
            address: Quota {
                requests: 3_000,
                window: HumanDuration::from_secs(60),
            },
        }
    }
}

/// Who is told how the gateway is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeAudience {
    /// In production this host, otherwise everyone.
    #[default]
    Auto,
    /// Everyone who reaches the gateway.
    Everyone,
    /// Only who asks from this host.
    Local,
}

impl ProbeAudience {
    /// Whether only who asks from this host is told.
    pub(crate) const fn is_local(self, mode: Mode) -> bool {
        match self {
            Self::Auto => mode.is_production(),
            Self::Everyone => false,
            Self::Local => true,
        }
    }
}

const fn minute() -> HumanDuration {
    HumanDuration::from_secs(60)
}

/// So many requests in so much time. Each gateway counts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests that may come at once; 0: no limit.
    pub requests: u32,
    /// The time in which as many become free again.
    #[serde(default = "minute")]
    pub window: HumanDuration,
}
