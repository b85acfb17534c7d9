//! A process of the pool and nothing else: what `halcyon` is under its hidden subcommand, for this crate's own tests
//! and its bench.

use std::{io, process::ExitCode};

fn main() -> ExitCode {
    match halcyon_sandbox::serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
