//! The connection, as it is written. Its JSON Schema is `schema.json`.

use chrono::DateTime;
use halcyon_domain::error::{InputError, from_value};
use serde::Deserialize;
use serde_json::Value;

use super::sasl::Mechanism;
use crate::{
    endpoint::Endpoint,
    tls::{SecretRef, Tls},
};

const PORT: u16 = 9092;

/// The connection of a `kafka` datasource.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    brokers: Vec<String>,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
    #[serde(default)]
    pub(super) topics: Vec<String>,
    pub(super) pattern: Option<String>,
    pub(super) group: String,
    #[serde(default)]
    start: From,
    start_time: Option<String>,
    #[serde(default)]
    pub(super) isolation: Isolation,
    #[serde(default)]
    pub(super) format: Format,
    pub(super) schema_registry: Option<Registry>,
    #[serde(default)]
    pub(super) tombstones: Tombstones,
}

/// Who we are to the brokers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    pub(super) username: String,
    pub(super) password: SecretRef,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    #[default]
    Earliest,
    Latest,
    Time,
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// At the first record at or after this time, in milliseconds since 1970.
    Time(i64),
}

/// Which records are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Isolation {
    #[default]
    ReadCommitted,
    ReadUncommitted,
}

impl Isolation {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }
}

/// What a record's value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    #[default]
    Json,
    Avro,
    Raw,
}

/// What is made of a record without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tombstones {
    #[default]
    Skip,
    Keep,
}

/// Where schemas are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    pub(super) url: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretRef>,
    pub(super) token: Option<SecretRef>,
}

impl Connection {
    /// Reads a connection and says all that is wrong with it.
    pub(super) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let read: Self = from_value(connection.clone()).map_err(|error| vec![error])?;
        let mut errors = Endpoint::parse_all(&read.brokers, PORT, "/brokers")
            .err()
            .unwrap_or_default();
        let below_tls =
            |error: InputError| InputError::new(format!("/tls{}", error.pointer), error.code, error.detail);
        errors.extend(read.tls.iter().flat_map(Tls::validate).map(below_tls));
        read.feed_errors(&mut errors);
        errors.extend(read.registry_error());
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    fn feed_errors(&self, errors: &mut Vec<InputError>) {
        match (&self.pattern, self.topics.is_empty()) {
            (None, true) => {
                let detail = "a list of topics or a pattern is needed";
                errors.push(InputError::new("/topics", "required", detail));
            }
            (Some(_), false) => {
                let detail = "there are topics already; one of both is enough";
                errors.push(InputError::new("/pattern", "invalid", detail));
            }
            (Some(pattern), true) if regex::Regex::new(pattern).is_err() => {
                let detail = "the value is no regular expression";
                errors.push(InputError::new("/pattern", "format", detail));
            }
            _ => {}
        }
        match (self.start, &self.start_time) {
            (From::Time, None) => {
                let detail = "`start` is `time`, so a time is needed";
                errors.push(InputError::new("/start_time", "required", detail));
            }
            (_, Some(time)) if DateTime::parse_from_rfc3339(time).is_err() => {
                let detail = "the value is not a time such as 2026-01-01T00:00:00Z";
                errors.push(InputError::new("/start_time", "format", detail));
            }
            _ => {}
        }
    }

