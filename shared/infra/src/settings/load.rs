//! Laying files, variables and flags over each other.

use std::path::PathBuf;

use config::{Config, File, FileFormat};
use serde::de::DeserializeOwned;

use super::{
    Error,
    source::{Layer, Respelled},
};

/// Reads the settings from TOML `files`, the environment and `flags` (key and value), in this order.
///
/// # Errors
/// A file is missing, a key is unknown, or a value does not fit; the error names the key and who set it.
pub fn load<T: DeserializeOwned>(files: &[PathBuf], flags: &[(String, String)]) -> Result<T, Error> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    load_from(
        files,
        Layer::variables(std::env::vars_os().filter_map(text)),
        flags,
    )
}

fn load_from<T: DeserializeOwned>(
    files: &[PathBuf],
    variables: Layer,
    flags: &[(String, String)],
) -> Result<T, Error> {
    let mut builder = Config::builder();
    for file in files {
        if !file.is_file() {
            return Err(Error::Missing(file.clone()));
        }
        builder = builder.add_source(Respelled(File::from(file.as_path()).format(FileFormat::Toml)));
    }
    let merged = builder
        .add_source(variables)
        .add_source(Respelled(Layer::flags(flags)))
        .build();
    let merged = merged.map_err(|error| Error::new(error, "", None))?;
    let root = merged.cache.clone();
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let path = error.path().to_string();
        Error::new(error.into_inner(), &path, Some(&root))
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        gateway: Gateway,
        names: Vec<String>,
        health: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Gateway {
        listen: String,
        workers: u16,
        secure: bool,
        password: Option<String>,
    }

    fn load_text(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("halcyon.toml");
        fs::write(&file, text).unwrap();
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        load_from(&[file], Layer::variables(owned(variables)), &owned(flags))
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_files() {
        let text = "names = ['file']\n[gateway]\nlisten = 'file'\nworkers = 1\nsecure = true\n";
        let variables = [
            ("HALCYON__GATEWAY__WORKERS", "2"),
            ("HALCYON__GATEWAY__LISTEN", "variable"),
            ("HALCYON_OTHER", "x"),
        ];
        let settings = load_text(text, &variables, &[("gateway.listen", "flag")]).unwrap();
        assert_eq!(
            (settings.gateway.listen.as_str(), settings.gateway.workers),
            ("flag", 2)
        );
        assert!(settings.gateway.secure);
        assert_eq!(settings.names, ["file"]);
        assert_eq!(load_text("", &[], &[]).unwrap(), Settings::default());
    }

    #[test]
    fn text_becomes_what_the_setting_is() {
        let variables = [
            ("HALCYON__GATEWAY__PASSWORD", "007"),
            ("HALCYON__GATEWAY__SECURE", "true"),
            ("HALCYON__NAMES", "['a', 'b']"),
        ];
        let settings = load_text("", &variables, &[("health.test-runner", "127.0.0.1:1")]).unwrap();
        assert_eq!(settings.gateway.password.as_deref(), Some("007"));
        assert!(settings.gateway.secure);
        assert_eq!(settings.names, ["a", "b"]);
        assert_eq!(settings.health["test_runner"], "127.0.0.1:1");
    }

    #[test]
    fn both_spellings_of_a_name_are_one_key() {
        let file = "[health]\ntest-runner = 'file'\n";
        let variable = [("HALCYON__HEALTH__TEST_RUNNER", "variable")];
        for (variables, flags, wins) in [
            (&[][..], &[][..], "file"),
            (&variable[..], &[][..], "variable"),
            (&variable[..], &[("health.test-runner", "flag")][..], "flag"),
        ] {
            let settings = load_text(file, variables, flags).unwrap();
            assert_eq!(
                settings.health.into_iter().collect::<Vec<_>>(),
                [("test_runner".to_owned(), wins.to_owned())]
            );
        }
    }

    #[test]
    fn an_error_names_the_key_and_who_set_it() {
        let said = |result: Result<Settings, Error>| result.unwrap_err().to_string();
        let error = said(load_text("", &[("HALCYON__GATEWAY__WORKERS", "many")], &[]));
        assert!(
            error.contains("`gateway.workers`") && error.contains("HALCYON__GATEWAY__WORKERS"),
            "{error}"
        );
        let error = said(load_text("", &[("HALCYON__GATEWAI__X", "1")], &[]));
        assert!(
            error.contains("`gatewai`") && error.contains("HALCYON__GATEWAI__X"),
            "{error}"
        );
        let error = said(load_text("[gateway]\nport = 3\n", &[], &[]));
        assert!(
            error.contains("`gateway.port`") && error.contains("halcyon.toml"),
            "{error}"
        );
        let error = said(load_text("", &[], &[("gateway.workers", "-1")]));
        assert!(error.contains("`gateway.workers` (flag)"), "{error}");
        let error = said(load_text("[gateway\n", &[], &[]));
        assert!(error.contains("halcyon.toml"), "{error}");
        let error = load::<Settings>(&[PathBuf::from("/nowhere.toml")], &[]).unwrap_err();
        assert!(matches!(error, Error::Missing(_)));
    }
}
