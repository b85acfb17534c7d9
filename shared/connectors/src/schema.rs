//! Checks a connection against its connector's JSON Schema, and says what is wrong field by field.

use halcyon_domain::error::{InputError, escape};
use jsonschema::{ValidationError, Validator, error::ValidationErrorKind as Kind};
use serde_json::Value;

/// A compiled JSON Schema.
#[derive(Debug)]
pub(crate) struct Schema(Result<Validator, String>);

impl Schema {
    /// Compiles `schema`; a schema that is not one refuses every connection (and fails the crate's tests).
    pub(crate) fn compile(schema: &Value) -> Self {
        Self(jsonschema::draft202012::new(schema).map_err(|error| error.to_string()))
    }

    /// Everything that is wrong with `connection`, in a stable order. Holds no value of the connection: what was
    /// written into the wrong field may be a secret.
    pub(crate) fn validate(&self, connection: &Value) -> Vec<InputError> {
        let validator = match &self.0 {
            Ok(validator) => validator,
            Err(error) => return vec![InputError::new("", "schema", error.clone())],
        };
        let mut errors: Vec<InputError> = validator
            .iter_errors(connection)
            .flat_map(|e| explain(&e))
            .collect();
        errors.sort_by(|a, b| (&a.pointer, &a.code).cmp(&(&b.pointer, &b.code)));
        errors.dedup();
        errors
    }
}

fn explain(error: &ValidationError<'_>) -> Vec<InputError> {
    let at = error.instance_path().to_string();
    let one = |pointer: String, code: &str, detail: String| vec![InputError::new(pointer, code, detail)];
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            one(
                format!("{at}/{}", escape(name)),
                "required",
                format!("`{name}` is needed"),
            )
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|name| {
                let detail = format!("there is no field `{name}` here");
                InputError::new(format!("{at}/{}", escape(name)), "unknown_field", detail)
            })
            .collect(),
        Kind::Enum { options } => one(at, "unknown_value", format!("the value is none of {options}")),
        Kind::Constant { expected_value } => {
            one(at, "unknown_value", format!("the value is not {expected_value}"))
        }
        Kind::Type { .. } => one(at, "type", error.masked_with("the value").to_string()),
        Kind::Pattern { .. } | Kind::Format { .. } => {
            one(at, "format", error.masked_with("the value").to_string())
        }
        Kind::Minimum { .. }
        | Kind::Maximum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::ExclusiveMaximum { .. }
        | Kind::MinLength { .. }
        | Kind::MaxLength { .. }
        | Kind::MinItems { .. }
        | Kind::MaxItems { .. } => one(at, "out_of_range", error.masked_with("the value").to_string()),
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => alternatives(&at, context),
        _ => one(at, "invalid", error.masked_with("the value").to_string()),
    }
}

/// Of alternatives that all failed, the one that came nearest: whose errors lie deepest.
fn alternatives(at: &str, context: &[Vec<ValidationError<'static>>]) -> Vec<InputError> {
    let depth = |errors: &Vec<ValidationError<'static>>| {
        errors
            .iter()
            .map(|error| error.instance_path().to_string().matches('/').count())
            .max()
            .unwrap_or(0)
    };
    let deepest = context.iter().max_by_key(|errors| depth(errors));
    match deepest {
        Some(errors) if depth(errors) > at.matches('/').count() => errors.iter().flat_map(explain).collect(),
        _ => vec![InputError::new(
            at,
            "invalid",
            "the value has none of the allowed forms",
        )],
    }
}
