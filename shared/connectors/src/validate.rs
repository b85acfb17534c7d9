//! Validation of a connection: the connector's JSON Schema, then the connector's own rules.

use std::{collections::HashMap, sync::LazyLock};

use halcyon_domain::error::InputError;
use serde_json::Value;

use crate::{Error, SourceContext, catalog, schema::Schema};

static SCHEMAS: LazyLock<HashMap<&'static str, Schema>> = LazyLock::new(|| {
    let compiled = |connector: &&dyn crate::Connector| {
        let spec = connector.spec();
        (spec.type_name, Schema::compile(&spec.config_schema))
    };
    catalog().iter().map(compiled).collect()
});

/// What the JSON Schema of `type_name` finds wrong with `connection`.
pub(crate) fn schema_errors(type_name: &str, connection: &Value) -> Vec<InputError> {
    match SCHEMAS.get(type_name) {
        Some(schema) => schema.validate(connection),
        None => {
            vec![InputError::new(
                "",
                "unknown_connector",
                format!("there is no connector `{type_name}`"),
            )]
        }
    }
}

/// Everything that is wrong with `connection` as a connection of connector `type_name`; pointers are relative to
/// it. The connector's own rules are asked once the schema has passed.
#[must_use]
pub fn validate_connection(type_name: &str, connection: &Value) -> Vec<InputError> {
    let errors = schema_errors(type_name, connection);
    match crate::find(type_name) {
        Some(connector) if errors.is_empty() => connector.validate(connection),
        _ => errors,
    }
}

/// The same of a feed: what is wrong with `connection`, or with reading it by `parallelism` instances.
#[must_use]
pub fn validate_feed(type_name: &str, connection: &Value, parallelism: u16) -> Vec<InputError> {
    let errors = validate_connection(type_name, connection);
    match crate::find(type_name) {
        Some(connector) if errors.is_empty() => connector.validate_parallelism(connection, parallelism),
        _ => errors,
    }
}

/// The same, as the error that a source is refused with.
pub(crate) fn ensure_valid(type_name: &str, context: &SourceContext) -> Result<(), Error> {
    let errors = validate_feed(type_name, &context.connection, context.share.of);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::Config(errors))
}
