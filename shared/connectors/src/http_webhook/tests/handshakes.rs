//! Handshakes: answered when authentic, no way to have anything else signed.

use serde_json::json;

use super::{
    super::{
        HandshakeAnswer,
        config::Algorithm,
        hmac::{BASE64, mac},
    },
    *,
};
use base64::Engine;

fn sign(key: &str, text: &str) -> String {
    hex::encode(
        mac(
            Algorithm::Sha256,
            key.as_bytes(),
            std::iter::once(text.as_bytes()),
        )
        .unwrap()
        .as_bytes(),
    )
}

fn answered(answer: Result<Option<HandshakeAnswer>, Rejection>) -> String {
    answer.unwrap().unwrap().body
}

#[test]
fn slack_and_zoom_are_answered_only_when_signed() {
    let hmac = |name: &str| {
        compile(json!({"auth": {"type": "hmac", "preset": name, "secret": {"$secret": "signing"}}}))
    };
    let slack = br#"{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}"#;
    let zoom = br#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1,"event":"endpoint.url_validation"}"#;
    for (name, body, signature_header, time_header) in [
        (
            "slack",
            &slack[..],
            "x-slack-signature",
            "x-slack-request-timestamp",
        ),
        ("zoom", &zoom[..], "x-zm-signature", "x-zm-request-timestamp"),
    ] {
        let text = format!("v0:1000:{}", std::str::from_utf8(body).unwrap());
        let signature = format!("v0={}", sign("key", &text));
        let good = headers(&[(signature_header, &signature), (time_header, "1000")]);
        let answer = answered(hmac(name).handshake(&post(&good, body), &secret("key"), at(1000)));
        if name == "slack" {
            assert_eq!(answer, "3eZbrw1a");
        } else {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
            assert_eq!(answer["encryptedToken"], sign("key", "qgg8vlvZRS6UYooatFL8Aw"));
        }
        let other = hmac(name).handshake(&post(&good, body), &secret("other"), at(1000));
        assert_eq!(other, Err(Rejection::NotAuthentic));
        assert!(
            hmac(name)
                .handshake(&post(&HeaderMap::new(), body), &secret("key"), at(1000))
                .is_err()
        );
        let event = br#"{"type":"event_callback","event":"meeting.started"}"#;
        assert_eq!(
            hmac(name).handshake(&post(&good, event), &secret("key"), at(1000)),
            Ok(None)
        );
    }
}

#[test]
fn okta_is_answered_with_its_challenge() {
    let webhook =
        compile(json!({"auth": {"type": "api_key", "preset": "okta", "secret": {"$secret": "signing"}}}));
    let ask = |key: &str| {
        let headers = headers(&[("authorization", key), ("x-okta-verification-challenge", "abc")]);
        let request = Request {
            method: &Method::GET,
            ..post(&headers, b"")
        };
        webhook.handshake(&request, &secret("key"), at(0))
    };
    assert_eq!(answered(ask("key")), r#"{"verification":"abc"}"#);
    assert_eq!(ask("other"), Err(Rejection::NotAuthentic));
}

/// The answer to a CRC is a signature; it must be of no use for an event.
#[test]
fn a_crc_answer_signs_no_event() {
    let webhook = compile(
        json!({"handshake": "crc", "auth": {"type": "hmac", "secret": {"$secret": "signing"},
        "header": "x-sig", "encoding": "base64", "prefix": "sha256="}}),
    );
    let headers = HeaderMap::new();
    let ask = |query: &str| {
        let request = Request {
            method: &Method::GET,
            query: Some(query),
            ..post(&headers, b"")
        };
        webhook.handshake(&request, &secret("key"), at(0))
    };
    let answer: Value = serde_json::from_str(&answered(ask("nonce=1&crc_token=12345"))).unwrap();
    let tag = mac(Algorithm::Sha256, b"key", std::iter::once(&b"12345"[..])).unwrap();
    assert_eq!(
        answer["response_token"],
        format!("sha256={}", BASE64.encode(tag.as_bytes()))
    );
    let reused = [("x-sig", answer["response_token"].as_str().unwrap())];
    assert_eq!(
        verify(&webhook, &reused, b"12345", &secret("key"), 0),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(ask("crc_token=%7B%22id%22%3A1%7D"), Err(Rejection::NotAuthentic));
    assert_eq!(ask("crc_token="), Err(Rejection::NotAuthentic));
    assert_eq!(ask("other=1"), Ok(None));
}
