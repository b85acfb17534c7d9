//! The crate's error.

use std::net::SocketAddr;

/// What can fail here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file, variable or flag cannot be read, or its value does not fit.
    #[error("configuration key `{key}` (from {origin}): {reason}")]
    ConfigKey {
        /// The key, with dots between its parts.
        key: String,
        /// The file, variable or flag that set it.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A configuration file cannot be read at all.
    #[error("configuration: {0}")]
    Config(String),
    /// An address cannot be listened on; mostly because another process does already.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Logs or traces cannot be set up.
    #[error("telemetry: {0}")]
    Telemetry(String),
    /// A metric cannot be set up.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The listener broke.
    #[error("listener: {0}")]
    Listener(#[from] std::io::Error),
}
