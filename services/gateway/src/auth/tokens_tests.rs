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
        private_der: Some(private_der),
        signs_from: Timestamp::default(),
    }
}

fn tokens() -> (Tokens, ManualClock) {
    let clock = ManualClock::at(SystemClock.now());
    let tokens = Tokens::new(TokenSettings::default(), Arc::new(clock.clone()));
    tokens.set_keys(&[key("one", 1)]).unwrap();
    (tokens, clock)
}

fn holder() -> Holder {
    Holder {
        user: UserId::generate(),
        organization: OrganizationId::generate(),
        session: SessionId::generate(),
        until: Timestamp::MAX_UTC,
    }
}

fn good(clock: &ManualClock) -> Value {
    let now = clock.now().timestamp();
    json!({
        "iss": "halcyon", "aud": "halcyon-api", "sub": UserId::generate(), "org": OrganizationId::generate(),
        "sid": SessionId::generate(),
        "iat": now, "nbf": now, "exp": now + 60, "jti": "x",
    })
}

fn signed(header: &Header, claims: &Value, with: &TokenKey) -> String {
    encode(
        header,
        claims,
        &EncodingKey::from_ed_der(with.private_der.as_ref().unwrap()),
    )
    .unwrap()
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("one".to_owned());
    header
}

#[test]
fn an_issued_token_holds() {
    let (tokens, _clock) = tokens();
    let holder = holder();
    let issued = tokens.issue(&holder).unwrap();
    let claims = tokens.verify(&issued.token).unwrap();
    assert_eq!(
        (claims.sub, claims.org, claims.sid),
        (holder.user, holder.organization, holder.session)
    );
    assert_eq!(claims.expires_at(), issued.expires_at);
}

#[test]
fn every_claim_is_needed_and_checked() {
    let (tokens, clock) = tokens();
    let key = key("one", 1);
    assert!(tokens.verify(&signed(&header(), &good(&clock), &key)).is_ok());
    for claim in ["iss", "aud", "sub", "org", "sid", "iat", "nbf", "exp"] {
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
        ("sid", json!("00000000-0000-0000-0000-000000000000")),
        ("exp", json!(now - 6)),
        ("exp", json!(now - 30)),
        ("exp", json!(now + 16 * 60)),
        ("exp", json!("never")),
        ("nbf", json!(now + 30)),
        ("iat", json!(now + 30)),
        ("iat", json!(now - 16 * 60)),
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
    let token = tokens.issue(&holder()).unwrap().token;
    clock.advance(TimeDelta::minutes(15) + TimeDelta::seconds(4));
    assert!(tokens.verify(&token).is_ok(), "within the leeway");
    clock.advance(TimeDelta::seconds(2));
    assert!(tokens.verify(&token).is_err());
}

#[test]
fn a_token_ends_with_its_session() {
    let (tokens, clock) = tokens();
    let until = clock.now() + TimeDelta::minutes(5);
    let issued = tokens.issue(&Holder { until, ..holder() }).unwrap();
    assert_eq!(issued.expires_at.timestamp(), until.timestamp());
}

#[test]
fn a_new_key_signs_from_its_time_on_and_an_old_one_verifies_while_it_is_listed() {
    let (tokens, clock) = tokens();
    let token = tokens.issue(&holder()).unwrap().token;
    let from = clock.now() + TimeDelta::seconds(30);
    let two = || TokenKey {
        signs_from: from,
        ..key("two", 2)
    };
    let kid = || {
        let token = tokens.issue(&holder()).unwrap().token;
        decode_header(&token).unwrap().kid.unwrap()
    };
    tokens.set_keys(&[two(), key("one", 1)]).unwrap();
    assert_eq!(kid(), "one", "the new key is announced");
    assert_eq!(tokens.published().keys.len(), 2);
    clock.advance(TimeDelta::seconds(30));
    assert_eq!(kid(), "two", "its time has come, with nothing heard meanwhile");
    assert!(tokens.verify(&token).is_ok());
    let retired = TokenKey {
        private_der: None,
        ..key("one", 1)
    };
    tokens.set_keys(&[two(), retired]).unwrap();
    assert!(tokens.verify(&token).is_ok());
    tokens.set_keys(&[two()]).unwrap();
    assert!(tokens.verify(&token).is_err());
}

#[test]
fn nothing_works_without_keys_or_with_mismatched_ones() {
    let tokens = Tokens::new(TokenSettings::default(), Arc::new(SystemClock));
    assert!(!tokens.is_ready());
    assert!(matches!(tokens.issue(&holder()), Err(TokenError::NoKeys)));
    assert!(matches!(tokens.verify("a.b.c"), Err(TokenError::NoKeys)));
    let mut mixed = key("one", 1);
    mixed.public = key("one", 2).public;
    assert!(tokens.set_keys(&[mixed]).is_err());
    assert!(!tokens.is_ready());
}
