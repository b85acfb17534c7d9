//! The connection, as it is written.

use halcyon_domain::{
    duration::HumanDuration,
    error::{InputError, from_value},
};
use serde::Deserialize;
use serde_json::Value;

use crate::tls::{SecretRef, Tls};

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) host: String,
    #[serde(default = "default_port")]
    pub(super) port: u16,
    #[serde(default)]
    pub(super) database: u16,
    pub(super) tls: Option<Tls>,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretRef>,
    pub(super) stream: String,
    #[serde(default = "default_group")]
    pub(super) group: String,
    #[serde(default)]
    pub(super) start: Start,
    pub(super) field: Option<String>,
    #[serde(default = "default_claim_after")]
    pub(super) claim_after: HumanDuration,
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    #[default]
    Oldest,
    Newest,
}

impl Start {
    /// The identifier that `XGROUP CREATE` takes.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Oldest => "0",
            Self::Newest => "$",
        }
    }
}

const fn default_port() -> u16 {
    6379
}

fn default_group() -> String {
    "halcyon".to_owned()
}

const fn default_claim_after() -> HumanDuration {
    HumanDuration::from_secs(60)
}

impl Connection {
    pub(super) fn read(connection: &Value) -> Result<Self, InputError> {
        from_value(connection.clone())
    }

    /// What its JSON Schema cannot say.
    pub(super) fn validate(&self) -> Vec<InputError> {
        let mut errors: Vec<InputError> = self.tls.iter().flat_map(Tls::validate).collect();
        errors = errors.into_iter().map(|error| error.under("/tls")).collect();
        if self.username.is_some() && self.password.is_none() {
            errors.push(InputError::new(
                "/password",
                "required",
                "a user needs a password",
            ));
        }
        if self.claim_after.get().is_zero() {
            let detail = "entries that were just given out would be taken from those who work on them";
            errors.push(InputError::new("/claim_after", "out_of_range", detail));
        }
        errors
    }

    /// TLS, if it is to be used.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|tls| tls.enabled)
    }
}
