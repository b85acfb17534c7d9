//! What a node of a cluster has besides: certificates, and routes to the other nodes.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::quote;
use crate::Error;

/// The user that nodes are for each other.
const ROUTE_USER: &str = "route";

/// A certificate and its key, and the authorities that it rests on, as PEM files of the server's host.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate. A node's names the node, both as server and as client.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities.
    pub authorities: PathBuf,
}

impl TlsFiles {
    /// `tls.crt`, `tls.key` and `ca.crt` of a folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            authorities: folder.join("ca.crt"),
        }
    }

    /// The block of the configuration; with `verify` the other side must have a certificate, too.
    pub(crate) fn block(&self, verify: bool) -> Result<String, Error> {
        let file = |path: &Path| {
            let name = path.to_str();
            quote(name.ok_or_else(|| Error::Setup("a file's name is not UTF-8".to_owned()))?)
        };
        Ok(format!(
            "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: {verify}, timeout: 5 }}",
            file(&self.certificate)?,
            file(&self.key)?,
            file(&self.authorities)?,
        ))
    }
}

/// A server's part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterParams {
    /// Where clients find this node, as `host:port`: the others tell them.
    pub advertise: String,
    /// The port of routes; they are listened for at every address.
    pub port: u16,
    /// Every node, this one included, as `host:port` of its routes.
    pub nodes: Vec<String>,
    /// What a node proves itself with, besides its certificate.
    pub password: SecretString,
    /// The node's certificate.
    pub tls: TlsFiles,
}

impl ClusterParams {
    pub(super) fn block(&self) -> Result<String, Error> {
        // Nodes would tell each other of addresses otherwise, which no certificate names.
        let (host, _) = self.advertise.rsplit_once(':').unwrap_or((&self.advertise, ""));
        let password = self.password.expose_secret();
        // It stands in addresses as well, where further characters have a meaning.
        if password.is_empty() || !password.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Error::Setup(
                "the nodes' password may hold letters and digits only".to_owned(),
            ));
        }
        let route = |node: &String| quote(&format!("nats-route://{ROUTE_USER}:{password}@{node}"));
        let routes = self.nodes.iter().map(route).collect::<Result<Vec<_>, _>>()?;
        Ok(format!(
            "client_advertise: {}\n\
             # SIGUSR2 leads clients away before the node stops.\n\
             lame_duck_grace_period: \"2s\"\n\
             lame_duck_duration: \"30s\"\n\
             cluster {{\n  name: halcyon\n  listen: \"0.0.0.0:{}\"\n  advertise: {}\n  {}\n  \
             authorization {{ user: {ROUTE_USER}, password: {}, timeout: 5 }}\n  routes: [{}]\n}}",
            quote(&self.advertise)?,
            self.port,
            quote(&format!("{host}:{}", self.port))?,
            self.tls.block(true)?,
            quote(password)?,
            routes.join(", "),
        ))
    }
}
