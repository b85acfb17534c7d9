//! The catalog's side of `generator`.

use std::sync::LazyLock;

use async_trait::async_trait;
use chrono::DateTime;
use halcyon_domain::{
    clock::Timestamp,
    error::{InputError, from_value},
    test_run::CheckResult,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    payload,
    source::{GeneratorSource, Position},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext, check, presets, spec::schema, validate::ensure_valid, validate_connection,
};

const TYPE: &str = "generator";

/// Synthetic security alerts at a rate.
#[derive(Clone, Copy, Debug)]
pub struct Generator;

/// The connection, as it is written. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) records_per_second: f64,
    pub(crate) total: Option<u64>,
    pub(crate) records_per_run: Option<u64>,
    #[serde(default)]
    pub(crate) seed: u32,
    #[serde(default = "default_start")]
    pub(crate) start_time: String,
}

fn default_start() -> String {
    "2026-01-01T00:00:00Z".to_owned()
}

impl Connection {
    pub(crate) fn read(connection: &Value) -> Result<(Self, Timestamp), InputError> {
        let connection: Self = from_value(connection.clone())?;
        let start = DateTime::parse_from_rfc3339(&connection.start_time).map_err(|_| {
            InputError::new(
                "/start_time",
                "format",
                "the value is not a time such as 2026-01-01T00:00:00Z",
            )
        })?;
        Ok((connection, start.to_utc()))
    }
}

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "Generator",
    description: "Synthetic security alerts at a rate, for demonstrations and load. The same settings make the same alerts.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({"records_per_second": 1000, "total": 50}),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: true,
        scheduled: true,
        ordering: Ordering::Total,
        resumable: true,
        backfill: true,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "A synthetic alert",
        payload: serde_json::to_value(payload::alert(0, 1, Timestamp::default())).unwrap_or_default(),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

#[async_trait]
impl Connector for Generator {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Connection::read(connection).err().into_iter().collect()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        vec![check::of_configuration(&validate_connection(
            TYPE,
            context.connection,
        ))]
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let (connection, start) =
            Connection::read(&context.connection).map_err(|error| Error::Config(vec![error]))?;
        Ok(Box::new(GeneratorSource::new(connection, start, &context)?))
    }

    fn check_position(&self, _: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        checkpoint.read::<Position>().map(drop)
    }
}
