//! `halcyon init`: what services need that run as processes of their own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};
use halcyon_bus::{
    Service,
    server::{ClusterParams, ServerParams, TlsFiles, server_config, users_config},
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
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Flags for a cluster of nats-servers on hosts of their own.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    /// A node of a nats cluster, by the name of its host; given once for each node. `nats-HOST.conf` is written for
    /// each, with TLS, in the place of `nats.conf`.
    #[arg(long = "nats-node", value_name = "HOST")]
    nats_nodes: Vec<String>,
    /// The port of the routes between nodes.
    #[arg(long, default_value_t = 6222, value_name = "PORT")]
    nats_route_port: u16,
    /// Where a node finds its certificate (`tls.crt`, `tls.key`) and the authorities it rests on (`ca.crt`).
    #[arg(long, default_value = "/etc/nats/tls", value_name = "DIR")]
    nats_tls_dir: PathBuf,
    /// Where a node keeps its streams.
    #[arg(long, default_value = "/data", value_name = "DIR")]
    nats_store_dir: PathBuf,
    /// Where services find the certificates of the authorities that sign for the nodes.
    #[arg(long, default_value = "/etc/halcyon/ca.crt", value_name = "FILE")]
    nats_ca_file: PathBuf,
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
    let nats = if args.cluster.nats_nodes.is_empty() {
        let nats = folder.join("nats.conf");
        let listen = SocketAddr::new(args.nats_host, args.nats_port);
        write_nats_config(&keys, &nats, listen, &folder.join("nats"), args.monitor())?;
        vec![nats]
    } else {
        write_cluster_config(&keys, &folder, args)?
    };
    let config = folder.join("halcyon.toml");
    replace_private(&config, &halcyon_toml(args, &keys)?)?;
    if !args.listen.ip().is_loopback() {
        println!(
            "# The gateway starts once it has TLS: set gateway.tls, or gateway.tls_terminated_in_front."
        );
    }
    for nats in nats {
        println!("nats-server -c {}", nats.display());
    }
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

/// Writes the configuration of each node of a cluster, and `nats-users.conf` for servers that are configured by other
/// means.
fn write_cluster_config(keys: &Keys, folder: &Path, args: &InitArgs) -> Result<Vec<PathBuf>> {
    let ClusterArgs {
        nats_nodes: nodes,
        nats_route_port: port,
        ..
    } = &args.cluster;
    let plain = |host: &str| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    ensure!(
        nodes.iter().all(|node| plain(node)),
        "--nats-node: the name of a host is needed"
    );
    let tls = TlsFiles::of(&args.cluster.nats_tls_dir);
    let mut params = ServerParams::new(
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.nats_port)),
        args.cluster.nats_store_dir.clone(),
        keys.users()?,
        keys.subscriber_password()?,
    );
    params.auditor_password = Some(keys.auditor_password()?);
    params.monitor = args.monitor();
    params.tls = Some(tls.clone());
    replace_private(&folder.join("nats-users.conf"), &users_config(&params)?)?;
    let mut files = Vec::new();
    for node in nodes {
        params.server_name.clone_from(node);
        params.cluster = Some(ClusterParams {
            advertise: format!("{node}:{}", args.nats_port),
            port: *port,
            nodes: nodes.iter().map(|node| format!("{node}:{port}")).collect(),
            password: keys.routes_password()?,
            tls: tls.clone(),
        });
        let file = folder.join(format!("nats-{node}.conf"));
        replace_private(&file, &server_config(&params)?)?;
        files.push(file);
    }
    Ok(files)
}

/// How services reach nats.
fn bus(args: &InitArgs) -> serde_json::Value {
    let cluster = &args.cluster;
    if cluster.nats_nodes.is_empty() {
        let mut bus = json!({"url": format!("nats://{}:{}", args.nats_host, args.nats_port)});
        if let Some(address) = args.monitor() {
            bus["monitor_url"] = json!(format!("http://{address}"));
        }
        return bus;
    }
    let addresses = cluster.nats_nodes.iter();
    let addresses: Vec<_> = addresses
        .map(|node| format!("tls://{node}:{}", args.nats_port))
        .collect();
    json!({
        "url": addresses.join(","),
        "tls": {"ca_file": cluster.nats_ca_file},
        "replicas": if cluster.nats_nodes.len() < 3 { 1 } else { 3 },
    })
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
    let settings = json!({
        "mode": "production",
        "database": {"url": args.database_url},
        "bus": bus(args),
        "keys": {"folder": keys.folder()},
        "gateway": {"listen": args.listen, "audit_public_keys": keys.audit_public_file()},
        "registry": {"kek_file": keys.kek_file()},
        "audit": {"key_file": keys.audit_key_file()},
        "health": health,
    });
    toml::to_string(&settings).context("the configuration cannot be written as TOML")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{production, settings::Settings};

    #[test]
    fn a_cluster_s_nodes_differ_in_their_names_only_and_services_are_led_to_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let nodes = ["n1.example", "n2.example", "n3.example"];
        let mut line = vec![
            "init",
            "--data-dir",
            path,
            "--database-url",
            "postgres://halcyon@db/halcyon",
        ];
        line.extend(nodes.iter().flat_map(|node| ["--nats-node", node]));
        let args = InitArgs::try_parse_from(line).unwrap();
        run(&args).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let configs = nodes.map(|node| {
            let config = read(&format!("nats-{node}.conf"));
            assert!(config.contains("verify: true") && config.contains("sync_interval: always"));
            config
                .replace(&format!("server_name: \"{node}\""), "")
                .replace(&format!("client_advertise: \"{node}:4222\""), "")
                .replace(&format!("advertise: \"{node}:6222\""), "")
        });
        assert!(configs.iter().all(|config| *config == configs[0]));
        assert!(read("nats-users.conf").contains("nkey: \"U"));
        assert!(!folder.path().join("nats.conf").exists());

        let settings: Settings = toml::from_str(&read("halcyon.toml")).unwrap();
        assert_eq!(
            settings.bus.url,
            "tls://n1.example:4222,tls://n2.example:4222,tls://n3.example:4222"
        );
        assert_eq!(settings.bus.replicas, 3);
        assert!(settings.bus.tls.is_required());
        assert_eq!(production::findings(&settings), Vec::<String>::new());
        let before = read("nats-users.conf");
        run(&args).unwrap();
        assert_eq!(
            read("nats-users.conf"),
            before,
            "services that run are still let in"
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let line = [
            "init",
            "--data-dir",
            path,
            "--database-url",
            "postgres://h@db/h",
            "--nats-node",
            "a\"b",
        ];
        assert!(run(&InitArgs::try_parse_from(line).unwrap()).is_err());
    }
}
