//! Each way of proving who asks.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use chrono::TimeDelta;
use halcyon_domain::clock::ManualClock;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use super::{Asked, Reply, Server, context, rows, run};
use crate::{Error, SecretValue, Secrets, SourceContext};

/// Runs once, and gives what was asked first.
async fn asked_with(auth: Value) -> Asked {
    let server = Server::start(|_| Reply::json(&json!(rows(0..1)))).await;
    let connection = json!({
        "url": server.url("/"), "auth": auth, "secret_headers": {"X-Second": {"$secret": "other"}},
    });
    run(context(connection, None)).await.unwrap();
    server.heard().remove(0)
}

#[tokio::test]
async fn credentials_that_are_at_hand() {
    let secret = json!({"$secret": "token"});
    let none = asked_with(json!({"type": "none"})).await;
    assert_eq!(
        (none.header("authorization"), none.header("x-second")),
        ("", "canary-other")
    );
    let basic = asked_with(json!({"type": "basic", "username": "me", "secret": secret})).await;
    assert_eq!(basic.header("authorization"), "Basic bWU6Y2FuYXJ5LXRva2Vu");
    let bearer = asked_with(json!({"type": "bearer", "secret": secret})).await;
    assert_eq!(bearer.header("authorization"), "Bearer canary-token");
    let okta = asked_with(json!({"type": "bearer", "scheme": "SSWS", "secret": secret})).await;
    assert_eq!(okta.header("authorization"), "SSWS canary-token");
    let key = json!({"type": "api_key", "name": "X-Key", "prefix": "k=", "secret": secret});
    assert_eq!(asked_with(key).await.header("x-key"), "k=canary-token");
    let query = json!({"type": "api_key", "name": "key", "in": "query", "secret": secret});
    assert_eq!(asked_with(query).await.query("key"), Some("canary-token"));
}

#[tokio::test]
async fn a_key_in_the_query_does_not_come_back_in_checkpoints() {
    // The server's next address repeats the whole query; `run` looks for secrets in every checkpoint.
    let server = Server::start(|asked| {
        assert_eq!(asked.query("key"), Some("canary-token"));
        let next = (asked.query("p").is_none()).then_some("/?key=canary-token&p=2");
        Reply::json(&json!({"list": rows(if next.is_some() { 0..1 } else { 1..2 }), "next": next}))
    })
    .await;
    let connection = json!({
        "url": server.url("/"), "records": "list", "pagination": {"type": "next_url", "next": "next"},
        "auth": {"type": "api_key", "name": "key", "in": "query", "secret": {"$secret": "token"}},
    });
    let (records, _) = run(context(connection, None)).await.unwrap();
    assert_eq!(records.len(), 2);
}

/// A token endpoint: tokens count up, live an hour, and can be taken back.
#[derive(Default)]
struct Endpoint {
    given: AtomicU64,
    taken_back: AtomicU64,
    /// The refresh token that is good, where they are replaced.
    refresh: Mutex<String>,
}

impl Endpoint {
    fn answer(&self, asked: &Asked) -> Reply {
        if asked.path != "/token" {
            let number = asked
                .header("authorization")
                .strip_prefix("Bearer t")
                .and_then(|n| n.parse().ok());
            let good = number.is_some_and(|number: u64| {
                number <= self.given.load(Ordering::SeqCst) && number > self.taken_back.load(Ordering::SeqCst)
            });
            return if good {
                Reply::json(&json!(rows(0..1)))
            } else {
                Reply::text(401, "")
            };
        }
        let form = asked.form();
        let mut answer = json!({"token_type": "Bearer", "expires_in": 3600});
        if form["grant_type"] == "refresh_token" {
            let mut refresh = self.refresh.lock().unwrap();
            if form["refresh_token"] != *refresh {
                return Reply::text(
                    400,
                    "{\"error\": \"invalid_grant\", \"error_description\": \"canary\"}",
                );
            }
            refresh.push('+');
            answer["refresh_token"] = json!(*refresh);
        }
        let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        answer["access_token"] = format!("t{number}").into();
        Reply::json(&answer)
    }
}

async fn endpoint() -> (Arc<Endpoint>, Server) {
    let endpoint = Arc::new(Endpoint::default());
    "canary-token".clone_into(&mut endpoint.refresh.lock().unwrap());
    let answers = endpoint.clone();
    (endpoint, Server::start(move |asked| answers.answer(asked)).await)
}

