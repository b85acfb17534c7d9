//! Settings: defaults, then files, then environment variables, then flags; each later one wins.
//!
//! An environment variable is `HALCYON__` and the key's parts joined by `__`:
//! `HALCYON__GATEWAY__LISTEN=127.0.0.1:9000` sets `gateway.listen`. The type that is loaded says its defaults
//! itself (`#[serde(default)]`).

mod error;
mod load;
mod mask;
mod source;

pub use error::Error;
pub use load::load;
pub use mask::{REDACTED, mask_url, masked};

/// What the names of environment variables that are settings start with.
pub const PREFIX: &str = "HALCYON__";
