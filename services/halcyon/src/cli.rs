//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use halcyon_bus::Service;

use crate::{
    commands, demo, process,
    settings::{Settings, Sources},
    up,
};

/// HALCYON Datasource Studio: external data feeds as alerts, entities and relationships.
#[derive(Parser)]
#[command(name = "halcyon", version, about)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole system in one process, with nats-server and SQLite of its own.
    Up(UpArgs),
    /// Make keys, the nats-server's configuration and halcyon.toml for services as processes of their own.
    Init(commands::init::InitArgs),
    /// Run the gateway: API, ingest, outbox relay.
    Gateway,
    /// Run the registry: control plane and secrets.
    Registry,
    /// Run a worker: the data plane.
    Worker,
    /// Run a test-runner.
    TestRunner,
    /// Run the audit service.
    Audit,
    /// Run the ontology service.
    Ontology,
    /// Show the settings in effect, secrets masked.
    Config(commands::config::ConfigArgs),
    /// Bring the database's schema up to date, or take it back.
    Migrate(commands::migrate::MigrateArgs),
    /// Administer access without a running gateway.
    Admin(commands::admin::AdminArgs),
    /// Check what the system stands on: nats, database, keys.
    Doctor,
    /// Set up a vendor's feed on a running system and replay its sample events.
    Demo(demo::DemoArgs),
}

/// Flags of `halcyon up`.
#[derive(Clone, Parser)]
pub(crate) struct UpArgs {
    /// The folder with data and keys.
    #[arg(long, default_value = ".halcyon", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub(crate) listen: SocketAddr,
    /// The port of nats on loopback; any free one if absent.
    #[arg(long, value_name = "PORT")]
    pub(crate) nats_port: Option<u16>,
    /// What is printed when the system is ready.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON line, for scripts.
    Json,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> Result<()> {
    let sources = args.sources;
    let service = match args.command {
        Command::Up(up) => return up::run(&sources, &up).await,
        Command::Init(init) => return commands::init::run(&init),
        Command::Config(config) => return commands::config::run(&sources, &config),
        Command::Migrate(migrate) => return commands::migrate::run(&sources, &migrate).await,
        Command::Admin(admin) => return commands::admin::run(&sources, &admin).await,
        Command::Doctor => return commands::doctor::run(&sources).await,
        Command::Demo(demo) => return demo::run(demo).await,
        Command::Gateway => Service::Gateway,
        Command::Registry => Service::Registry,
        Command::Worker => Service::Worker,
        Command::TestRunner => Service::TestRunner,
        Command::Audit => Service::Audit,
        Command::Ontology => Service::Ontology,
    };
    process::run(service, Settings::load(&sources)?).await
}
