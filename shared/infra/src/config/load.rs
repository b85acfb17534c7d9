//! Loading, and what is said when it fails.

use std::path::PathBuf;

use config::{Config, ConfigError, File, FileFormat, Value, ValueKind};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use super::{Flags, masked, source::variables};
use crate::Error;

/// A configuration and what is worth saying about it.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

impl<T: Serialize> Loaded<T> {
    /// The effective values as TOML, with secrets masked.
    ///
    /// # Errors
    /// The configuration cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, Error> {
        let value = masked(serde_json::to_value(&self.value).map_err(|error| Error::Config(error.to_string()))?);
        toml::to_string_pretty(&value).map_err(|error| Error::Config(error.to_string()))
    }
}

/// Loads a configuration: the type's defaults, `files` in order, the variables, the flags; later ones win.
///
/// `variables` are pairs as [`super::environment`] finds them; `prefix` (`HALCYON__`) is cut from their names.
///
/// # Errors
/// A file cannot be read, a key is unknown or a value does not fit; the error names key and source.
pub fn load<T: DeserializeOwned>(
    files: &[PathBuf],
    prefix: &str,
    environment: &[(String, String)],
    flags: &Flags,
) -> Result<Loaded<T>, Error> {
    let mut builder = Config::builder();
    for file in files {
        builder = builder.add_source(File::from(file.clone()).format(FileFormat::Toml));
    }
    let merged = builder
        .add_source(variables(prefix, environment))
        .add_source(flags.layer())
        .build()
        .map_err(|error| named(error, "", None))?;
    let origins = merged.cache.clone();
    let value = serde_path_to_error::deserialize(merged)
        .map_err(|error| {
            let path = error.path().to_string();
            named(error.into_inner(), &path, Some(&origins))
        })?;
    Ok(Loaded { value, files: files.to_vec() })
}

/// The JSON schema of a configuration.
#[must_use]
pub fn schema<T: JsonSchema>() -> serde_json::Value {
    schemars::schema_for!(T).to_value()
}

/// The library's error with the key and the origin found for it.
fn named(error: ConfigError, path: &str, origins: Option<&Value>) -> Error {
    let (reason, key, origin) = parts(error);
    let key = if path.is_empty() || path == "." { key.unwrap_or_default() } else { path.to_owned() };
    if key.is_empty() {
        return Error::Config(reason);
    }
    let origin = origin
        .or_else(|| origins.and_then(|root| origin_of(root, &key)))
        .unwrap_or_else(|| "the defaults".to_owned());
    Error::ConfigKey { key, origin, reason }
}

fn parts(error: ConfigError) -> (String, Option<String>, Option<String>) {
    match error {
        ConfigError::Type { origin, unexpected, expected, key } => {
            (format!("invalid type: {unexpected}, expected {expected}"), key, origin)
        }
        ConfigError::At { error, origin, key } => {
            let (reason, inner_key, inner_origin) = parts(*error);
            (reason, key.or(inner_key), origin.or(inner_origin))
        }
        other => (other.to_string(), None, None),
    }
}

/// Who set the value at a path, or the nearest part above it that says so.
fn origin_of(root: &Value, path: &str) -> Option<String> {
    let mut value = root;
    let mut origin = None;
    for part in path.split('.') {
        let ValueKind::Table(table) = &value.kind else { break };
        let Some(next) = table.get(part) else { break };
        value = next;
        origin = value.origin().map(str::to_owned).or(origin);
    }
    origin.or_else(|| first_origin(value))
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        gateway: Gateway,
        names: Vec<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Gateway {
        listen: String,
        workers: u16,
        password: Option<String>,
    }

    impl Default for Gateway {
        fn default() -> Self {
            Self { listen: "127.0.0.1:8080".into(), workers: 2, password: None }
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn load_from(text: &str, variables: &[(&str, &str)], flags: &Flags) -> Result<Loaded<Settings>, Error> {
        let file = file(text);
        let pairs: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(&[file.path().to_owned()], "HALCYON__", &pairs, flags)
    }

    #[test]
    fn later_sources_win() {
        let flags = Flags::default().with("gateway.listen", "--listen", Some("f")).with("names", "--n", None::<&str>);
        let text = "names = ['file']\n[gateway]\nlisten = 'file'\nworkers = 3\n";
        let variables = [("HALCYON__GATEWAY__LISTEN", "e"), ("HALCYON__GATEWAY__PASSWORD", "007")];
        let loaded = load_from(text, &variables, &flags).unwrap().value;
        assert_eq!(loaded.gateway, Gateway { listen: "f".into(), workers: 3, password: Some("007".into()) });
        assert_eq!(loaded.names, ["file"]);
        let loaded = load_from("", &[], &Flags::default()).unwrap().value;
        assert_eq!(loaded, Settings::default());
    }

    #[test]
    fn numbers_and_lists_come_from_variables() {
        let variables = [("HALCYON__GATEWAY__WORKERS", "7"), ("HALCYON__NAMES", "['a', 'b']")];
        let loaded = load_from("", &variables, &Flags::default()).unwrap().value;
        assert_eq!((loaded.gateway.workers, loaded.names), (7, vec!["a".into(), "b".into()]));
    }

    #[test]
    fn errors_name_key_and_source() {
        let error = load_from("", &[("HALCYON__GATEWAY__WORKERS", "many")], &Flags::default()).unwrap_err().to_string();
        assert!(error.contains("`gateway.workers`") && error.contains("variable HALCYON__GATEWAY__WORKERS"), "{error}");
        let error = load_from("[gateway]\nport = 3\n", &[], &Flags::default()).unwrap_err().to_string();
        assert!(error.contains("`gateway.port`") && error.contains(".toml") && error.contains("unknown field"), "{error}");
        let flags = Flags::default().with("gateway.workers", "--workers", Some("-1"));
        let error = load_from("", &[], &flags).unwrap_err().to_string();
        assert!(error.contains("flag --workers"), "{error}");
        let error = load_from("[gateway\n", &[], &Flags::default()).unwrap_err().to_string();
        assert!(error.contains(".toml"), "{error}");
    }

    #[test]
    fn secrets_are_masked() {
        let loaded = load_from("[gateway]\npassword = 'hunter2'\n", &[], &Flags::default()).unwrap();
        let text = loaded.to_toml().unwrap();
        assert!(text.contains("listen") && !text.contains("hunter2"), "{text}");
        assert_eq!(schema::<Settings>()["properties"]["names"]["type"], "array");
    }
}
