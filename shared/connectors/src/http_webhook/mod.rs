//! `http_webhook`: events that a vendor posts to us. The gateway compiles a connection once
//! ([`CompiledWebhook`]) and asks it for each request, on the raw bytes.

mod auth;
mod body;
mod compiled;
mod config;
mod connector;
mod credentials;
mod dedupe;
mod handshake;
mod hmac;
mod presets;
mod request;
mod signing_string;
#[cfg(test)]
mod tests;

pub use body::{BodyError, RawEvent};
pub use compiled::CompiledWebhook;
pub use config::RateLimit;
pub use connector::HttpWebhook;
pub use handshake::HandshakeAnswer;
pub use request::{Rejection, Request};

/// The largest body and the largest event that can be configured, in bytes; in base64 and with its envelope it
/// stays below the broker's largest message (8 MiB).
pub const MAX_BODY: usize = 4 * 1024 * 1024;
/// The largest body if none is configured, in bytes.
pub const DEFAULT_MAX_BODY: usize = MAX_BODY;
