//! Configurations and hostile servers here; started brokers in [`broker`].

mod broker;
mod identity;
mod peer;

use std::time::Duration;

use halcyon_domain::{
    clock::SystemClock,
    test_run::{CheckResult, CheckStatus},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::Amqp;
use crate::{CheckContext, Connector, SecretValue, Secrets, compliance::loopback, validate_connection};

fn pointers(connection: &Value) -> Vec<(String, String)> {
    let errors = validate_connection("amqp", connection).into_iter();
    errors.map(|error| (error.pointer, error.code)).collect()
}

#[test]
fn what_is_wrong_is_said_at_its_field() {
    let certificate = halcyon_tests::authority::Authority::new().certificate;
    let good = json!({"host": "h", "queue": "q"});
    assert_eq!(pointers(&good), []);
    for (part, pointer, code) in [
        (
            json!({"auth": {"mechanism": "plain"}}),
            "/auth/username",
            "required",
        ),
        (
            json!({"auth": {"mechanism": "plain", "username": "u"}}),
            "/auth/password",
            "required",
        ),
        (
            json!({"auth": {"mechanism": "external"}}),
            "/tls/certificate",
            "required",
        ),
        (
            json!({"auth": {"mechanism": "external", "username": "u"},
                   "tls": {"certificate": certificate, "key": {"$secret": "k"}}}),
            "/auth/username",
            "unused",
        ),
        (
            json!({"auth": {"mechanism": "gssapi"}}),
            "/auth/mechanism",
            "unknown_value",
        ),
        (json!({"host": "amqp://h"}), "/host", "format"),
        (json!({"port": 0}), "/port", "out_of_range"),
        (json!({"queue": ""}), "/queue", "out_of_range"),
        (json!({"queue": "ü".repeat(200)}), "/queue", "out_of_range"),
        (json!({"prefetch": 0}), "/prefetch", "out_of_range"),
        (json!({"prefetch": 65_536}), "/prefetch", "out_of_range"),
        (json!({"heartbeat": 0}), "/heartbeat", "out_of_range"),
        (json!({"identity": "offset"}), "/identity", "unknown_value"),
        (
            json!({"bind": {"exchange": "e", "routing_keys": []}}),
            "/bind/routing_keys",
            "out_of_range",
        ),
        (
            json!({"bind": {"exchange": "e", "routing_keys": ["a", "ü".repeat(200)]}}),
            "/bind/routing_keys/1",
            "out_of_range",
        ),
        (json!({"tls": {"ca": "none"}}), "/tls/ca", "format"),
    ] {
        let mut connection = good.clone();
        connection
            .as_object_mut()
            .unwrap()
            .extend(part.as_object().unwrap().clone());
        let found = pointers(&connection);
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
    timeout(Duration::from_secs(5), Amqp.check(&context))
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

fn password(value: &str) -> Secrets {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new(value));
    secrets
}

#[tokio::test]
async fn servers_that_are_no_brokers_are_told_in_time() {
    let nonsense = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".repeat(100);
    // Says nothing; says nonsense; a frame that claims to be of 4 GiB; hangs up.
    let answers: [Option<Vec<u8>>; 4] = [
        None,
        Some(nonsense.into_bytes()),
        Some([1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 10, 0, 10].to_vec()),
        Some(Vec::new()),
    ];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = format!("{answer:?}").chars().take(40).collect::<String>();
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                match &answer {
                    None => kept.push(stream),
                    Some(answer) => {
                        let _ = stream.read(&mut [0; 8]).await;
                        let _ = stream.write_all(answer).await;
                        if !answer.is_empty() {
                            kept.push(stream);
                        }
                    }
                }
            }
        });
        let connection = json!({"host": "127.0.0.1", "port": port, "queue": "q"});
        assert_eq!(
            failure(&connection, &Secrets::none()).await,
            "authenticate",
            "{told}"
        );
        let encrypted = json!({"host": "127.0.0.1", "port": port, "queue": "q", "tls": {}});
        assert_eq!(failure(&encrypted, &Secrets::none()).await, "tls", "{told}");
        server.abort();
    }
}
