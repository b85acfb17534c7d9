//! `halcyon map-events`: what a worker starts for events that killed it. Not for people.

use std::io;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, setrlimit};

/// The address space that mapping may take. What needs more ends here, and not in the worker.
const MEMORY: u64 = 4 * 1024 * 1024 * 1024;

/// Maps the events of the standard input until it ends.
pub(crate) fn run() -> Result<()> {
    let limit = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::As, limit)?;
    halcyon_worker::map_events(io::stdin().lock(), io::stdout().lock())
}
