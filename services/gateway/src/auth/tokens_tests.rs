//! Every way in which a token can be wrong.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use halcyon_domain::clock::{ManualClock, SystemClock};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use serde_json::{Value, json};

use super::*;

/// An Ed25519 key of a fixed seed (RFC 8410, section 7: PKCS #8, version 1).
pub(crate) fn key(kid: &str, seed: u8) -> TokenKey {
    let mut private_der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    private_der.extend([seed; 32]);
    let encoding = EncodingKey::from_ed_der(&private_der);
    let jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).unwrap();
    let AlgorithmParameters::OctetKeyPair(parameters) = jwk.algorithm else {
        panic!("an Ed25519 key is an octet key pair");
    };
    TokenKey {
        kid: kid.to_owned(),
        public: parameters.x,
        private_der,
    }
}

fn tokens() -> (Tokens, ManualClock) {
    let clock = ManualClock::at(SystemClock.now());
    let tokens = Tokens::new(TokenSettings::default(), Arc::new(clock.clone()));
    tokens.set_keys(&[key("one", 1)]).unwrap();
    (tokens, clock)
}

fn good(clock: &ManualClock) -> Value {
    let now = clock.now().timestamp();
    json!({
        "iss": "halcyon", "aud": "halcyon-api", "sub": UserId::generate(), "org": OrganizationId::generate(),
        "iat": now, "nbf": now, "exp": now + 60, "jti": "x",
    })
}

fn signed(header: &Header, claims: &Value, with: &TokenKey) -> String {
    encode(header, claims, &EncodingKey::from_ed_der(&with.private_der)).unwrap()
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("one".to_owned());
    header
}

#[test]
fn an_issued_token_holds() {
    let (tokens, _clock) = tokens();
    let (user, organization) = (UserId::generate(), OrganizationId::generate());
    let issued = tokens.issue(user, organization).unwrap();
    let claims = tokens.verify(&issued.token).unwrap();
    assert_eq!((claims.sub, claims.org), (user, organization));
}

#[test]
fn every_claim_is_needed_and_checked() {
    let (tokens, clock) = tokens();
    let key = key("one", 1);
    assert!(tokens.verify(&signed(&header(), &good(&clock), &key)).is_ok());
    for claim in ["iss", "aud", "sub", "org", "iat", "nbf", "exp"] {
        let mut claims = good(&clock);
        claims.as_object_mut().unwrap().remove(claim);
        assert!(
            tokens.verify(&signed(&header(), &claims, &key)).is_err(),
            "without {claim}"
        );
    }
    let now = clock.now().timestamp();
    let wrong = [
        ("iss", json!("somebody")),
        ("iss", json!(["halcyon"])),
        ("aud", json!("another-api")),
        ("aud", json!(["halcyon-api", "another-api"])),
        ("sub", json!("root")),
        ("sub", json!("00000000-0000-0000-0000-000000000000")),
        ("org", json!("00000000-0000-0000-0000-000000000000")),
        ("exp", json!(now - 6)),
        ("exp", json!(now - 30)),
        ("exp", json!(now + 13 * 3600)),
        ("exp", json!("never")),
        ("nbf", json!(now + 30)),
        ("iat", json!(now + 30)),
        ("iat", json!(now - 13 * 3600)),
    ];
    for (claim, value) in wrong {
        let mut claims = good(&clock);
        claims[claim] = value.clone();
        assert!(
            tokens.verify(&signed(&header(), &claims, &key)).is_err(),
            "{claim} = {value}"
        );
    }
}

#[test]
fn the_algorithm_and_the_key_are_pinned() {
    let (tokens, clock) = tokens();
    let claims = good(&clock);
    let mut nameless = header();
    nameless.kid = None;
    assert!(
        tokens
            .verify(&signed(&nameless, &claims, &key("one", 1)))
            .is_err()
    );
    let mut other = header();
    other.kid = Some("two".to_owned());
    let error = tokens
        .verify(&signed(&other, &claims, &key("one", 1)))
        .unwrap_err();
    assert!(matches!(error, TokenError::UnknownKey(kid) if kid == "two"));
    assert!(
        tokens
            .verify(&signed(&header(), &claims, &key("one", 2)))
            .is_err(),
        "another's signature"
    );

    // The public key used as an HMAC secret, and no signature at all.
    let public = BASE64.decode(key("one", 1).public).unwrap();
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some("one".to_owned());
    let forged = encode(&hmac, &claims, &EncodingKey::from_secret(&public)).unwrap();
    assert!(tokens.verify(&forged).is_err());
    let part = |value: &Value| BASE64.encode(value.to_string());
    let none = format!(
        "{}.{}.",
        part(&json!({"alg": "none", "kid": "one"})),
        part(&claims)
    );
    assert!(tokens.verify(&none).is_err());
}

#[test]
fn a_changed_token_is_refused() {
    let (tokens, clock) = tokens();
    let token = signed(&header(), &good(&clock), &key("one", 1));
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims = good(&clock);
    claims["sub"] = json!(UserId::generate());
    let forged = format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2]);
    assert!(tokens.verify(&forged).is_err());
    for broken in ["", ".", "..", "a.b.c", parts[0], &token[..token.len() - 2]] {
        assert!(tokens.verify(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_token_ends_by_our_clock() {
    let (tokens, clock) = tokens();
    let token = tokens
        .issue(UserId::generate(), OrganizationId::generate())
        .unwrap()
        .token;
    clock.advance(TimeDelta::hours(12) + TimeDelta::seconds(4));
    assert!(tokens.verify(&token).is_ok(), "within the leeway");
    clock.advance(TimeDelta::seconds(2));
    assert!(tokens.verify(&token).is_err());
}

#[test]
fn an_old_key_verifies_while_it_is_listed() {
    let (tokens, _clock) = tokens();
    let token = tokens
        .issue(UserId::generate(), OrganizationId::generate())
        .unwrap()
        .token;
    tokens.set_keys(&[key("two", 2), key("one", 1)]).unwrap();
    assert!(tokens.verify(&token).is_ok());
    let newer = tokens
        .issue(UserId::generate(), OrganizationId::generate())
        .unwrap()
        .token;
    assert_eq!(decode_header(&newer).unwrap().kid.as_deref(), Some("two"));
    tokens.set_keys(&[key("two", 2)]).unwrap();
    assert!(tokens.verify(&token).is_err());
}

#[test]
fn nothing_works_without_keys_or_with_mismatched_ones() {
    let tokens = Tokens::new(TokenSettings::default(), Arc::new(SystemClock));
    assert!(!tokens.is_ready());
    assert!(matches!(
        tokens.issue(UserId::generate(), OrganizationId::generate()),
        Err(TokenError::NoKeys)
    ));
    assert!(matches!(tokens.verify("a.b.c"), Err(TokenError::NoKeys)));
    let mut mixed = key("one", 1);
    mixed.public = key("one", 2).public;
    assert!(tokens.set_keys(&[mixed]).is_err());
    assert!(!tokens.is_ready());
}
