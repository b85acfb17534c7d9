//! The connection, as it is written. Its JSON Schema is `schema.json`.

use halcyon_domain::error::{InputError, from_value};
use serde::Deserialize;
use serde_json::Value;

use crate::tls::{SecretRef, Tls};

/// What the protocol can say at most of a name, in bytes.
const SHORT: usize = 255;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) host: String,
    port: Option<u16>,
    #[serde(default = "root")]
    pub(crate) virtual_host: String,
    #[serde(default = "twenty")]
    pub(crate) heartbeat: u16,
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: Option<Tls>,
    pub(crate) queue: String,
    pub(crate) bind: Option<Bind>,
    #[serde(default = "hundred")]
    pub(crate) prefetch: u16,
    #[serde(default)]
    pub(crate) identity: Identity,
}

/// How we prove who we are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) mechanism: Mechanism,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<SecretRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mechanism {
    Plain,
    External,
}

/// What the queue is bound to when reading begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bind {
    pub(crate) exchange: String,
    pub(crate) routing_keys: Vec<String>,
}

/// By what a message is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    #[default]
    MessageId,
    Content,
}

fn root() -> String {
    "/".to_owned()
}

const fn twenty() -> u16 {
    20
}

const fn hundred() -> u16 {
    100
}

impl Connection {
    pub(crate) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let connection: Self = from_value(connection.clone()).map_err(|error| vec![error])?;
        let errors = connection.errors();
        if errors.is_empty() {
            Ok(connection)
        } else {
            Err(errors)
        }
    }

    /// The TLS settings, if it is used.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|tls| tls.enabled)
    }

    pub(crate) fn port(&self) -> u16 {
        let usual = if self.tls().is_some() { 5671 } else { 5672 };
        self.port.unwrap_or(usual)
    }

    /// What the schema cannot say.
    fn errors(&self) -> Vec<InputError> {
        let mut errors = Vec::new();
        let mut short = |pointer: String, text: &str| {
            if text.len() > SHORT {
                let detail = "the value is longer than the 255 bytes that the protocol has for it";
                errors.push(InputError::new(pointer, "out_of_range", detail));
            }
        };
        short("/virtual_host".to_owned(), &self.virtual_host);
        short("/queue".to_owned(), &self.queue);
        if let Some(bind) = &self.bind {
            short("/bind/exchange".to_owned(), &bind.exchange);
            for (index, key) in bind.routing_keys.iter().enumerate() {
                short(format!("/bind/routing_keys/{index}"), key);
            }
        }
        errors.extend(self.auth.iter().flat_map(|auth| self.auth_errors(auth)));
        let tls = self.tls.iter().flat_map(Tls::validate);
        errors.extend(tls.map(|error| error.under("/tls")));
        errors
    }

    fn auth_errors(&self, auth: &Auth) -> Vec<InputError> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, code: &str, detail: &str| {
            errors.push(InputError::new(pointer, code, detail));
        };
        match auth.mechanism {
            Mechanism::Plain => {
                if auth.username.is_none() {
                    wrong("/auth/username", "required", "`plain` needs a user name");
                }
                if auth.password.is_none() {
                    wrong("/auth/password", "required", "`plain` needs a password");
                }
            }
            Mechanism::External => {
                if auth.username.is_some() {
                    wrong(
                        "/auth/username",
                        "unused",
                        "`external` takes the user from the certificate",
                    );
                }
                if auth.password.is_some() {
                    wrong("/auth/password", "unused", "`external` has no password");
                }
                if self.tls().is_none_or(|tls| tls.certificate.is_none()) {
                    wrong(
                        "/tls/certificate",
                        "required",
                        "`external` needs a client certificate",
                    );
                }
            }
        }
        errors
    }
}
