//! The control plane: brings what runs to what is wanted, and owns the secrets.
//!
//! | module | what it is for |
//! |---|---|
//! | `leader` | of any number of registries one leads, by a lease |
//! | `checkpoints` | what every registry answers: places in sources, seen and moved by hand |
//! | `control` | what the leader reacts to: configuration changes, workers that come and go, heartbeats |
//! | [`reconcile`] | from what is wanted to what is to be written: a pure plan, and its execution |
//! | `state`, `history` | what workers reached, and what the datasources' histories say |
//! | `secrets` | what every registry answers: secrets written, listed, opened; tickets; token keys |
//! | [`SecretsAdmin`] | secrets' keys rotated, and secrets moved, by an administrator |
//! | `trim` | upkeep of the ingest stream |

pub mod reconcile;

mod checkpoints;
mod control;
mod error;
mod history;
mod key_file;
mod leader;
mod members;
mod run;
mod secrets;
mod secrets_admin;
mod settings;
mod state;
mod trim;

#[cfg(test)]
mod fixture;

pub use error::Error;
pub use key_file::{check_key_file, create_key_file};
pub use run::{Context, run};
pub use secrets::moving::Moved;
pub use secrets_admin::{KeyStep, SecretsAdmin, SecretsStatus};
pub use settings::Settings;
