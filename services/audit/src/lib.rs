//! The audit service: takes audit entries off the bus and appends them to a trail that can only grow, chained by
//! hashes for each organisation.

mod append;
mod chain;
mod run;
mod settings;
mod verify;

pub use chain::{Broken, Verifier, hash};
pub use run::{Context, run};
pub use settings::Settings;
pub use verify::{Verified, verify};
