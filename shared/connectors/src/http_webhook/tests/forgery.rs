//! Forgers: random and nearly right requests are never accepted without a valid code, and nothing panics.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{
    super::{
        config::Algorithm,
        hmac::{BASE64, mac},
        presets::PRESETS,
    },
    *,
};
use base64::Engine;

const NOW: i64 = 1_700_000_000;
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HEADERS: [&str; 12] = [
    "x-hub-signature-256",
    "stripe-signature",
    "x-slack-signature",
    "webhook-signature",
    "x-shopify-hmac-sha256",
    "x-zm-signature",
    "x-pagerduty-signature",
    "authorization",
    "x-slack-request-timestamp",
    "webhook-timestamp",
    "x-zm-request-timestamp",
    "webhook-id",
];

/// Requests for each preset; a long run asks for more by `HALCYON_FORGERY_CASES`.
fn cases() -> u32 {
    std::env::var("HALCYON_FORGERY_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4000)
}

fn all() -> &'static [CompiledWebhook] {
    static ALL: std::sync::LazyLock<Vec<CompiledWebhook>> = std::sync::LazyLock::new(compile_all);
    &ALL
}

fn compile_all() -> Vec<CompiledWebhook> {
    let compile_preset = |preset: &super::super::presets::Preset| {
        compile(
            json!({"auth": {"type": preset.describe().auth["type"], "preset": preset.id,
            "secret": {"$secret": "signing"}}}),
        )
    };
    PRESETS.iter().map(compile_preset).collect()
}

/// Values that look like what verifiers parse: codes of the right shape under another key, times, separators.
fn value() -> impl Strategy<Value = String> {
    let forged = any::<[u8; 4]>().prop_map(|key| {
        let tag = mac(Algorithm::Sha256, &key, std::iter::once(&b"{}"[..])).unwrap();
        (hex::encode(tag.as_bytes()), BASE64.encode(tag.as_bytes()))
    });
    let near = forged.prop_map(|(hex, base64)| format!("t={NOW},v1={hex} v1,{base64},v0={hex}"));
    let plain = any::<[u8; 32]>().prop_map(|tag| format!("sha256={}", hex::encode(tag)));
    prop_oneof![
        near,
        plain,
        Just(NOW.to_string()),
        "[ -~]{0,80}",
        "(t|v0|v1)=[0-9a-f]{0,130}(,(t|v1)=[0-9]{0,20}){0,20}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_random_request_is_never_accepted(
        pairs in proptest::collection::vec((0..HEADERS.len(), value()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        get in any::<bool>(),
        query in "[ -~]{0,40}",
        skew in -400_i64..400,
    ) {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(HEADERS[*name]), HeaderValue::from_str(value).unwrap()))
            .collect();
        let method = if get { Method::GET } else { Method::POST };
        let request = Request { method: &method, headers: &headers, query: Some(&query), body: &body, remote_ip: None };
        for webhook in all() {
            prop_assert!(webhook.verify(&request, &secret(KEY), at(NOW + skew)).is_err());
            prop_assert!(!matches!(webhook.handshake(&request, &secret(KEY), at(NOW + skew)), Ok(Some(_))));
            let _ = webhook.events(&headers, Bytes::copy_from_slice(&body));
        }
    }

    /// One changed bit of body, time or code, and the request is not authentic.
    #[test]
    fn one_changed_bit_is_one_too_many(body in proptest::collection::vec(any::<u8>(), 1..100), bit in any::<u16>(), part in 0..3) {
        let webhook = compile(json!({"auth": {"type": "hmac", "preset": "slack", "secret": {"$secret": "signing"}}}));
        let text = [format!("v0:{NOW}:").as_bytes(), &body].concat();
        let tag = mac(Algorithm::Sha256, KEY.as_bytes(), std::iter::once(&text[..])).unwrap();
        let (mut tag, mut body, mut time) = (tag.as_bytes().to_vec(), body, NOW);
        let send = |tag: &[u8], body: &[u8], time: i64| {
            let (tag, time) = (format!("v0={}", hex::encode(tag)), time.to_string());
            verify(&webhook, &[("x-slack-signature", &tag), ("x-slack-request-timestamp", &time)], body, &secret(KEY), NOW)
        };
        prop_assert_eq!(send(&tag, &body, time), Ok(()));
        let bit = usize::from(bit);
        match part {
            0 => { let at = bit / 8 % tag.len(); tag[at] ^= 1 << (bit % 8); }
            1 => { let at = bit / 8 % body.len(); body[at] ^= 1 << (bit % 8); }
            _ => time ^= 1 << (bit % 8),
        }
        prop_assert_eq!(send(&tag, &body, time), Err(Rejection::NotAuthentic));
    }
}
