//! The test-runner: tries a connector's configuration and mapping on a payload, with no effect on production. It
//! touches the bus and customers' systems, never the database, and holds no key.

mod check;
mod compare;
mod error;
mod expect;
mod input;
mod job;
mod memory;
mod outcome;
mod plan;
mod report;
mod run;
mod sandbox;
mod secrets;
mod settings;
mod stored;
#[cfg(test)]
mod tests;

pub use run::{Context, run};
pub use settings::Settings;
