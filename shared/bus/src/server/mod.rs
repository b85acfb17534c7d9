//! The configuration of a nats-server: storage, limits, a user for each service with its permissions.

mod cluster;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use self::cluster::{ClusterParams, TlsFiles};
use crate::{Error, Service};

const TEMPLATE: &str = include_str!("../../../../nats/server.conf");
const PERMISSIONS: &str = include_str!("../../../../nats/permissions.toml");

/// The name of the user that may only subscribe to committed objects and checkpoints.
pub const SUBSCRIBER: &str = "subscriber";

/// The name of the user that may only subscribe to the audit trail and its checkpoints.
pub const AUDITOR: &str = "auditor";

/// What a server's configuration is made of.
#[derive(Clone, Debug)]
pub struct ServerParams {
    /// The server's name, unique in a cluster.
    pub server_name: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the server tells about itself over HTTP; it must be on loopback.
    pub monitor: Option<SocketAddr>,
    /// The certificate for clients; they connect in the clear without.
    pub tls: Option<TlsFiles>,
    /// The server's part in a cluster, if it has one.
    pub cluster: Option<ClusterParams>,
    /// The folder that JetStream stores in.
    pub store_dir: PathBuf,
    /// The most that JetStream may store in files, in bytes. At least what `streams.toml` adds up to.
    pub max_file_store: u64,
    /// Whether each ack comes after a file sync. Only a test of what goes wrong otherwise sets this to false.
    pub sync_always: bool,
    /// The public nkey of each service.
    pub users: Vec<(Service, String)>,
    /// The password of the user `subscriber`, who may subscribe to `halcyon.>` but for the audit trail, and publish
    /// nothing.
    pub subscriber_password: SecretString,
    /// The password of the user `auditor`, who may subscribe to the audit trail and publish nothing; there is no such
    /// user without.
    pub auditor_password: Option<SecretString>,
}

impl ServerParams {
    /// Parameters with 16 GiB of storage, safe from power cuts, without monitoring.
    #[must_use]
    pub fn new(
        listen: SocketAddr,
        store_dir: PathBuf,
        users: Vec<(Service, String)>,
        subscriber_password: SecretString,
    ) -> Self {
        Self {
            server_name: "halcyon".to_owned(),
            listen,
            monitor: None,
            tls: None,
            cluster: None,
            store_dir,
            max_file_store: 16 * 1024 * 1024 * 1024,
            sync_always: true,
            users,
            subscriber_password,
            auditor_password: None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Permissions {
    #[serde(default)]
    responds: bool,
    publish: Vec<String>,
    subscribe: Vec<String>,
}

/// Renders the configuration file. It holds a password: keep it readable by its owner only.
///
/// # Errors
/// A parameter cannot be written into the file, or the monitoring address is not on loopback.
pub fn server_config(params: &ServerParams) -> Result<String, Error> {
    let monitor = match params.monitor {
        Some(address) if !address.ip().is_loopback() => {
            return Err(Error::Setup(
                "the monitoring address must be on loopback".to_owned(),
            ));
        }
        Some(address) => format!("http: {}", quote(&address.to_string())?),
        None => String::new(),
    };
    let store_dir = params.store_dir.to_str();
    let store_dir =
        store_dir.ok_or_else(|| Error::Setup("the store folder's name is not UTF-8".to_owned()))?;
    let sync_interval = if params.sync_always { "always" } else { "\"2m\"" };
    let filled = [
        ("{{server_name}}", quote(&params.server_name)?),
        ("{{listen}}", quote(&params.listen.to_string())?),
        ("{{monitor}}", monitor),
        (
            "{{tls}}",
            params
                .tls
                .as_ref()
                .map_or(Ok(String::new()), |tls| tls.block(false))?,
        ),
        (
            "{{cluster}}",
            params
                .cluster
                .as_ref()
                .map_or(Ok(String::new()), ClusterParams::block)?,
        ),
        ("{{store_dir}}", quote(store_dir)?),
        ("{{max_file_store}}", params.max_file_store.to_string()),
        ("{{sync_interval}}", sync_interval.to_owned()),
        ("{{users}}", users(params)?),
    ];
    Ok(fill_in(TEMPLATE, &filled))
}

/// The users alone, as a file that the configuration of a server of one's own may `include`. It holds passwords.
///
/// # Errors
/// A parameter cannot be written into the file.
pub fn users_config(params: &ServerParams) -> Result<String, Error> {
    Ok(format!(
        "# Written by `halcyon init`: the users of HALCYON's services and their permissions.\n\
         authorization {{\n  timeout: 5\n  users: [\n{}  ]\n}}\n",
        users(params)?
    ))
}

/// Comments come from the template; what is filled in is never looked at again.
fn fill_in(template: &str, filled: &[(&str, String)]) -> String {
    let mut config = String::with_capacity(template.len() + 16 * 1024);
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        config.push_str(&rest[..at]);
        rest = &rest[at..];
        match filled.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                config.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                config.push_str("{{");
                rest = &rest[2..];
            }
        }
    }
    config.push_str(rest);
    config
}

