//! `halcyon init`: what services need that run as processes of their own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Parser;
use halcyon_bus::{
    Service,
    server::{ServerParams, server_config},
};
use serde_json::json;

use crate::keys::{Keys, replace_private};

/// Flags of `halcyon init`.
#[derive(Parser)]
pub(crate) struct InitArgs {
    /// The folder for keys and configuration.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The database, such as `postgres://user:password@host/halcyon`.
    #[arg(
        long,
        env = "HALCYON__DATABASE__URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: String,
    /// Where nats-server will listen.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    nats_host: IpAddr,
    /// The port of nats-server.
    #[arg(long, default_value_t = 4222, value_name = "PORT")]
    nats_port: u16,
    /// The port at which nats-server tells about itself on loopback. With it, services on the same host can see
    /// whether acks survive a power cut.
    #[arg(long, value_name = "PORT")]
    nats_monitor_port: Option<u16>,
    /// Where the gateway will listen.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: SocketAddr,
}

impl InitArgs {
    fn monitor(&self) -> Option<SocketAddr> {
        self.nats_monitor_port
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// The ports at which services serve health and metrics by default, on loopback.
const HEALTH: [(Service, u16); 5] = [
    (Service::Registry, 8481),
    (Service::Worker, 8482),
    (Service::TestRunner, 8483),
    (Service::Ontology, 8484),
    (Service::Audit, 8485),
];

/// Makes what is missing; keys that are there stay, configuration is written anew.
#[expect(clippy::print_stdout, reason = "what to do next is the command's answer")]
pub(crate) fn run(args: &InitArgs) -> Result<()> {
    let folder = std::path::absolute(&args.data_dir)?;
    let keys = Keys::ensure(folder.join("keys"))?;
    let nats = folder.join("nats.conf");
    let listen = SocketAddr::new(args.nats_host, args.nats_port);
    write_nats_config(&keys, &nats, listen, &folder.join("nats"), args.monitor())?;
    let config = folder.join("halcyon.toml");
    replace_private(&config, &halcyon_toml(args, &keys)?)?;
    if !args.listen.ip().is_loopback() {
        println!(
            "# The gateway starts once it has TLS: set gateway.tls, or gateway.tls_terminated_in_front."
        );
    }
    println!("nats-server -c {}", nats.display());
    println!("halcyon migrate up --config {}", config.display());
    println!(
        "halcyon admin create --email you@example.org --config {}",
        config.display()
    );
    for service in Service::ALL {
        println!("halcyon {service} --config {}", config.display());
    }
    Ok(())
}

/// Writes the nats-server's configuration with a user for each service.
pub(crate) fn write_nats_config(
    keys: &Keys,
    file: &Path,
    listen: SocketAddr,
    store: &Path,
    monitor: Option<SocketAddr>,
) -> Result<()> {
    let mut params = ServerParams::new(
        listen,
        store.to_owned(),
        keys.users()?,
        keys.subscriber_password()?,
    );
    params.auditor_password = Some(keys.auditor_password()?);
    params.monitor = monitor;
    replace_private(file, &server_config(&params)?)
}

fn halcyon_toml(args: &InitArgs, keys: &Keys) -> Result<String> {
    let health: BTreeMap<_, _> = HEALTH
        .iter()
        .map(|(service, port)| {
            (
                service.as_str().replace('-', "_"),
                format!("{}:{port}", Ipv4Addr::LOCALHOST),
            )
        })
        .collect();
    let mut settings = json!({
        "mode": "production",
        "database": {"url": args.database_url},
        "bus": {"url": format!("nats://{}:{}", args.nats_host, args.nats_port)},
        "keys": {"folder": keys.folder()},
        "gateway": {"listen": args.listen, "audit_public_keys": keys.audit_public_file()},
        "registry": {"kek_file": keys.kek_file()},
        "audit": {"key_file": keys.audit_key_file()},
        "health": health,
    });
    if let Some(address) = args.monitor() {
        settings["bus"]["monitor_url"] = json!(format!("http://{address}"));
    }
    toml::to_string(&settings).context("the configuration cannot be written as TOML")
}
