//! Connections without another side.

use halcyon_egress::{Guard, Policy};
use serde_json::{Value, json};

use crate::{
    SecretValue, Secrets,
    s3::{config::Connection, open::open},
    validate_connection,
};

fn errors(connection: &Value) -> Vec<(String, String)> {
    let found = validate_connection("s3", connection);
    found
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

#[test]
fn errors_are_at_their_fields() {
    let format = json!({"type": "ndjson"});
    for (connection, expected) in [
        (
            json!({"format": format}),
            vec![("/bucket", "required"), ("/auth", "required")],
        ),
        (
            json!({"provider": "local", "bucket": "b", "format": format}),
            vec![("/folder", "required"), ("/bucket", "unsupported")],
        ),
        (
            json!({"provider": "azure", "bucket": "b", "auth": {"type": "access_key"}, "format": format}),
            vec![
                ("/account", "required"),
                ("/auth/type", "unsupported"),
                ("/auth/access_key_id", "required"),
                ("/auth/secret_access_key", "required"),
            ],
        ),
        (
            json!({"bucket": "b", "auth": {"type": "anonymous"}, "format": {"type": "csv", "records": "a[]", "delimiter": "ab"},
                "files": {"glob": "{a", "min_age_seconds": 4000, "date_pattern": "{year}-{month}-{month}"}}),
            vec![
                ("/files/glob", "format"),
                ("/files/min_age_seconds", "out_of_range"),
                ("/files/date_pattern", "format"),
                ("/format/records", "unsupported"),
                ("/format/delimiter", "format"),
            ],
        ),
        (
            json!({"bucket": "b", "endpoint": "ftp://x", "prefix": "/a", "auth": {"type": "anonymous"}, "format": {"type": "json", "records": "a[0]"}}),
            vec![
                ("/endpoint", "format"),
                ("/format/records", "format"),
                ("/prefix", "format"),
            ],
        ),
    ] {
        let found = errors(&connection);
        let found: Vec<_> = found
            .iter()
            .map(|(pointer, code)| (pointer.as_str(), code.as_str()))
            .collect();
        assert_eq!(found, expected, "{connection}");
    }
}

#[test]
fn requests_go_where_the_provider_is() {
    for (connection, endpoint) in [
        (
            json!({"region": "eu-west-1"}),
            "https://b.s3.eu-west-1.amazonaws.com",
        ),
        (json!({"path_style": true}), "https://s3.us-east-1.amazonaws.com"),
        (json!({"endpoint": "http://minio:9000/"}), "http://minio:9000"),
        (
            json!({"endpoint": "https://oss.example.com", "path_style": false}),
            "https://b.oss.example.com",
        ),
        (json!({"provider": "gcs"}), "https://storage.googleapis.com"),
        (
            json!({"provider": "azure", "account": "acme1"}),
            "https://acme1.blob.core.windows.net",
        ),
    ] {
        let mut whole = connection.clone();
        whole["bucket"] = json!("b");
        whole["auth"] = json!({"type": "anonymous"});
        whole["format"] = json!({"type": "json"});
        assert_eq!(errors(&whole), []);
        let read = Connection::read(&whole).unwrap();
        assert_eq!(read.endpoint(), endpoint, "{connection}");
        assert!(open(&read, &Secrets::none(), &Guard::new(Policy::default()), 0).is_ok());
    }
}

#[test]
fn a_key_that_is_none_is_said_by_its_name() {
    let mut secrets = Secrets::none();
    secrets.insert("key", SecretValue::new("canary"));
    for (provider, kind, more) in [
        ("gcs", "service_account", json!({})),
        ("azure", "account_key", json!({"account": "acme1"})),
    ] {
        let mut connection = json!({
            "provider": provider,
            "bucket": "b",
            "auth": {"type": kind, "key": {"$secret": "key"}},
            "format": {"type": "json"}
        });
        for (name, value) in more.as_object().unwrap() {
            connection[name] = value.clone();
        }
        let read = Connection::read(&connection).unwrap();
        let Err(error) = open(&read, &secrets, &Guard::new(Policy::default()), 0) else {
            panic!("{provider} takes any key");
        };
        assert_eq!(error.to_string(), "secret `key` is not available");
    }
}
