//! What is said of settings that cannot be used: which key, who set it, and why not.

use std::path::PathBuf;

use config::{ConfigError, Value, ValueKind};

/// An error in the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing.
    #[error("the configuration file {0} does not exist")]
    Missing(PathBuf),
    /// A value does not fit, or a key is unknown.
    #[error("setting `{key}` ({origin}): {reason}")]
    Setting {
        /// The key, with dots between its parts.
        key: String,
        /// The file, variable or flag that set it.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be read.
    #[error("configuration: {0}")]
    Unreadable(String),
}

impl Error {
    /// The library's error; `path` is where in the settings it was met, and `root` says who set what.
    pub(super) fn new(error: ConfigError, path: &str, root: Option<&Value>) -> Self {
        let (reason, own_key, own_origin) = parts(error);
        let key = if path.is_empty() || path == "." {
            own_key.unwrap_or_default()
        } else {
            path.to_owned()
        };
        if key.is_empty() {
            return Self::Unreadable(reason);
        }
        let origin = own_origin.or_else(|| origin_of(root?, &key));
        Self::Setting {
            key,
            origin: origin.unwrap_or_else(|| "default".to_owned()),
            reason,
        }
    }
}

/// Reason, key and origin of the library's error.
fn parts(error: ConfigError) -> (String, Option<String>, Option<String>) {
    match error {
        ConfigError::Type {
            origin,
            unexpected,
            expected,
            key,
        } => (
            format!("invalid type: {unexpected}, expected {expected}"),
            key,
            origin,
        ),
        ConfigError::At { error, origin, key } => {
            let (reason, inner_key, inner_origin) = parts(*error);
            (reason, key.or(inner_key), origin.or(inner_origin))
        }
        other => (other.to_string(), None, None),
    }
}

/// Who set the value at a path, or the part above it that is nearest.
fn origin_of(root: &Value, path: &str) -> Option<String> {
    let mut value = root;
    for part in path.split('.') {
        let ValueKind::Table(table) = &value.kind else {
            break;
        };
        let Some(next) = table.get(part) else { break };
        value = next;
    }
    first_origin(value)
}

fn first_origin(value: &Value) -> Option<String> {
    if let Some(origin) = value.origin() {
        return Some(origin.to_owned());
    }
    match &value.kind {
        ValueKind::Table(table) => table.values().find_map(first_origin),
        ValueKind::Array(items) => items.iter().find_map(first_origin),
        _ => None,
    }
}
