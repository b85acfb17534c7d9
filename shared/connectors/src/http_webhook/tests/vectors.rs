//! Published vectors, and the edges of the tolerance.

use base64::Engine;
use serde_json::json;

use super::{
    super::{
        config::Algorithm,
        hmac::{BASE64, mac},
    },
    *,
};

fn preset(name: &str) -> CompiledWebhook {
    compile(json!({"auth": {"type": "hmac", "preset": name, "secret": {"$secret": "signing"}}}))
}

fn hex_mac(key: &str, text: &str) -> String {
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

/// RFC 4231, test case 2, for two of the algorithms; RFC 2202, test case 2, for SHA-1.
#[test]
fn the_codes_are_those_of_the_rfcs() {
    let of = |algorithm| {
        let tag = mac(
            algorithm,
            b"Jefe",
            [&b"what do ya "[..], b"want for nothing?"].into_iter(),
        )
        .unwrap();
        hex::encode(tag.as_bytes())
    };
    assert_eq!(of(Algorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_eq!(
        of(Algorithm::Sha256),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert!(
        of(Algorithm::Sha512).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")
    );
}

/// docs.github.com, "Validating webhook deliveries", section "Testing the webhook payload validation".
#[test]
fn github() {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let (webhook, key) = (preset("github"), secret("It's a Secret to Everybody"));
    let with =
        |signature: &str, body: &[u8]| verify(&webhook, &[("x-hub-signature-256", signature)], body, &key, 0);
    assert_eq!(with(signature, b"Hello, World!"), Ok(()));
    assert_eq!(with(signature, b"Hello, World"), Err(Rejection::NotAuthentic));
    assert_eq!(
        with(&signature[7..], b"Hello, World!"),
        Err(Rejection::NotAuthentic)
    );
    let missing = Rejection::Missing {
        header: "x-hub-signature-256".to_owned(),
    };
    assert_eq!(verify(&webhook, &[], b"Hello, World!", &key, 0), Err(missing));
}

/// docs.slack.dev, "Verifying requests from Slack", the step-by-step walk-through.
#[test]
fn slack() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let pairs = [
        (
            "x-slack-signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
        ("x-slack-request-timestamp", "1531420618"),
    ];
    let (webhook, key) = (preset("slack"), secret("8f742231b10e8888abcd99yyyzzz85a5"));
    assert_eq!(
        verify(&webhook, &pairs, body.as_bytes(), &key, 1_531_420_618),
        Ok(())
    );
    let stale = Err(Rejection::Stale {
        tolerance_seconds: 300,
    });
    for (offset, expected) in [(-301, stale.clone()), (-300, Ok(())), (300, Ok(())), (301, stale)] {
        let now = 1_531_420_618 + offset;
        assert_eq!(
            verify(&webhook, &pairs, body.as_bytes(), &key, now),
            expected,
            "{offset}"
        );
    }
}

/// The vector of the Standard Webhooks reference libraries' tests (standard-webhooks/standard-webhooks, libraries).
#[test]
fn standard_webhooks() {
    let body = br#"{"test": 2432232314}"#;
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let (webhook, key) = (
        preset("standard-webhooks"),
        secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    );
    let with = |signature: &str, id: &str, now: i64| {
        let pairs = [
            ("webhook-id", id),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        verify(&webhook, &pairs, body, &key, now)
    };
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    assert_eq!(with(signature, id, 1_614_265_330), Ok(()));
    let several = format!("v1,AAAA v2,{} {signature}", &signature[3..]);
    assert_eq!(with(&several, id, 1_614_265_330), Ok(()));
    assert_eq!(
        with(signature, "msg_other", 1_614_265_330),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(
        with(&format!("v2,{}", &signature[3..]), id, 1_614_265_330),
        Err(Rejection::NotAuthentic)
    );
    let stale = Err(Rejection::Stale {
        tolerance_seconds: 300,
    });
    for (offset, expected) in [(-301, stale.clone()), (-300, Ok(())), (300, Ok(())), (301, stale)] {
        assert_eq!(with(signature, id, 1_614_265_330 + offset), expected, "{offset}");
    }
    assert_eq!(
        verify(
            &webhook,
            &[
                ("webhook-signature", "v1,x"),
                ("webhook-id", "a"),
                ("webhook-timestamp", "0")
            ],
            body,
            &secret("whsec_!"),
            0
        ),
        Err(Rejection::SecretUnavailable {
            name: "signing".to_owned()
        })
    );
}

/// The scheme of docs.stripe.com/webhooks/signature: `t=...,v1=...,v0=...` over `{timestamp}.{body}`; Stripe
/// publishes no vector with its key.
#[test]
fn stripe() {
    let body = r#"{"id":"evt_1","object":"event"}"#;
    let signature = hex_mac("whsec_test", &format!("1492774577.{body}"));
    let (webhook, key) = (preset("stripe"), secret("whsec_test"));
    let with = |header: &str, now| {
        verify(
            &webhook,
            &[("stripe-signature", header)],
            body.as_bytes(),
            &key,
            now,
        )
    };
    let zeros = "0".repeat(64);
    let header = format!("t=1492774577,v1={zeros},v1={signature},v0={zeros}");
    let stale = Err(Rejection::Stale {
        tolerance_seconds: 300,
    });
    for (offset, expected) in [
        (-301, stale.clone()),
        (-300, Ok(())),
        (0, Ok(())),
        (300, Ok(())),
        (301, stale),
    ] {
        assert_eq!(with(&header, 1_492_774_577 + offset), expected, "{offset}");
    }
    // A signature under the test scheme, another time, or no time is no signature.
    assert_eq!(
        with(&format!("t=1492774577,v0={signature}"), 1_492_774_577),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(
        with(&format!("t=1492774578,v1={signature}"), 1_492_774_577),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(
        with(&format!("v1={signature}"), 1_492_774_577),
        Err(Rejection::NotAuthentic)
    );
    assert_eq!(
        with(&format!("t=+1492774577,v1={signature}"), 1_492_774_577),
        Err(Rejection::NotAuthentic)
    );
}

/// The schemes as the vendors' pages (see each preset's `documentation`) describe them.
#[test]
fn shopify_zoom_and_pagerduty() {
    let body = r#"{"event":{"id":"1"}}"#;
    let tag = mac(Algorithm::Sha256, b"key", std::iter::once(body.as_bytes())).unwrap();
    let base64 = BASE64.encode(tag.as_bytes());
    let shopify = [("x-shopify-hmac-sha256", base64.as_str())];
    assert_eq!(
        verify(&preset("shopify"), &shopify, body.as_bytes(), &secret("key"), 0),
        Ok(())
    );

    let signature = format!("v0={}", hex_mac("key", &format!("v0:1000:{body}")));
    let zoom = [
        ("x-zm-signature", signature.as_str()),
        ("x-zm-request-timestamp", "1000"),
    ];
    assert_eq!(
        verify(&preset("zoom"), &zoom, body.as_bytes(), &secret("key"), 1000),
        Ok(())
    );

    let signature = format!("v1={},v1={}", "0".repeat(64), hex_mac("key", body));
    let pagerduty = [("x-pagerduty-signature", signature.as_str())];
    assert_eq!(
        verify(
            &preset("pagerduty"),
            &pagerduty,
            body.as_bytes(),
            &secret("key"),
            0
        ),
        Ok(())
    );
}

/// A rotation: two names, and two live values of one name; each is accepted.
#[test]
fn every_live_secret_is_accepted() {
    let webhook = compile(
        json!({"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"},
        "secrets": [{"$secret": "old"}]}}),
    );
    let mut secrets = secret("one");
    secrets.insert("signing", SecretValue::new("two"));
    secrets.insert("old", SecretValue::new("three"));
    for (key, expected) in [("one", true), ("two", true), ("three", true), ("four", false)] {
        let signature = format!("sha256={}", hex_mac(key, "x"));
        let answer = verify(
            &webhook,
            &[("x-hub-signature-256", &signature)],
            b"x",
            &secrets,
            0,
        );
        assert_eq!(answer.is_ok(), expected, "{key}");
    }
}

#[test]
fn a_custom_template() {
    let webhook = compile(
        json!({"auth": {"type": "hmac", "secret": {"$secret": "signing"}, "algorithm": "sha512",
        "header": "x-sig", "encoding": "base64", "prefix": "s:", "signing_string": "{timestamp}|{id}|{body}",
        "timestamp_header": "x-time", "id_header": "x-id", "tolerance": "10s"}}),
    );
    let tag = mac(
        Algorithm::Sha512,
        b"key",
        std::iter::once(&b"1700000000000|7|x"[..]),
    )
    .unwrap();
    let signature = format!("s:{}", BASE64.encode(tag.as_bytes()));
    let pairs = [
        ("x-sig", signature.as_str()),
        ("x-time", "1700000000000"),
        ("x-id", "7"),
    ];
    assert_eq!(
        verify(&webhook, &pairs, b"x", &secret("key"), 1_700_000_010),
        Ok(())
    );
    let stale = Err(Rejection::Stale {
        tolerance_seconds: 10,
    });
    assert_eq!(
        verify(&webhook, &pairs, b"x", &secret("key"), 1_700_000_011),
        stale
    );
}
