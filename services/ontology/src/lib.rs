//! The ontology service: takes outcomes off the bus, applies each record once, and publishes what it committed.

mod run;
mod settings;
#[cfg(test)]
mod tests;
mod write;

pub use run::{Context, run};
pub use settings::Settings;
