//! Runs users' scripts, in processes that can do nothing else.
//!
//! A [`Pool`] holds processes of the same executable. Each confines itself before it reads anything ([`serve`]): no
//! file, socket, process, thread or environment, and bounded memory. The pool gives it one version of one datasource's
//! script and then batches of records, and kills it when a record takes longer than its deadline or more than its
//! memory. That record gets a failure (`script_timeout`, `script_memory`, `script_crashed`); the others of its batch
//! are mapped by the next process. What comes back is JSON that nobody trusts: `halcyon_mapping::ScriptMapping` turns
//! it into objects as it would an expression's values.
//!
//! Everything here waits: call it where that is allowed.

mod breaker;
mod child;
mod error;
mod mapper;
mod memory;
mod pool;
mod process;
mod settings;
mod wire;

pub use child::serve;
pub use error::Error;
pub use mapper::{Mapped, Mapping};
pub use pool::{Counts, Pool, Script};
pub use settings::{Program, Settings};
pub use wire::{Confinement, Failure};

/// The hidden subcommand of the `halcyon` executable that does what [`serve`] does.
pub const SUBCOMMAND: &str = "run-scripts";
