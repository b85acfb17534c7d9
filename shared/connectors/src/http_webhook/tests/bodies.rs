//! Bodies: formats, identities, compression and its bombs.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::{
    super::{BodyError, RawEvent},
    *,
};

fn events(connection: Value, pairs: &[(&str, &str)], body: &[u8]) -> Result<Vec<RawEvent>, BodyError> {
    compile(connection).events(&headers(pairs), Bytes::copy_from_slice(body))
}

fn open() -> Value {
    json!({"auth": {"type": "none"}})
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn json_stays_byte_for_byte_and_what_is_not_json_is_kept() {
    for body in [&b"{ \"a\" : 1.0 }"[..], b"not json", b"\xff\xfe"] {
        let found = events(
            open(),
            &[("content-type", "application/json; charset=utf-8")],
            body,
        )
        .unwrap();
        assert_eq!(
            found,
            [RawEvent {
                bytes: Bytes::copy_from_slice(body),
                dedupe_key: None,
                content_type: None
            }]
        );
    }
}

#[test]
fn each_line_of_ndjson_is_an_event_with_its_own_identity() {
    let pairs = [("content-type", "application/x-ndjson"), ("idempotency-key", "k")];
    let found = events(open(), &pairs, b"{\"id\":1}\r\n\n{\"id\":2}\n").unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|e| (&e.bytes[..], e.dedupe_key.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            (&b"{\"id\":1}"[..], Some("k/0")),
            (&b"{\"id\":2}"[..], Some("k/1"))
        ]
    );

    let by_path = json!({"auth": {"type": "none"}, "format": "ndjson", "dedupe": {"path": "id"}});
    let found = events(by_path, &[], b"{\"id\":1}\n{\"id\":2}").unwrap();
    assert_eq!(
        found
            .iter()
            .map(|e| e.dedupe_key.as_deref().unwrap())
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
}

#[test]
fn presets_know_where_the_identity_is() {
    let hmac = |name: &str| json!({"auth": {"type": "hmac", "preset": name, "secret": {"$secret": "s"}}});
    let key = |name: &str, pairs: &[(&str, &str)], body: &[u8]| {
        events(hmac(name), pairs, body).unwrap().remove(0).dedupe_key
    };
    assert_eq!(
        key("github", &[("x-github-delivery", "d-1")], b"{}").as_deref(),
        Some("d-1")
    );
    assert_eq!(key("stripe", &[], br#"{"id":"evt_1"}"#).as_deref(), Some("evt_1"));
    assert_eq!(
        key("pagerduty", &[], br#"{"event":{"id":"p"}}"#).as_deref(),
        Some("p")
    );
    assert_eq!(
        key("slack", &[("idempotency-key", "i")], b"{}").as_deref(),
        Some("i")
    );
}

#[test]
fn a_form_becomes_json() {
    let pairs = [("content-type", "application/x-www-form-urlencoded")];
    let found = events(open(), &pairs, b"a=1&b=x+y%21&a=2&c&d=%zz")
        .unwrap()
        .remove(0);
    let value: Value = serde_json::from_slice(&found.bytes).unwrap();
    assert_eq!(value, json!({"a": ["1", "2"], "b": "x y!", "c": "", "d": "%zz"}));
    assert_eq!(found.content_type, Some("application/json"));
    let found = events(open(), &pairs, b"payload=%7B%22id%22%3A1%7D")
        .unwrap()
        .remove(0);
    assert_eq!(&found.bytes[..], b"{\"id\":1}");
    assert_eq!(events(open(), &pairs, b"a=%ff").unwrap_err().status(), 400);
}

#[test]
fn gzip_is_unpacked_up_to_the_limit() {
    let pairs = [("content-encoding", "gzip")];
    assert_eq!(
        &events(open(), &pairs, &gzip(b"{\"a\":1}")).unwrap()[0].bytes[..],
        b"{\"a\":1}"
    );

    let limited = json!({"auth": {"type": "none"}, "max_decompressed": 100_000});
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 100_000);
    let too_large = BodyError::TooLarge {
        what: "the decompressed body",
        limit: 100_000,
    };
    assert_eq!(events(limited.clone(), &pairs, &bomb), Err(too_large.clone()));
    // Many small members, one after the other, are the same bomb.
    let members: Vec<u8> = std::iter::repeat_with(|| gzip(&[b'1'; 1000]))
        .take(101)
        .flatten()
        .collect();
    assert_eq!(events(limited.clone(), &pairs, &members), Err(too_large));
    assert_eq!(
        events(limited, &pairs, b"\x1f\x8bnonsense"),
        Err(BodyError::Malformed("gzip"))
    );
}

#[test]
fn what_cannot_be_taken_says_why() {
    let status = |connection: Value, pairs: &[(&str, &str)], body: &[u8]| {
        events(connection, pairs, body).unwrap_err().status()
    };
    assert_eq!(status(open(), &[], b" \n"), 400);
    assert_eq!(status(open(), &[("content-encoding", "gzip")], &gzip(b"")), 400);
    assert_eq!(status(open(), &[("content-type", "image/png")], b"x"), 415);
    assert_eq!(status(open(), &[("content-encoding", "br")], b"x"), 415);
    assert_eq!(
        status(json!({"auth": {"type": "none"}, "max_body": 3}), &[], b"1234"),
        413
    );
    let many = b"1\n".repeat(10_001);
    assert_eq!(
        status(open(), &[("content-type", "application/x-ndjson")], &many),
        413
    );
}
