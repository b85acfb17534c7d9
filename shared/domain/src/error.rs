//! Errors that more than one room speaks of.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// What is wrong with one field of an input, in the shape of the API's `errors` list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InputError {
    /// Where the field is: a JSON pointer (RFC 6901) into the input; empty for the whole of it.
    pub pointer: String,
    /// A stable word for programs, such as `required` or `unknown_field`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

impl InputError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }

    /// The same error inside an object: `prefix` is put before the pointer.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// Reads `value` as a `T`; an error names the field by its pointer.
///
/// # Errors
/// The first field that does not fit.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, InputError> {
    serde_path_to_error::deserialize(value).map_err(|error| from_path_error(&error))
}

/// Turns an error of `serde_path_to_error` into one that carries a JSON pointer.
#[must_use]
pub fn from_path_error<E: fmt::Display>(error: &serde_path_to_error::Error<E>) -> InputError {
    let detail = without_place(without_value(error.inner().to_string()));
    let code = if detail.starts_with("unknown field") {
        "unknown_field"
    } else if detail.starts_with("missing field") {
        "required"
    } else if detail.starts_with("unknown variant") {
        "unknown_value"
    } else {
        "invalid"
    };
    let mut pointer = pointer_of(error.path());
    if let Some(name) = detail.strip_prefix("missing field `") {
        pointer.push_str(&format!("/{}", escape(name.trim_end_matches('`'))));
    }
    InputError::new(pointer, code, detail)
}

/// serde's message without the value that it quotes: what was sent may be a secret, and errors are shown and kept.
/// `invalid type: string "hunter2", expected u32` becomes `invalid type: string, expected u32`.
fn without_value(message: String) -> String {
    let quotes = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match (message.find(['"', '`']), message.rfind(", expected ")) {
        (Some(value), Some(expected)) if quotes && value < expected => {
            format!("{}{}", message[..value].trim_end(), &message[expected..])
        }
        _ => message,
    }
}

/// The same without the line and column that a reader of text adds: the pointer says where it is.
fn without_place(mut message: String) -> String {
    if let Some(place) = message.rfind(" at line ") {
        message.truncate(place);
    }
    message
}

fn pointer_of(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { variant } => pointer.push_str(&format!("/{}", escape(variant))),
            Segment::Unknown => {}
        }
    }
    pointer
}

/// Escapes one segment of a JSON pointer (RFC 6901, section 3).
#[must_use]
pub fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_names_its_field() {
        let error = from_value::<BTreeMap<String, Vec<u8>>>(json!({"a/b": [1, "x"]})).unwrap_err();
        assert_eq!(error.pointer, "/a~1b/1");
        assert_eq!(error.code, "invalid");
    }

    #[test]
    fn an_error_points_at_what_is_missing_and_quotes_no_value() {
        #[derive(Debug, Deserialize)]
        struct Login {
            #[expect(dead_code, reason = "only read")]
            password: u32,
        }
        let error = from_value::<BTreeMap<String, Login>>(json!({"a": {}})).unwrap_err();
        assert_eq!(
            (error.pointer.as_str(), error.code.as_str()),
            ("/a/password", "required")
        );
        for value in [json!("hunter2"), json!("hunter2, expected `x`"), json!(-7)] {
            let error = from_value::<Login>(json!({"password": value})).unwrap_err();
            assert!(error.detail.ends_with(", expected u32"), "{}", error.detail);
            assert!(
                !error.detail.contains("hunter2") && !error.detail.contains('7'),
                "{}",
                error.detail
            );
        }
    }
}
