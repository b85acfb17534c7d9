//! The `halcyon` executable: every service, the embedded system, and the administrator's commands.

mod cli;
mod commands;
mod demo;
mod keys;
mod process;
mod production;
#[cfg(test)]
mod reference;
mod settings;
mod up;

use std::process::ExitCode;

use clap::Parser;

/// Ingest allocates much and on all threads, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for all libraries; it is set before any of them could choose another.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return fail(&anyhow::anyhow!("another TLS provider was installed first"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(cli::run(cli::Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the logs may not have been started")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("halcyon: {error:#}");
    ExitCode::FAILURE
}
