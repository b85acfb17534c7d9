//! The `halcyon` executable: every service, the embedded system, and the administrator's commands.

mod cli;
mod client;
mod commands;
mod demo;
#[cfg(test)]
mod deploy_tests;
mod ds;
mod keys;
mod manifest;
mod output;
mod plan;
mod process;
mod production;
#[cfg(test)]
mod reference;
mod settings;
mod up;
mod yaml;

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

use clap::Parser;

/// Ingest allocates much and on all threads, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before there is any thread, any file and any key: what runs scripts has nothing else.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == halcyon_sandbox::SUBCOMMAND)
    {
        return match halcyon_sandbox::serve(io::stdin().lock(), io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.into()),
        };
    }
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
        Err(error) => ended(&error),
    }
}

/// Says why a command did not do what it was asked for. Who reads no further did not ask for more.
fn ended(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let Some(cause) = error.downcast_ref::<client::Error>() else {
        return fail(error);
    };
    if !matches!(cause, client::Error::Told(_)) {
        output::remark(&format!("halcyon: {error:#}"));
    }
    ExitCode::from(cause.exit() as u8)
}

#[expect(clippy::print_stderr, reason = "the logs may not have been started")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("halcyon: {error:#}");
    let unproved = error.downcast_ref::<commands::audit::Unproved>();
    unproved.map_or(ExitCode::FAILURE, |unproved| ExitCode::from(unproved.code))
}
