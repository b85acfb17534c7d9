//! HashiCorp Vault or OpenBao: values in a KV version 2 engine, keys wrapped by a transit engine.
//!
//! A process logs in with an AppRole whose identifiers stand in files, renews its token before it runs out, and
//! logs in again when it cannot. What fails is told apart: not now ([`Error::Unavailable`]), not allowed
//! ([`Error::Denied`]), not there ([`Error::Missing`]).
//!
//! [`Error::Unavailable`]: crate::Error::Unavailable
//! [`Error::Denied`]: crate::Error::Denied
//! [`Error::Missing`]: crate::Error::Missing

mod failure;
mod health;
mod kv;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod transit;

pub use kv::Place;
pub use session::Vault;
pub use settings::VaultSettings;
