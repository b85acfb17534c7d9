//! A request as it came in, and the reasons to turn it away.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// A request, borrowed from the server: nothing is copied to judge it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The query string, without `?`.
    pub query: Option<&'a str>,
    /// The body, byte for byte as sent (still compressed).
    pub body: &'a [u8],
    /// Who sent it, as far as the gateway trusts its proxies.
    pub remote_ip: Option<IpAddr>,
}

impl<'a> Request<'a> {
    /// The first value of a header; `None` if it is absent or not ASCII.
    pub(crate) fn header(&self, name: &http::HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why a request was turned away. The text says nothing that would help a forger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The sender's address is not on the allow-list.
    #[error("the sender's address is not allowed")]
    Address,
    /// Credentials or a signature are needed and there are none.
    #[error("header `{header}` is needed")]
    Missing {
        /// The header that is missing.
        header: String,
    },
    /// The credentials or the signature are wrong.
    #[error("the credentials or the signature are not valid")]
    NotAuthentic,
    /// The signed time is too far from ours.
    #[error("the timestamp is outside the tolerance of {tolerance_seconds} s")]
    Stale {
        /// How far it may be.
        tolerance_seconds: i64,
    },
    /// A secret that is needed to judge the request is not there, or has no use as a key.
    #[error("the signing secret is not available")]
    SecretUnavailable {
        /// The secret's name, for logs.
        name: String,
    },
}

impl Rejection {
    /// The HTTP status to answer with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Address => 403,
            Self::Missing { .. } | Self::NotAuthentic | Self::Stale { .. } => 401,
            Self::SecretUnavailable { .. } => 503,
        }
    }

    /// A stable word for metrics and problem details.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address => "address_not_allowed",
            Self::Missing { .. } => "credentials_missing",
            Self::NotAuthentic => "not_authentic",
            Self::Stale { .. } => "stale_timestamp",
            Self::SecretUnavailable { .. } => "secret_unavailable",
        }
    }
}
