//! `halcyon ready`: whether a service on this host may be given work.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use halcyon_bus::Service;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::settings::{Settings, Sources};

/// Flags of `halcyon ready`.
#[derive(Parser)]
pub(crate) struct ReadyArgs {
    /// The service: gateway, registry, worker, test-runner, audit, ontology.
    #[arg(value_parser = service)]
    service: Service,
    /// How long it may take to answer.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    timeout: u64,
}

fn service(name: &str) -> Result<Service, String> {
    let found = Service::ALL.into_iter().find(|service| service.as_str() == name);
    found.ok_or_else(|| "no such service".to_owned())
}

/// Asks it; fails unless it is ready, and says what it waits for.
pub(crate) async fn run(sources: &Sources, args: &ReadyArgs) -> Result<()> {
    let settings = Settings::load(sources)?;
    let address = address(&settings, args.service)?;
    let answer = tokio::time::timeout(Duration::from_secs(args.timeout), ask(address))
        .await
        .with_context(|| format!("{address} does not answer within {} s", args.timeout))?
        .with_context(|| address.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{} is not ready: {}", args.service, body.trim());
    Ok(())
}

/// Where it serves its health.
fn address(settings: &Settings, service: Service) -> Result<SocketAddr> {
    if let Some(address) = settings.health.get(&service) {
        return Ok(here(*address));
    }
    if service == Service::Gateway && settings.gateway.tls.is_none() {
        return Ok(here(settings.gateway.listen));
    }
    bail!("set `health.{service}`: where {service} is asked, in the clear")
}

/// An address that listens to all is asked on loopback.
fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