#[tokio::test]
async fn a_token_is_kept_renewed_before_its_end_and_once_when_refused() {
    let (endpoint, server) = endpoint().await;
    let clock = ManualClock::at(chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let connection = json!({"url": server.url("/rows"), "auth": {
        "type": "oauth2", "token_url": server.url("/token"), "client_id": "a:b", "secret": {"$secret": "token"},
        "scope": "read", "parameters": {"audience": "x", "scope": "read all"},
    }});
    let context = || SourceContext {
        clock: Arc::new(clock.clone()),
        ..context(connection.clone(), None)
    };
    for _ in 0..3 {
        run(context()).await.unwrap();
    }
    assert_eq!(server.count("/token"), 1, "runs share a token");
    let asked = server.heard().remove(0);
    // Both halves are form-encoded: `a%3Ab:canary-token`.
    assert_eq!(asked.header("authorization"), "Basic YSUzQWI6Y2FuYXJ5LXRva2Vu");
    let form = asked.form();
    assert_eq!(
        (&*form["grant_type"], &*form["scope"], &*form["audience"]),
        ("client_credentials", "read all", "x")
    );
    clock.advance(TimeDelta::seconds(3_545));
    run(context()).await.unwrap();
    assert_eq!(server.count("/token"), 2, "before its end");
    endpoint.taken_back.store(2, Ordering::SeqCst);
    run(context()).await.unwrap();
    assert_eq!(server.count("/token"), 3, "when it is refused");
    endpoint.taken_back.store(1_000, Ordering::SeqCst);
    let error = run(context()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(server.count("/token"), 4, "once");
}

#[tokio::test]
async fn a_replaced_refresh_token_is_used_and_kept_out_of_checkpoints() {
    let (endpoint, server) = endpoint().await;
    let connection = json!({"url": server.url("/rows"), "auth": {
        "type": "oauth2", "grant": "refresh_token", "token_url": server.url("/token"), "client_id": "c",
        "refresh_token": {"$secret": "token"},
    }});
    for round in 1..4 {
        // `run` looks for secrets in every checkpoint.
        run(context(connection.clone(), None)).await.unwrap();
        endpoint.taken_back.store(round, Ordering::SeqCst);
    }
    assert_eq!(*endpoint.refresh.lock().unwrap(), "canary-token+++");
    assert_eq!(server.heard()[0].form()["client_id"], "c");
    "another".clone_into(&mut endpoint.refresh.lock().unwrap());
    let error = run(context(connection, None)).await.unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, Error::Refused { .. }) && !said.contains("canary"),
        "{said}"
    );
    assert!(said.contains("invalid_grant"), "{said}");
}

fn with_key(connection: &Value, key: &str) -> SourceContext {
    let mut secrets = Secrets::none();
    secrets.insert("token", SecretValue::new(key));
    secrets.insert("other", SecretValue::new("x"));
    SourceContext {
        secrets,
        ..context(connection.clone(), None)
    }
}

#[tokio::test]
async fn assertions_are_signed() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let secret = "a shared secret of some length ..";
    for (name, algorithm, private, public) in [
        (
            "RS256",
            Algorithm::RS256,
            rsa.serialize_pem(),
            DecodingKey::from_rsa_pem(rsa.public_key_pem().as_bytes()).unwrap(),
        ),
        (
            "ES256",
            Algorithm::ES256,
            ec.serialize_pem(),
            DecodingKey::from_ec_pem(ec.public_key_pem().as_bytes()).unwrap(),
        ),
        (
            "HS256",
            Algorithm::HS256,
            secret.to_owned(),
            DecodingKey::from_secret(secret.as_bytes()),
        ),
    ] {
        let (_, server) = endpoint().await;
        let auth = json!({
            "type": "jwt", "algorithm": name, "secret": {"$secret": "token"}, "key_id": "k1", "issuer": "me",
            "subject": "you", "claims": {"scope": "read"}, "lifetime": 600,
        });
        let mut connection = json!({"url": server.url("/rows"), "auth": auth});
        let mut checked = Validation::new(algorithm);
        checked.set_issuer(&["me"]);
        let claims_of = |token: &str, audience: Option<&str>| {
            let mut checked = checked.clone();
            match audience {
                Some(audience) => checked.set_audience(&[audience]),
                None => checked.validate_aud = false,
            }
            let read = decode::<Value>(token, &public, &checked).unwrap();
            assert_eq!(read.header.kid.as_deref(), Some("k1"));
            assert_eq!(
                (&read.claims["sub"], &read.claims["scope"]),
                (&json!("you"), &json!("read"))
            );
            let (issued, end) = (
                read.claims["iat"].as_i64().unwrap(),
                read.claims["exp"].as_i64().unwrap(),
            );
            assert_eq!(end - issued, 600);
        };
        // As the token itself; the server does not know it, which does not matter here.
        let _ = run(with_key(&connection, &private)).await;
        let asked = server.heard().remove(0);
        claims_of(
            asked.header("authorization").strip_prefix("Bearer ").unwrap(),
            None,
        );
        // In exchange for a token, and for the client's secret.
        let token_url = server.url("/token");
        connection["auth"]["token_url"] = token_url.clone().into();
        for (grant, field) in [
            ("jwt_bearer", "assertion"),
            ("client_credentials", "client_assertion"),
        ] {
            connection["auth"]["grant"] = grant.into();
            run(with_key(&connection, &private)).await.unwrap();
            let mut tokens = server.heard().into_iter().filter(|asked| asked.path == "/token");
            claims_of(&tokens.next_back().unwrap().form()[field], Some(&token_url));
        }
        let error = run(with_key(&connection, "no key")).await;
        match (name, error) {
            ("HS256", outcome) => assert!(outcome.is_ok()),
            (_, outcome) => assert!(matches!(outcome, Err(Error::Secret { .. })), "{outcome:?}"),
        }
    }
}