fn users(params: &ServerParams) -> Result<String, Error> {
    let permissions: BTreeMap<String, Permissions> =
        toml::from_str(PERMISSIONS).map_err(|error| Error::Setup(error.to_string()))?;
    let all = permissions.get("all").cloned().unwrap_or_default();
    let mut users = String::new();
    for (service, key) in &params.users {
        let own = permissions.get(service.as_str());
        let own = own.ok_or_else(|| Error::Setup(format!("{service} has no permissions")))?;
        let inbox = service.inbox_prefix();
        let subjects = |all: &[String], own: &[String]| {
            let list = all
                .iter()
                .chain(own)
                .map(|subject| quote(&subject.replace("<inbox>", &inbox)));
            Ok::<_, Error>(list.collect::<Result<Vec<_>, _>>()?.join(", "))
        };
        // A responder may answer to the inbox of who asked, once, and for as long as a test run may take.
        let responses = if own.responds {
            ", allow_responses: { max: 2, expires: \"2m\" }"
        } else {
            ""
        };
        users.push_str(&format!(
            "    {{ nkey: {}, permissions: {{ publish: {{ allow: [{}] }}, subscribe: {{ allow: [{}] }}{responses} }} }}\n",
            quote(key)?,
            subjects(&all.publish, &own.publish)?,
            subjects(&all.subscribe, &own.subscribe)?,
        ));
    }
    let look_only = |user: &str, password: &SecretString, allow: &str, deny: &str| {
        let password = quote(password.expose_secret())?;
        Ok::<_, Error>(format!(
            "    {{ user: {user}, password: {password}, permissions: {{ publish: {{ deny: [\">\"] }}, subscribe: {{ \
             allow: [{allow}, \"_INBOX_{user}.>\"]{deny} }} }} }}\n"
        ))
    };
    let (entries, checkpoints) = ("\"halcyon.*.audit\"", "\"halcyon.*.audit-checkpoint\"");
    let subscriber = &params.subscriber_password;
    let deny = format!(", deny: [{entries}]");
    users.push_str(&look_only(SUBSCRIBER, subscriber, "\"halcyon.>\"", &deny)?);
    if let Some(auditor) = &params.auditor_password {
        users.push_str(&look_only(
            AUDITOR,
            auditor,
            &format!("{entries}, {checkpoints}"),
            "",
        )?);
    }
    Ok(users)
}

/// A quoted string of the configuration's language, whose escapes are few.
fn quote(text: &str) -> Result<String, Error> {
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return Err(Error::Setup(
            "a value of the server's configuration holds quotes or control characters".to_owned(),
        ));
    }
    Ok(format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn params() -> ServerParams {
        let users = Service::ALL.map(|service| {
            let key = Identity::generate(service).public_key().unwrap();
            (service, key)
        });
        let listen = "127.0.0.1:4222".parse().unwrap();
        ServerParams::new(listen, "/data/nats".into(), users.to_vec(), "pass".into())
    }

    #[test]
    fn everything_is_filled_in() {
        let config = server_config(&params()).unwrap();
        assert!(
            !config.contains("{{server") && !config.contains("<inbox>"),
            "{config}"
        );
        assert!(config.contains("sync_interval: always"));
        assert_eq!(config.matches("nkey: \"U").count(), 6);
    }

    #[test]
    fn what_could_break_out_of_a_string_is_refused() {
        let broken = ServerParams {
            subscriber_password: "a\" }, x".into(),
            ..params()
        };
        assert!(server_config(&broken).is_err());
        let open = ServerParams {
            monitor: Some("0.0.0.0:8222".parse().unwrap()),
            ..params()
        };
        assert!(server_config(&open).is_err());
    }
}
