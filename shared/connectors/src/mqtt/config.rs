//! The connection, as it is written. Its JSON Schema is `schema.json`.

use halcyon_domain::error::{InputError, from_value};
use serde::Deserialize;
use serde_json::Value;

use crate::tls::{SecretRef, Tls};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) host: String,
    port: Option<u16>,
    #[serde(default)]
    pub(crate) version: Version,
    #[serde(default = "half_a_minute")]
    pub(crate) keep_alive: u16,
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: Option<Tls>,
    pub(crate) client_id: String,
    #[serde(default = "a_week")]
    pub(crate) session_expiry: u32,
    pub(crate) topics: Vec<String>,
    #[serde(default = "one")]
    pub(crate) qos: u8,
    pub(crate) group: Option<String>,
    #[serde(default = "thousand")]
    pub(crate) in_flight: u16,
    #[serde(default = "yes")]
    pub(crate) retained: bool,
    #[serde(default)]
    pub(crate) identity: Identity,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Version {
    #[serde(rename = "3.1.1")]
    V311,
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// How we prove who we are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) username: String,
    pub(crate) password: Option<SecretRef>,
}

/// By what a message is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    #[default]
    Content,
    Delivery,
}

const fn half_a_minute() -> u16 {
    30
}

const fn a_week() -> u32 {
    7 * 24 * 60 * 60
}

const fn one() -> u8 {
    1
}

const fn thousand() -> u16 {
    1_000
}

const fn yes() -> bool {
    true
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
        let usual = if self.tls().is_some() { 8883 } else { 1883 };
        self.port.unwrap_or(usual)
    }

    /// For those who look and take nothing: outside the group, whose messages are for its readers, and without
    /// acknowledgements.
    pub(crate) fn guest(&self) -> Self {
        Self {
            group: None,
            qos: 0,
            ..self.clone()
        }
    }

    /// What is subscribed to, as the broker is told.
    pub(crate) fn filters(&self) -> Vec<String> {
        let shared = |topic: &String| match &self.group {
            Some(group) => format!("$share/{group}/{topic}"),
            None => topic.clone(),
        };
        self.topics.iter().map(shared).collect()
    }

    /// What the schema cannot say.
    fn errors(&self) -> Vec<InputError> {
        let mut errors = Vec::new();
        for (index, topic) in self.topics.iter().enumerate() {
            if let Some(detail) = wrong_filter(topic) {
                errors.push(InputError::new(format!("/topics/{index}"), "format", detail));
            }
        }
        let tls = self.tls.iter().flat_map(Tls::validate);
        errors.extend(tls.map(|error| error.under("/tls")));
        errors
    }
}

/// What is wrong with a topic filter (MQTT 5, 4.7).
fn wrong_filter(filter: &str) -> Option<&'static str> {
    if filter.starts_with("$share/") {
        return Some("a shared subscription is written as `group`");
    }
    if filter.contains('\0') {
        return Some("a topic has no null character");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, above) = levels.split_last()?;
    let wild = |level: &&str| level.len() > 1 && level.contains(['+', '#']);
    if above.contains(&"#") || levels.iter().any(wild) {
        return Some("`#` stands alone at the end, and `+` alone between slashes");
    }
    (filter.len() > 1024 || last.len() > 1024).then_some("the filter is too long")
}
