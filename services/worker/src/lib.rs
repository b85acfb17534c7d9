//! The data plane: takes accepted events from the partitions it holds and records from the sources it runs, maps
//! them, and hands what they became to the ontology stream. It has no database and no key of its own.
//!
//! | module | what it is for |
//! |---|---|
//! | `run`, [`settings`](Settings) | a worker from its start to its end |
//! | `supervisor` | follows the assignments: which partitions, which versions, which sources |
//! | [`holding`], `sources` | which sources are to run here, and those that do |
//! | `feed` | a datasource at this worker: its version, state and numbers |
//! | `mapper`, `sink` | events to outcomes, off the async threads; outcomes to the bus |
//! | `apart` | events that killed a worker, in a process of their own |
//! | `partition` | a partition: frames, attempts, parking and draining |
//! | `pull` | a source that this worker runs: batches, checkpoints, failures |
//! | `heartbeat`, `meter`, `logs` | what the worker says of itself and of its datasources |

pub mod holding;

mod apart;
mod board;
mod captures;
mod feed;
mod heartbeat;
mod logs;
mod mapper;
mod meter;
mod partition;
mod pull;
mod run;
mod settings;
mod sink;
mod sources;
mod supervisor;
#[cfg(test)]
mod tests;
mod watch;

pub use apart::{SUBCOMMAND as MAP_EVENTS, map_events};
pub use run::{Context, run};
pub use settings::Settings;
