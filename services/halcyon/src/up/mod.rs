//! `halcyon up`: the whole system in one process, on an embedded default.

mod data_dir;
mod embedded;
pub(crate) mod nats_server;
mod ready;

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context, Result};
use halcyon_infra::{Shutdown, telemetry};

pub(crate) use self::ready::{PASSWORD_FILE, RUN_FILE};

use self::{data_dir::DataDir, embedded::Embedded, nats_server::NatsServer, ready::Ready};
use crate::{
    cli::UpArgs,
    commands::apply,
    production,
    settings::{Settings, Sources},
};

/// How long the services may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// Starts everything, says so, waits for SIGTERM or SIGINT, and stops everything in order.
pub(crate) async fn run(sources: &Sources, args: &UpArgs) -> Result<()> {
    let settings = Settings::load(sources)?;
    let _telemetry = telemetry::init(&settings.telemetry, "halcyon")?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let args = &UpArgs {
        listen: free_port(args.listen).context("choose another with --listen")?,
        ..args.clone()
    };
    let data = DataDir::open(&args.data_dir)?;
    let (settings, nats_files, subscriber) = data.prepare(settings, args)?;
    production::check(&settings)?;
    if !settings.mode().is_production() {
        tracing::warn!("datasources may reach this machine's own addresses, because it runs for development");
    }
    let nats = tokio::task::spawn_blocking(move || NatsServer::start(nats_files)).await??;
    let outcome = run_services(&settings, args, &data, subscriber, &shutdown).await;
    tokio::task::spawn_blocking(move || nats.stop()).await?;
    outcome
}

async fn run_services(
    settings: &Settings,
    args: &UpArgs,
    data: &DataDir,
    subscriber: String,
    shutdown: &Shutdown,
) -> Result<()> {
    let mut embedded = Embedded::start(settings, data).await?;
    let started = tokio::select! {
        ready = embedded.wait_ready(READY) => ready,
        () = shutdown.triggered() => Ok(()),
    };
    if started.is_ok() && !shutdown.is_triggered() {
        let ready = Ready {
            url: format!("{}://{}", scheme(settings), args.listen),
            nats_url: subscriber,
            admin_email: embedded.admin_email().to_owned(),
            admin_password: embedded.first_password().map(ToOwned::to_owned),
        };
        ready.remember(data)?;
        ready.print(args.output, data)?;
        if !args.apply.is_empty() {
            let applied = apply::at_start(ready.url, data.path().to_owned(), &args.apply);
            if let Some(Err(error)) = shutdown.unless_triggered(applied).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the files of datasources were not applied"
                );
            }
        }
        tokio::select! {
            () = shutdown.triggered() => {}
            () = embedded.any_ended() => {}
        }
    }
    let stopped = embedded.stop().await;
    started.and(stopped)
}

/// How the gateway is reached.
const fn scheme(settings: &Settings) -> &'static str {
    if settings.gateway.tls.is_some() {
        "https"
    } else {
        "http"
    }
}

/// Checks that nothing listens at `address`, so that the error names it. Port 0 becomes one that is free.
fn free_port(address: SocketAddr) -> Result<SocketAddr> {
    let bound = TcpListener::bind(address).with_context(|| format!("{address} cannot be listened on"))?;
    Ok(bound.local_addr()?)
}
