//! Connections: what is wrong is said at its field, and nothing is ignored. Plus the simple kinds of auth.

use serde_json::json;

use super::*;

fn wrong(connection: Value) -> Vec<(String, String)> {
    let errors = CompiledWebhook::compile(&connection).unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

#[test]
fn an_error_is_at_its_field() {
    let s = json!({"$secret": "s"});
    for (connection, pointer, code) in [
        (json!({}), "/auth", "required"),
        (json!({"auth": {}}), "/auth/type", "required"),
        (json!({"auth": {"type": "magic"}}), "/auth/type", "unknown_value"),
        (json!({"auth": {"type": "bearer"}}), "/auth/secret", "required"),
        (
            json!({"auth": {"type": "bearer", "secret": "plain"}}),
            "/auth/secret",
            "type",
        ),
        (
            json!({"auth": {"type": "bearer", "secret": s, "header": "x"}}),
            "/auth/header",
            "conflict",
        ),
        (
            json!({"auth": {"type": "none", "secret": s}}),
            "/auth/secret",
            "conflict",
        ),
        (
            json!({"auth": {"type": "basic", "secret": s}}),
            "/auth/username",
            "required",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s}}),
            "/auth/header",
            "required",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "preset": "okta"}}),
            "/auth/preset",
            "conflict",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "header": "a b"}}),
            "/auth/header",
            "format",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "preset": "slack", "tolerance": "soon"}}),
            "/auth/tolerance",
            "format",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "preset": "slack", "tolerance": "2days"}}),
            "/auth/tolerance",
            "out_of_range",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "preset": "github", "tolerance": "5m"}}),
            "/auth/tolerance",
            "conflict",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "header": "x", "signing_string": "{timestamp}"}}),
            "/auth/signing_string",
            "invalid",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "header": "x", "signing_string": "{timestamp}.{body}"}}),
            "/auth/timestamp_header",
            "required",
        ),
        (
            json!({"auth": {"type": "hmac", "secret": s, "header": "x", "timestamp_header": "y"}}),
            "/auth/signing_string",
            "unsigned_timestamp",
        ),
        (
            json!({"auth": {"type": "none"}, "color": 1}),
            "/color",
            "unknown_field",
        ),
        (
            json!({"auth": {"type": "none"}, "max_body": 0}),
            "/max_body",
            "out_of_range",
        ),
        (
            json!({"auth": {"type": "none"}, "allowed_ips": ["10.0.0.1", "nowhere"]}),
            "/allowed_ips/1",
            "format",
        ),
        (
            json!({"auth": {"type": "none"}, "rate_limit": {"burst": 1}}),
            "/rate_limit/requests_per_second",
            "required",
        ),
        (
            json!({"auth": {"type": "none"}, "handshake": "crc"}),
            "/handshake",
            "conflict",
        ),
        (
            json!({"auth": {"type": "none"}, "dedupe": {"path": "a..b"}}),
            "/dedupe/path",
            "format",
        ),
    ] {
        assert_eq!(
            wrong(connection.clone()),
            [(pointer.to_owned(), code.to_owned())],
            "{connection}"
        );
    }
}

#[test]
fn an_error_does_not_repeat_a_secret() {
    for connection in [
        json!({"auth": {"type": "bearer", "secret": "canary-value"}}),
        json!({"auth": {"type": "bearer", "secret": {"$secret": "canary-value !"}}}),
        json!({"auth": {"type": "canary-value"}}),
        json!({"auth": "canary-value"}),
    ] {
        let errors = format!("{:?}", CompiledWebhook::compile(&connection).unwrap_err());
        assert!(!errors.contains("canary"), "{errors}");
    }
}

#[test]
fn bearer_key_and_password() {
    let auth = |auth: Value| compile(json!({"auth": auth}));
    let key = secret("s3cret");
    let bearer = auth(json!({"type": "bearer", "secret": {"$secret": "signing"}}));
    let with =
        |webhook: &CompiledWebhook, name: &str, value: &str| verify(webhook, &[(name, value)], b"", &key, 0);
    assert_eq!(with(&bearer, "authorization", "Bearer s3cret"), Ok(()));
    assert_eq!(with(&bearer, "authorization", "bearer s3cret"), Ok(()));
    for value in [
        "Bearer s3cre",
        "Bearer s3cret1",
        "Bearer ",
        "s3cret",
        "Basic s3cret",
    ] {
        assert_eq!(
            with(&bearer, "authorization", value),
            Err(Rejection::NotAuthentic),
            "{value}"
        );
    }
    let api_key = auth(json!({"type": "api_key", "secret": {"$secret": "signing"}}));
    assert_eq!(with(&api_key, "x-api-key", "s3cret"), Ok(()));
    assert_eq!(with(&api_key, "x-api-key", "other"), Err(Rejection::NotAuthentic));
    // RFC 7617: base64("alice:s3cret") and base64("bob:s3cret").
    let basic = auth(json!({"type": "basic", "username": "alice", "secret": {"$secret": "signing"}}));
    assert_eq!(with(&basic, "authorization", "Basic YWxpY2U6czNjcmV0"), Ok(()));
    assert_eq!(
        with(&basic, "authorization", "Basic Ym9iOnMzY3JldA=="),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(
        with(&basic, "authorization", "Basic !"),
        Err(Rejection::NotAuthentic)
    );
}

#[test]
fn without_a_secret_nothing_is_accepted() {
    for auth in [
        json!({"type": "bearer", "secret": {"$secret": "signing"}}),
        json!({"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}),
    ] {
        let webhook = compile(json!({"auth": auth}));
        let pairs = [("authorization", "Bearer "), ("x-hub-signature-256", "sha256=00")];
        let unavailable = Err(Rejection::SecretUnavailable {
            name: "signing".to_owned(),
        });
        assert_eq!(verify(&webhook, &pairs, b"", &Secrets::none(), 0), unavailable);
        assert_eq!(verify(&webhook, &pairs, b"", &secret(""), 0), unavailable);
    }
}

#[test]
fn only_allowed_addresses_may_send() {
    let webhook = compile(json!({"auth": {"type": "none"}, "allowed_ips": ["192.0.2.0/24"]}));
    let headers = HeaderMap::new();
    let from = |ip: Option<&str>| {
        let request = Request {
            remote_ip: ip.map(|ip| ip.parse().unwrap()),
            ..post(&headers, b"{}")
        };
        webhook.verify(&request, &Secrets::none(), at(0))
    };
    assert_eq!(from(Some("192.0.2.9")), Ok(()));
    assert_eq!(from(Some("192.0.3.9")), Err(Rejection::Address));
    assert_eq!(from(None), Err(Rejection::Address));
}
