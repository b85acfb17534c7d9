//! Configurations, packets and hostile servers here; a started broker in [`broker`].

mod broker;
mod hostile;
mod options;
mod packets;
mod peer;

use std::time::Duration;

use halcyon_domain::{
    clock::SystemClock,
    test_run::{CheckResult, CheckStatus},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Mqtt;
use crate::{CheckContext, Connector, SecretValue, Secrets, compliance::loopback, validate_connection};

#[test]
fn what_is_wrong_is_said_at_its_field() {
    let good = json!({"host": "h", "client_id": "c", "topics": ["a/+/b", "#", "+", "$SYS/#", "a//b"]});
    assert_eq!(validate_connection("mqtt", &good), []);
    for (part, pointer, code) in [
        (json!({"topics": []}), "/topics", "out_of_range"),
        (json!({"topics": ["a", ""]}), "/topics/1", "out_of_range"),
        (json!({"topics": ["a/#/b"]}), "/topics/0", "format"),
        (json!({"topics": ["a", "a#"]}), "/topics/1", "format"),
        (json!({"topics": ["a+/b"]}), "/topics/0", "format"),
        (json!({"topics": ["a\u{0}"]}), "/topics/0", "format"),
        (json!({"topics": ["$share/g/a"]}), "/topics/0", "format"),
        (json!({"topics": ["a", "a"]}), "/topics", "invalid"),
        (json!({"group": "a/b"}), "/group", "format"),
        (json!({"client_id": ""}), "/client_id", "format"),
        (json!({"client_id": "a b"}), "/client_id", "format"),
        (json!({"qos": 3}), "/qos", "out_of_range"),
        (json!({"version": "3.1"}), "/version", "unknown_value"),
        (json!({"in_flight": 0}), "/in_flight", "out_of_range"),
        (json!({"session_expiry": 1}), "/session_expiry", "out_of_range"),
        (json!({"auth": {}}), "/auth/username", "required"),
        (json!({"tls": {"ca": "none"}}), "/tls/ca", "format"),
    ] {
        let mut connection = good.clone();
        connection
            .as_object_mut()
            .unwrap()
            .extend(part.as_object().unwrap().clone());
        let found: Vec<_> = validate_connection("mqtt", &connection)
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect();
        assert!(
            found.contains(&(pointer.to_owned(), code.to_owned())),
            "{connection}: {found:?}"
        );
    }
}

async fn check(connection: &Value, secrets: &Secrets) -> Vec<CheckResult> {
    let context = CheckContext {
        connection,
        secrets,
        clock: &SystemClock,
        guard: &loopback(),
    };
    timeout(Duration::from_secs(5), Mqtt.check(&context))
        .await
        .expect("a check ends within 5 s")
}

/// The check that failed, which must be the only one.
async fn failure(connection: &Value, secrets: &Secrets) -> String {
    let results = check(connection, secrets).await;
    let mut failed = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed);
    let first = failed.next().map(|result| result.name.clone());
    assert!(failed.next().is_none(), "{results:?}");
    first.unwrap_or_else(|| panic!("nothing failed: {results:?}"))
}

fn secret(name: &str, value: &str) -> Secrets {
    let mut secrets = Secrets::none();
    secrets.insert(name, SecretValue::new(value));
    secrets
}

/// The same connection with another value at a pointer.
fn but(connection: &Value, pointer: &str, value: Value) -> Value {
    let mut connection = connection.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    connection.pointer_mut(parent).unwrap()[name] = value;
    connection
}
