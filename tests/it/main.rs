//! The one integration-test binary: whole processes over real servers, and the rules of the workspace.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

mod approvals;
mod architecture;
mod audit;
mod audit_complete;
mod canary;
mod captures;
mod cli;
mod cluster;
mod config_as_code;
mod data_ops;
mod faults;
mod hot_reload;
mod idempotency;
mod lifecycle;
mod main_job;
mod outages;
mod pull_sources;
mod samples;
mod scripts;
mod secret_store;
mod simulation;
mod traces;
mod up;

/// The executable under test.
fn halcyon() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_halcyon"))
}
