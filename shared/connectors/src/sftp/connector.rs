//! The catalog's side of `sftp`.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use halcyon_domain::{
    error::InputError,
    test_run::{CheckResult, CheckStatus},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    config::Connection,
    session::{Identity, handshake, log_in, speak},
    store::Folder,
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext,
    check::{self, failed, not_tried, passed},
    files::{FileSource, Position, check as look},
    presets, secret_names,
    spec::schema,
    validate::ensure_valid,
    validate_connection,
};

const TYPE: &str = "sftp";

/// Files on an SSH server.
#[derive(Clone, Copy, Debug)]
pub struct Sftp;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "SFTP",
    description: "Reads files from a folder of an SSH server: JSON, JSON lines, CSV, Parquet or text, compressed or not. The server is known by its host key.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "host": "sftp.example.com",
        "host_keys": ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"],
        "auth": {"type": "password", "user": "halcyon", "password": {"$secret": "sftp"}},
        "folder": "/outgoing/alerts",
        "format": {"type": "csv"},
        "files": {"glob": "*.csv", "min_age_seconds": 30}
    }),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: false,
        scheduled: true,
        ordering: Ordering::PerKey,
        resumable: true,
        backfill: true,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "A row of CSV",
        payload: json!({
            "time": "2026-01-01T00:00:00Z",
            "severity": "high",
            "host": "ws-014",
            "user": "alice",
            "message": "Malware found"
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for Sftp {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let deadline = Instant::now() + look::WHOLE;
        let errors = validate_connection(TYPE, context.connection);
        let mut results = vec![check::of_configuration(&errors)];
        let Ok(connection) = Connection::read(context.connection) else {
            return results;
        };
        let mut secrets = check::of_secrets(&secret_names(context.connection), context.secrets);
        // Once only: keys are encrypted so that decrypting them takes long.
        let identity = Identity::read(&connection.auth, context.secrets);
        if let (CheckStatus::Passed, Err(error)) = (secrets.status, &identity) {
            let remedy = "store a private key of OpenSSH, PEM or PuTTY, and its passphrase if it has one";
            secrets = failed("secrets", error.to_string(), remedy);
        }
        results.push(secrets);
        let Ok(identity) = identity else {
            return results;
        };
        if results.iter().any(|result| result.status == CheckStatus::Failed) {
            return results;
        }
        let (reached, stream) = check::reach(context.guard, &connection.host, connection.port).await;
        results.extend(reached);
        let rest = match stream {
            Some(stream) => talk(&connection, &identity, context, stream, deadline).await,
            None => ["host_key", "authenticate", "permission", "sample"]
                .map(not_tried)
                .to_vec(),
        };
        results.extend(rest);
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let connection = Connection::read(&context.connection).map_err(Error::Config)?;
        Identity::read(&connection.auth, &context.secrets)?;
        let store = Folder::new(&connection, &context.secrets, &context.guard)?;
        Ok(Box::new(FileSource::new(
            Arc::new(store),
            connection.files,
            connection.format,
            context,
        )?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        Position::read(checkpoint).map(drop)
    }
}

/// The part of a check over a connection.
async fn talk(
    connection: &Connection,
    identity: &Identity,
    context: &CheckContext<'_>,
    stream: TcpStream,
    deadline: Instant,
) -> Vec<CheckResult> {
    let late = || Error::transient("no answer in time");
    let agreed = timeout_at(deadline, handshake(connection, stream)).await;
    let mut ssh = match agreed.unwrap_or_else(|_| Err(late())) {
        Ok(ssh) => ssh,
        Err(error) => {
            let remedy = "compare the fingerprint with what the server's operator tells you by another way, and \
                          only if it is the same put it into `host_keys`";
            let told = failed("host_key", error.to_string(), remedy);
            let rest = ["authenticate", "permission", "sample"].map(not_tried);
            return std::iter::once(told).chain(rest).collect();
        }
    };
    let mut results = vec![passed("host_key", "the server has a host key that is known")];
    let logged_in = async {
        log_in(&mut ssh, &connection.auth.user, identity).await?;
        let session = speak(ssh).await?;
        Ok(Folder::new(connection, context.secrets, context.guard)?.with_session(session))
    };
    match timeout_at(deadline, logged_in)
        .await
        .unwrap_or_else(|_| Err(late()))
    {
        Ok(folder) => {
            results.push(passed(
                "authenticate",
                "the server lets the user in and offers SFTP",
            ));
            let folder = Arc::new(folder);
            let looked = look::look(
                "permission",
                folder,
                &connection.files,
                &connection.format,
                deadline,
            );
            results.extend(looked.await);
        }
        Err(error) => {
            let remedy = "see to the user, and to its password or key on the server";
            results.push(failed("authenticate", error.to_string(), remedy));
            results.extend(["permission", "sample"].map(not_tried));
        }
    }
    results
}