    fn registry_error(&self) -> Option<InputError> {
        let Some(registry) = &self.schema_registry else {
            let lacks = self.format == Format::Avro;
            return lacks.then(|| {
                InputError::new(
                    "/schema_registry",
                    "required",
                    "`avro` needs to know where the schemas are",
                )
            });
        };
        let url = registry.url.parse::<http::Uri>().ok();
        let good = url.is_some_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.query().is_none()
                && url.host().is_some()
        });
        if !good {
            let detail = "the value is no http or https URL without a query";
            return Some(InputError::new("/schema_registry/url", "format", detail));
        }
        if registry.username.is_some() != registry.password.is_some() {
            let detail = "a user name and a password belong together";
            return Some(InputError::new("/schema_registry/password", "required", detail));
        }
        (registry.token.is_some() && registry.password.is_some()).then(|| {
            let detail = "there is a password already; one of both is enough";
            InputError::new("/schema_registry/token", "invalid", detail)
        })
    }

    /// The brokers to begin with.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        Endpoint::parse_all(&self.brokers, PORT, "/brokers").unwrap_or_default()
    }

    /// Where a group begins that has committed nothing.
    pub(super) fn start(&self) -> Start {
        let time = self.start_time.as_deref();
        match self.start {
            From::Earliest => Start::Earliest,
            From::Latest => Start::Latest,
            From::Time => {
                let time = time.and_then(|time| DateTime::parse_from_rfc3339(time).ok());
                time.map_or(Start::Earliest, |time| Start::Time(time.timestamp_millis()))
            }
        }
    }

    /// The topics as the library takes them: a pattern begins with `^`.
    pub(super) fn subscription(&self) -> Vec<String> {
        match &self.pattern {
            Some(pattern) => vec![anchored(pattern)],
            None => self.topics.clone(),
        }
    }

    /// Whether a topic is one of this feed's.
    pub(super) fn wants(&self, topic: &str) -> bool {
        match &self.pattern {
            Some(pattern) => {
                regex::Regex::new(&anchored(pattern)).is_ok_and(|pattern| pattern.is_match(topic))
            }
            None => self.topics.iter().any(|wanted| wanted == topic),
        }
    }
}

fn anchored(pattern: &str) -> String {
    let inner = pattern.trim_start_matches('^');
    format!("^{inner}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::validate_connection;

    #[test]
    fn errors_point_at_their_field() {
        let good = json!({"brokers": ["a.example"], "topics": ["t"], "group": "g"});
        assert_eq!(validate_connection("kafka", &good), []);
        let registry = |extra: serde_json::Value| {
            let mut registry = json!({"url": "https://schemas.example"});
            registry
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            registry
        };
        let secret = json!({"$secret": "s"});
        for (key, value, pointer) in [
            ("brokers", json!(["a.example:0"]), "/brokers/0"),
            ("topics", json!([]), "/topics"),
            ("topics", json!(["a b"]), "/topics/0"),
            ("pattern", json!("x.*"), "/pattern"),
            ("start", json!("time"), "/start_time"),
            ("start_time", json!("2026-02-30T00:00:00Z"), "/start_time"),
            ("format", json!("avro"), "/schema_registry"),
            (
                "schema_registry",
                json!({"url": "ftp://x"}),
                "/schema_registry/url",
            ),
            (
                "schema_registry",
                registry(json!({"username": "u"})),
                "/schema_registry/password",
            ),
            (
                "schema_registry",
                registry(json!({"username": "u", "password": secret, "token": secret})),
                "/schema_registry/token",
            ),
            (
                "sasl",
                json!({"mechanism": "GSSAPI", "username": "u", "password": secret}),
                "/sasl/mechanism",
            ),
            (
                "sasl",
                json!({"mechanism": "PLAIN", "username": "u"}),
                "/sasl/password",
            ),
            ("tls", json!({"certificate": "x"}), "/tls/certificate"),
        ] {
            let mut connection = good.clone();
            connection[key] = value;
            let errors = validate_connection("kafka", &connection);
            assert!(!errors.is_empty(), "{pointer}");
            assert_eq!(errors[0].pointer, pointer, "{errors:?}");
        }
        let pattern = json!({"brokers": ["a"], "pattern": "(", "group": "g"});
        assert_eq!(validate_connection("kafka", &pattern)[0].pointer, "/pattern");
    }

    #[test]
    fn a_pattern_begins_at_the_name() {
        let read = |pattern: &str| {
            Connection::read(&json!({"brokers": ["a"], "pattern": pattern, "group": "g"})).unwrap()
        };
        for pattern in ["alerts\\..*", "^alerts\\..*"] {
            assert_eq!(read(pattern).subscription(), ["^alerts\\..*"]);
            assert!(read(pattern).wants("alerts.eu") && !read(pattern).wants("old-alerts.eu"));
        }
    }
}
