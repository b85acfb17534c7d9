//! The catalog's side of `s3`.

use std::sync::LazyLock;

use async_trait::async_trait;
use halcyon_domain::{error::InputError, test_run::CheckResult};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    config::{Connection, Provider},
    open::open,
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext,
    check::{self, failed, not_tried, of_step},
    files::{FileSource, Position, check as look},
    presets,
    spec::schema,
    validate::ensure_valid,
};

const TYPE: &str = "s3";
/// How often a request of a reader is made again before its failure is told.
const TRIES: usize = 3;

/// Files in a bucket.
#[derive(Clone, Copy, Debug)]
pub struct S3;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "S3 and other object stores",
    description: "Reads files from Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage, or a folder of the server: JSON, JSON lines, CSV, Parquet or text, compressed or not.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({
        "bucket": "acme-security-logs",
        "prefix": "AWSLogs/123456789012/CloudTrail/",
        "region": "eu-central-1",
        "auth": {
            "type": "access_key",
            "access_key_id": "AKIAIOSFODNN7EXAMPLE",
            "secret_access_key": {"$secret": "aws"}
        },
        "format": {"type": "json", "records": "Records[]"},
        "files": {"glob": "**/*.json.gz"}
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
        name: "A record of CloudTrail",
        payload: json!({
            "eventVersion": "1.11",
            "eventTime": "2026-01-01T00:00:00Z",
            "eventSource": "signin.amazonaws.com",
            "eventName": "ConsoleLogin",
            "awsRegion": "eu-central-1",
            "sourceIPAddress": "198.51.100.7",
            "userIdentity": {"type": "IAMUser", "userName": "alice"},
            "responseElements": {"ConsoleLogin": "Failure"},
            "eventID": "5f6a3b0e-5a1e-4c6b-9a0f-1d2c3b4a5e6f"
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for S3 {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let deadline = Instant::now() + look::WHOLE;
        let mut results = match check::begin(TYPE, context, &[]) {
            Ok(results) => results,
            Err(results) => return results,
        };
        let Ok(connection) = Connection::read(context.connection) else {
            return results;
        };
        let store = match open(&connection, context.secrets, context.guard, 0) {
            Ok(store) => store,
            Err(error) => {
                results.push(unopened(&error));
                return results;
            }
        };
        if let Some(origin) = connection
            .origin()
            .filter(|_| connection.provider != Provider::Local)
        {
            let (reached, stream) = check::reach(context.guard, &origin.host, origin.port).await;
            results.extend(reached);
            let Some(stream) = stream else {
                results.extend(["authenticate", "permission", "sample"].map(not_tried));
                return results;
            };
            if origin.encrypted {
                results.push(encrypted(&connection, &origin.host, context, stream, deadline).await);
            }
            if results.last().is_some_and(check::is_failure) {
                results.extend(["authenticate", "permission", "sample"].map(not_tried));
                return results;
            }
        }
        results.extend(
            look::look(
                "authenticate",
                store,
                &connection.files,
                &connection.format,
                deadline,
            )
            .await,
        );
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let connection = Connection::read(&context.connection).map_err(Error::Config)?;
        let store = open(&connection, &context.secrets, &context.guard, TRIES)?;
        Ok(Box::new(FileSource::new(
            store,
            connection.files,
            connection.format,
            context,
        )?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        Position::read(checkpoint).map(drop)
    }
}

async fn encrypted(
    connection: &Connection,
    host: &str,
    context: &CheckContext<'_>,
    stream: TcpStream,
    deadline: Instant,
) -> CheckResult {
    let (tls, secrets) = (connection.tls(), context.secrets);
    let agreed = tls.wrap(stream, host, secrets);
    let late = |_| Err(Error::transient("no answer in time"));
    let outcome = timeout_at(deadline, agreed).await.unwrap_or_else(late);
    let remedy = "give the authority that signed the server's certificate as `ca`, and the host by its certificate's name";
    of_step(
        "tls",
        &outcome,
        "the connection is encrypted and the certificate trusted",
        remedy,
    )
}

fn unopened(error: &Error) -> CheckResult {
    let remedy = match error {
        Error::Secret { .. } => "store the key in the form in which the provider gives it out",
        _ => "ask a global admin to add the folder to `egress.folders`, or give another one",
    };
    failed("permission", error.to_string(), remedy)
}
