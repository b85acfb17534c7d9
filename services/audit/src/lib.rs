//! The audit service: takes audit entries off the bus and appends them to a trail that can only grow, chained by
//! hashes for each organisation; signs checkpoints of it; removes what is past its time, behind a signed cut.

mod append;
mod prune;
mod run;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

pub use run::{Context, run};
pub use settings::Settings;
