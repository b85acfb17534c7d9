//! The connection, as it is written. Its JSON Schema is `schema.json`.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use chrono::DateTime;
use halcyon_domain::{
    clock::Timestamp,
    duration::HumanDuration,
    error::{InputError, from_value},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    endpoint::Endpoint,
    tls::{SecretRef, Tls},
};

const PORT: u16 = 4222;

/// The connection of a `nats` datasource.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    servers: Vec<String>,
    pub(crate) tls: Option<Tls>,
    pub(crate) auth: Option<Auth>,
    #[serde(default)]
    pub(crate) mode: Mode,
    pub(crate) stream: Option<String>,
    pub(crate) consumer: Option<String>,
    #[serde(default)]
    pub(crate) filter: Vec<String>,
    start: Option<Start>,
    ack_wait: Option<HumanDuration>,
    #[serde(default)]
    pub(crate) dedupe: Dedupe,
    pub(crate) subject: Option<String>,
    pub(crate) queue_group: Option<String>,
}

/// Through what messages come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    #[default]
    Jetstream,
    Core,
}

/// What identifies a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dedupe {
    #[default]
    Sequence,
    MessageId,
}

/// Who we are to the servers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    #[serde(rename = "type")]
    pub(crate) kind: AuthKind,
    pub(crate) user: Option<String>,
    pub(crate) secret: Option<SecretRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthKind {
    User,
    Token,
    Nkey,
    Credentials,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    from: From,
    time: Option<String>,
    sequence: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    All,
    New,
    Time,
    Sequence,
}

impl Connection {
    /// Reads a connection and says all that is wrong with it.
    pub(crate) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let read: Self = from_value(connection.clone()).map_err(|error| vec![error])?;
        let mut errors = Endpoint::parse_all(&read.servers, PORT, "/servers")
            .err()
            .unwrap_or_default();
        errors.extend(read.tls.iter().flat_map(Tls::validate).map(below_tls));
        errors.extend(read.auth.as_ref().and_then(Auth::lacks));
        read.mode_errors(&mut errors);
        if read.start.as_ref().is_some_and(|start| start.policy().is_none()) {
            let detail = "`time` needs a time such as 2026-01-01T00:00:00Z and `sequence` a number";
            errors.push(InputError::new("/start", "invalid", detail));
        }
        if !(1..=3600).contains(&read.ack_wait().as_secs()) {
            let detail = "the wait is between 1s and 1h";
            errors.push(InputError::new("/ack_wait", "out_of_range", detail));
        }
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    fn mode_errors(&self, errors: &mut Vec<InputError>) {
        let mut needs = |there: bool, pointer: &str, mode: &str| {
            if !there {
                let detail = format!("mode `{mode}` needs it");
                errors.push(InputError::new(pointer, "required", detail));
            }
        };
        match self.mode {
            Mode::Jetstream => {
                needs(self.stream.is_some(), "/stream", "jetstream");
                needs(self.consumer.is_some(), "/consumer", "jetstream");
            }
            Mode::Core => needs(self.subject.is_some(), "/subject", "core"),
        }
    }

    /// The servers, in the order in which they are tried.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        Endpoint::parse_all(&self.servers, PORT, "/servers").unwrap_or_default()
    }

    /// Where a new consumer begins.
    pub(crate) fn start(&self) -> DeliverPolicy {
        let policy = self.start.as_ref().and_then(Start::policy);
        policy.unwrap_or(DeliverPolicy::All)
    }

    pub(crate) fn ack_wait(&self) -> Duration {
        self.ack_wait.map_or(Duration::from_secs(60), |wait| wait.get())
    }
}

fn below_tls(error: InputError) -> InputError {
    InputError::new(format!("/tls{}", error.pointer), error.code, error.detail)
}

impl Auth {
    fn lacks(&self) -> Option<InputError> {
        if self.secret.is_none() {
            return Some(InputError::new("/auth/secret", "required", "credentials need it"));
        }
        let nameless = self.kind == AuthKind::User && self.user.is_none();
        nameless.then(|| InputError::new("/auth/user", "required", "a password needs its user"))
    }
}

impl Start {
    fn policy(&self) -> Option<DeliverPolicy> {
        match self.from {
            From::All => Some(DeliverPolicy::All),
            From::New => Some(DeliverPolicy::New),
            From::Time => {
                let time = DateTime::parse_from_rfc3339(self.time.as_deref()?).ok()?;
                from_time(time.to_utc())
            }
            From::Sequence => self
                .sequence
                .map(|start_sequence| DeliverPolicy::ByStartSequence { start_sequence }),
        }
    }
}

/// The first message at or after a time.
pub(crate) fn from_time(time: Timestamp) -> Option<DeliverPolicy> {
    let nanos = i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
    let start_time = async_nats::datetime::from_nanos(nanos).ok()?;
    Some(DeliverPolicy::ByStartTime { start_time })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{validate_connection, validate_feed};

    #[test]
    fn several_instances_of_a_plain_subject_need_a_queue_group() {
        let mut plain = json!({"servers": ["a.example"], "mode": "core", "subject": "a.>"});
        assert_eq!(validate_feed("nats", &plain, 1), []);
        let errors = validate_feed("nats", &plain, 2);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (errors[0].pointer.as_str(), errors[0].code.as_str()),
            ("/queue_group", "required")
        );
        plain["queue_group"] = json!("readers");
        assert_eq!(validate_feed("nats", &plain, 2), []);
        let stream = json!({"servers": ["a.example"], "stream": "S", "consumer": "c"});
        assert_eq!(validate_feed("nats", &stream, 2), []);
    }

    #[test]
    fn errors_point_at_their_field() {
        let good = json!({"servers": ["a.example"], "stream": "S", "consumer": "c"});
        assert_eq!(validate_connection("nats", &good), []);
        for (key, value, pointer) in [
            ("servers", json!(["a.example", "b:x"]), "/servers/1"),
            ("servers", json!([]), "/servers"),
            ("stream", json!("a.b"), "/stream"),
            ("mode", json!("core"), "/subject"),
            ("tls", json!({"ca": "no"}), "/tls/ca"),
            (
                "auth",
                json!({"type": "user", "secret": {"$secret": "p"}}),
                "/auth/user",
            ),
            ("auth", json!({"type": "token"}), "/auth/secret"),
            ("start", json!({"from": "time"}), "/start"),
            (
                "start",
                json!({"from": "time", "time": "2026-13-01T00:00:00Z"}),
                "/start",
            ),
            ("start", json!({"from": "sequence"}), "/start"),
            ("ack_wait", json!("2h"), "/ack_wait"),
        ] {
            let mut connection = good.clone();
            connection[key] = value;
            let errors = validate_connection("nats", &connection);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0].pointer, pointer);
        }
        let errors = validate_connection("nats", &json!({"servers": ["a"]}));
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/stream", "/consumer"]);
    }
}
