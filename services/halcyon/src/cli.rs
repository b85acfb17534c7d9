//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use halcyon_bus::Service;

use crate::{
    commands, demo, ds, process,
    settings::{Settings, Sources},
    up,
};

/// What the help says of exit codes; `client::Exit` is what they are.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or refused by the system
  2  the command line or a file does not say what to do
  3  what it is about is not there
  4  it makes no sense in the present state, or something was changed meanwhile
  5  the system cannot be reached, or does not know who is calling
  6  there are changes to be made (plan --detailed-exit-code)
`audit verify` ends with 0, 1 if the trail was tampered with, 2 if that cannot be told.";

/// HALCYON Datasource Studio: external data feeds as alerts, entities and relationships.
#[derive(Parser)]
#[command(name = "halcyon", version, about, after_long_help = EXIT_CODES)]
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
    /// Run the audit service; or read, verify and export the audit trail.
    Audit(commands::audit::AuditArgs),
    /// Run the ontology service.
    Ontology,
    /// Show the settings in effect, secrets masked.
    Config(commands::config::ConfigArgs),
    /// Bring the database's schema up to date, or take it back.
    Migrate(commands::migrate::MigrateArgs),
    /// Administer access without a running gateway.
    Admin(commands::admin::AdminArgs),
    /// Look after how secrets are kept: keys, and moving them to Vault. Their values are `halcyon secret`.
    SecretStore(commands::secret_store::SecretStoreArgs),
    /// Check what the system stands on: nats, database, keys.
    Doctor,
    /// Ask a service on this host whether it is ready, for the health checks of containers.
    Ready(commands::ready::ReadyArgs),
    /// Set up a vendor's feed on a running system and replay its sample events.
    Demo(demo::DemoArgs),
    /// Sign in to a running system and keep the login.
    Login(commands::login::LoginArgs),
    /// Sign out and forget the login.
    Logout(commands::login::SessionArgs),
    /// Show who is calling, and with which roles.
    Whoami(commands::login::SessionArgs),
    /// Work with datasources.
    #[command(visible_alias = "datasource")]
    Ds(ds::DsArgs),
    /// Work with datasources' secrets: their values. How they are kept is `halcyon secret-store`.
    #[command(visible_alias = "secrets")]
    Secret(commands::secret::SecretArgs),
    /// Ask for approvals, give them or refuse them.
    Approval(commands::approval::ApprovalArgs),
    /// Bring in datasources from files, the old registry's file included.
    Import(commands::import::ImportArgs),
    /// Write datasources down as files.
    Export(commands::export::ExportArgs),
    /// Show what `apply` would do.
    Plan(commands::apply::PlanArgs),
    /// Make the datasources what files say.
    Apply(commands::apply::ApplyArgs),
    /// Print what a shell needs to complete this command line.
    Completions(commands::completions::CompletionsArgs),
    /// Map events for a worker that died of one. Not for people.
    #[command(name = halcyon_worker::MAP_EVENTS, hide = true)]
    MapEvents,
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
    /// Files and folders of datasources to apply once the system is ready, as `halcyon apply` does; may be given more
    /// than once. What does not fit is logged, and stops nothing.
    #[arg(long, value_name = "FILE")]
    pub(crate) apply: Vec<PathBuf>,
    /// What is printed when the system is ready.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub(crate) output: Output,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[value(alias = "table")]
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
        Command::SecretStore(store) => return commands::secret_store::run(&sources, &store).await,
        Command::Doctor => return commands::doctor::run(&sources).await,
        Command::Ready(ready) => return commands::ready::run(&sources, &ready).await,
        Command::Demo(demo) => return demo::run(demo).await,
        Command::Login(login) => return commands::login::login(&login).await,
        Command::Logout(logout) => return commands::login::logout(&logout).await,
        Command::Whoami(whoami) => return commands::login::whoami(&whoami).await,
        Command::Ds(ds) => return ds::run(&ds).await,
        Command::Secret(secret) => return commands::secret::run(&secret).await,
        Command::Approval(approval) => return commands::approval::run(&approval).await,
        Command::Import(import) => return commands::import::run(&import).await,
        Command::Export(export) => return commands::export::run(&export).await,
        Command::Plan(plan) => return commands::apply::plan_only(&plan).await,
        Command::Apply(apply) => return commands::apply::apply(&apply).await,
        Command::Completions(completions) => {
            return commands::completions::run(&completions, Args::command());
        }
        Command::MapEvents => return commands::map_events::run(),
        Command::Gateway => Service::Gateway,
        Command::Registry => Service::Registry,
        Command::Worker => Service::Worker,
        Command::TestRunner => Service::TestRunner,
        Command::Audit(audit) => match audit.what {
            Some(what) => return commands::audit::run(&sources, &what).await,
            None => Service::Audit,
        },
        Command::Ontology => Service::Ontology,
    };
    process::run(service, Settings::load(&sources)?).await
}
