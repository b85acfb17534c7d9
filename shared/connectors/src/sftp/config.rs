//! The connection, as it is written, and the rules between its fields.

use halcyon_domain::error::{InputError, from_value};
use russh::keys::PublicKey;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    files::{Chosen, Format},
    tls::SecretRef,
};

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) host: String,
    #[serde(default = "default_port")]
    pub(super) port: u16,
    pub(super) host_keys: Vec<String>,
    pub(super) auth: Auth,
    #[serde(default = "default_folder")]
    pub(super) folder: String,
    pub(super) format: Format,
    #[serde(default)]
    pub(super) files: Chosen,
}

/// Who we are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    pub(super) kind: AuthKind,
    pub(super) user: String,
    pub(super) password: Option<SecretRef>,
    pub(super) private_key: Option<SecretRef>,
    pub(super) passphrase: Option<SecretRef>,
}

/// How we say who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthKind {
    Password,
    PrivateKey,
}

fn default_port() -> u16 {
    22
}

fn default_folder() -> String {
    ".".to_owned()
}

/// Whether a text is a fingerprint, as OpenSSH prints it.
pub(super) fn is_fingerprint(text: &str) -> bool {
    text.starts_with("SHA256:")
}

impl Connection {
    /// Reads a connection and says everything that is wrong with it.
    pub(super) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let connection: Self = from_value(connection.clone()).map_err(|error| vec![error])?;
        let errors = connection.validate();
        if errors.is_empty() {
            Ok(connection)
        } else {
            Err(errors)
        }
    }

    fn validate(&self) -> Vec<InputError> {
        let mut errors: Vec<InputError> = self
            .files
            .validate()
            .into_iter()
            .map(|error| error.under("/files"))
            .collect();
        errors.extend(
            self.format
                .validate()
                .into_iter()
                .map(|error| error.under("/format")),
        );
        for (index, key) in self.host_keys.iter().enumerate() {
            if !is_fingerprint(key) && PublicKey::from_openssh(key).is_err() {
                let detail = "the value is neither a fingerprint (SHA256:...) nor a public key of OpenSSH";
                errors.push(InputError::new(format!("/host_keys/{index}"), "format", detail));
            }
        }
        let by_password = self.auth.kind == AuthKind::Password;
        let fields = [
            ("password", self.auth.password.is_some(), by_password, by_password),
            (
                "private_key",
                self.auth.private_key.is_some(),
                !by_password,
                !by_password,
            ),
            ("passphrase", self.auth.passphrase.is_some(), false, !by_password),
        ];
        for (name, is_there, needed, allowed) in fields {
            let pointer = format!("/auth/{name}");
            if needed && !is_there {
                errors.push(InputError::new(
                    pointer,
                    "required",
                    format!("`{name}` is needed"),
                ));
            } else if is_there && !allowed {
                errors.push(InputError::new(
                    pointer,
                    "unsupported",
                    "this way does not use it",
                ));
            }
        }
        errors
    }

    /// The name that makes the keys of files the only ones of that name.
    pub(super) fn place(&self) -> String {
        let folder = self.folder.trim_end_matches('/');
        match self.port {
            22 => format!("{}/{folder}", self.host),
            port => format!("{}:{port}/{folder}", self.host),
        }
    }
}
