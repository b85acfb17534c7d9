//! Settings: files, then environment variables, then flags; each later one wins.
//!
//! An environment variable is `HALCYON__` and the key's parts joined by `__`:
//! `HALCYON__GATEWAY__LISTEN=127.0.0.1:9000` sets `gateway.listen`.

use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The prefix of environment variables that are settings.
pub const PREFIX: &str = "HALCYON";

/// What stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// An error in the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing.
    #[error("the configuration file {0} does not exist")]
    Missing(PathBuf),
    /// A value does not fit; the message names the key and where it was set.
    #[error("configuration: {0}")]
    Invalid(#[from] config::ConfigError),
}

/// Reads the settings from TOML `files`, the environment and `flags` (key and value), in this order.
///
/// # Errors
/// A file is missing, or a value does not fit.
pub fn load<T: DeserializeOwned>(files: &[PathBuf], flags: &[(&str, String)]) -> Result<T, Error> {
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator("__")
        .separator("__");
    load_from(files, environment.try_parsing(true), flags)
}

fn load_from<T: DeserializeOwned>(
    files: &[PathBuf],
    environment: Environment,
    flags: &[(&str, String)],
) -> Result<T, Error> {
    let mut builder = Config::builder();
    for file in files {
        if !Path::new(file).is_file() {
            return Err(Error::Missing(file.clone()));
        }
        builder = builder.add_source(File::from(file.as_path()).format(FileFormat::Toml));
    }
    builder = builder.add_source(environment);
    for (key, value) in flags {
        builder = builder.set_override(*key, value.as_str())?;
    }
    Ok(builder.build()?.try_deserialize()?)
}

/// The settings as JSON, with whatever may be a secret masked: values of keys that end in `password`, `secret`,
/// `token` or `seed`, and passwords within URLs.
#[must_use]
pub fn masked<T: Serialize>(settings: &T) -> Value {
    let mut value = serde_json::to_value(settings).unwrap_or_default();
    mask(&mut value);
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, item) in object {
                let secret = ["password", "secret", "token", "seed"]
                    .iter()
                    .any(|end| key.ends_with(end));
                if secret && item.is_string() {
                    *item = Value::from(REDACTED);
                } else {
                    mask(item);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => *text = mask_url(text),
        _ => {}
    }
}

/// `url` with the password of its user information masked.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split_once(':').map_or("", |(name, _)| name);
            format!("{scheme}://{name}:{REDACTED}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        gateway: Gateway,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Gateway {
        listen: String,
        workers: u16,
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let map: HashMap<_, _> = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__");
        environment.try_parsing(true).source(Some(map))
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("halcyon.toml");
        fs::write(&file, "[gateway]\nlisten = \"file\"\nworkers = 1\n").unwrap();
        let variables = environment(&[("HALCYON__GATEWAY__WORKERS", "2"), ("HALCYON_OTHER", "x")]);
        let flags = [("gateway.listen", "flag".to_owned())];
        let settings: Settings = load_from(&[file], variables, &flags).unwrap();
        assert_eq!(
            (settings.gateway.listen.as_str(), settings.gateway.workers),
            ("flag", 2)
        );
    }

    #[test]
    fn an_error_names_the_key() {
        let variables = environment(&[("HALCYON__GATEWAY__WORKERS", "many")]);
        let error = load_from::<Settings>(&[], variables, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("gateway.workers"), "{error}");
        let error =
            load_from::<Settings>(&[], environment(&[("HALCYON__GATEWAI__X", "1")]), &[]).unwrap_err();
        assert!(error.to_string().contains("gatewai"), "{error}");
        let error = load::<Settings>(&[PathBuf::from("/nowhere.toml")], &[]).unwrap_err();
        assert!(matches!(error, Error::Missing(_)));
    }

    #[test]
    fn secrets_are_masked() {
        let settings = json!({
            "database": {"url": "postgres://user:hunter2@host/db?x=1"},
            "nats": {"password": "hunter2", "seed_file": "/keys/seed"},
        });
        let shown = masked(&settings);
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(shown["database"]["url"], "postgres://user:[REDACTED]@host/db?x=1");
        assert_eq!(shown["nats"]["seed_file"], "/keys/seed");
    }
}
