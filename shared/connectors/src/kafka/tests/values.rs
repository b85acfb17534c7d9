//! Values: Avro by a registry's schemas, and values that do not keep to them.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use apache_avro::{Decimal, Schema, to_avro_datum, types::Value as Avro};
use serde_json::{Value, json};

use crate::{
    Error, SecretValue, Secrets,
    compliance::{loopback, nowhere},
    kafka::{
        avro::Codec,
        config::{Format, Registry, Tombstones},
        record::Shaper,
        registry::Schemas,
        shared::Item,
    },
    tls::SecretRef,
};

const ALERT: &str = r#"{"type": "record", "name": "Alert", "namespace": "a.b", "fields": [
    {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "severity", "type": {"type": "enum", "name": "Severity", "symbols": ["LOW", "HIGH"]}},
    {"name": "worst", "type": "Severity"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
    {"name": "score", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "ratio", "type": "double"},
    {"name": "raw", "type": "bytes"},
    {"name": "note", "type": ["null", "string"]},
    {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": "long"}}}
]}"#;

fn alert(score: i16, ratio: f64) -> Vec<u8> {
    let schema = Schema::parse_str(ALERT).unwrap();
    let field = |name: &str, value| (name.to_owned(), value);
    let high = Avro::Enum(1, "HIGH".to_owned());
    let value = Avro::Record(vec![
        field(
            "id",
            Avro::Uuid("6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap()),
        ),
        field("severity", high.clone()),
        field("worst", high),
        field("at", Avro::TimestampMillis(1_767_225_600_123)),
        field("day", Avro::Date(-1)),
        field("clock", Avro::TimeMillis(3_723_004)),
        field("score", Avro::Decimal(Decimal::from(score.to_be_bytes()))),
        field("ratio", Avro::Double(ratio)),
        field("raw", Avro::Bytes(vec![0, 255])),
        field("note", Avro::Union(1, Box::new(Avro::String("n".to_owned())))),
        field(
            "tags",
            Avro::Map([("t".to_owned(), Avro::Array(vec![Avro::Long(1 << 60)]))].into()),
        ),
    ]);
    to_avro_datum(&schema, value).unwrap()
}

fn codec(schema: &str) -> Result<Codec, &'static str> {
    Codec::new(schema, &[])
}

#[test]
fn every_type_has_its_json() {
    let decoded = codec(ALERT).unwrap().decode(&alert(-1_205, 0.5)).unwrap();
    assert_eq!(
        decoded,
        json!({
            "id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "severity": "HIGH", "worst": "HIGH",
            "at": "2026-01-01T00:00:00.123Z", "day": "1969-12-31", "clock": "01:02:03.004", "score": "-12.05",
            "ratio": 0.5, "raw": "AP8=", "note": "n", "tags": {"t": [1_u64 << 60]},
        })
    );
    let decoded = codec(ALERT).unwrap().decode(&alert(5, f64::NAN)).unwrap();
    assert_eq!(
        (&decoded["score"], &decoded["ratio"]),
        (&json!("0.05"), &json!("NaN"))
    );
}

#[test]
fn what_is_cut_off_or_longer_is_not_decoded() {
    let codec = codec(ALERT).unwrap();
    let whole = alert(1, 1.0);
    for cut in 0..whole.len() {
        assert!(codec.decode(&whole[..cut]).is_none(), "cut at {cut}");
    }
    assert!(codec.decode(&[whole, vec![0]].concat()).is_none());
}

#[test]
fn schemas_that_could_exhaust_us_are_not_used() {
    let recursive =
        r#"{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}"#;
    let nothing = r#"{"type": "array", "items": "null"}"#;
    let hidden = r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]}}"#;
    let mut deep = r#""long""#.to_owned();
    for _ in 0..100 {
        deep = format!(r#"{{"type": "array", "items": {deep}}}"#);
    }
    // Two records in each of the next, thirty times: a billion values of no byte.
    let mut many = r#"{"type": "record", "name": "E0", "fields": []}"#.to_owned();
    for level in 1..30 {
        let below = level - 1;
        many = format!(
            r#"{{"type": "record", "name": "E{level}", "fields": [{{"name": "a", "type": {many}}}, {{"name": "b", "type": "E{below}"}}]}}"#
        );
    }
    let of_many = format!(r#"{{"type": "array", "items": {many}}}"#);
    for schema in [
        recursive,
        nothing,
        hidden,
        &deep,
        &many,
        &of_many,
        "{",
        r#"{"type": "nothing"}"#,
    ] {
        assert!(codec(schema).is_err(), "{schema}");
    }
    // Items of a byte that become a thousand values each.
    let fields: Vec<String> = (0..1_000)
        .map(|n| format!(r#"{{"name": "n{n}", "type": "null"}}"#))
        .collect();
    let wide = format!(
        r#"{{"type": "array", "items": {{"type": "record", "name": "W", "fields": [{{"name": "b", "type": "boolean"}}, {}]}}}}"#,
        fields.join(",")
    );
    let wide = codec(&wide).unwrap();
    // Counts are written as twice themselves, seven bits a byte.
    assert!(wide.decode(&[&[20][..], &[1; 10], &[0]].concat()).is_some());
    assert!(
        wide.decode(&[&[0xd0, 0x0f][..], &[1; 1_000], &[0]].concat())
            .is_none()
    );
    // An array that claims more than there is.
    let longs = codec(r#"{"type": "array", "items": "long"}"#).unwrap();
    assert!(
        longs
            .decode(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
            .is_none()
    );
}

/// A registry of three schemas that lets in who knows the password, and counts.
fn registry() -> (Registry, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let user =
        r#"{"type": "record", "name": "User", "namespace": "c", "fields": [{"name": "n", "type": "long"}]}"#;
    let login = r#"{"type": "record", "name": "Login", "fields": [{"name": "user", "type": "c.User"}]}"#;
    let bodies = [
        ("/schemas/ids/1", json!({"schema": ALERT})),
        (
            "/schemas/ids/2",
            json!({"schema": login, "references": [{"name": "c.User", "subject": "c/user", "version": 3}]}),
        ),
        ("/subjects/c%2Fuser/versions/3", json!({"schema": user, "id": 9})),
        (
            "/schemas/ids/4",
            json!({"schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF"}),
        ),
    ];
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => request.extend_from_slice(&part[..count]),
                    _ => break,
                }
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let request = String::from_utf8_lossy(&request).to_lowercase();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let found = bodies.iter().find(|(known, _)| known.to_lowercase() == path);
            // reader:right
            let (status, body) = match found {
                _ if !request.contains("authorization: basic cmvhzgvyonjpz2h0") => {
                    ("401 No", "{}".to_owned())
                }
                Some((_, body)) => ("200 OK", body.to_string()),
                None => ("404 None", r#"{"error_code": 40403}"#.to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let registry = Registry {
        url,
        username: Some("reader".to_owned()),
        password: Some(SecretRef {
            name: "password".to_owned(),
        }),
        token: None,
    };
    (registry, asked)
}

fn secrets(password: &str) -> Secrets {
    let mut secrets = Secrets::none();
    secrets.insert("password", SecretValue::new(password));
    secrets
}

fn item(id: u32, datum: &[u8]) -> Item {
    let value = [&[0], &id.to_be_bytes()[..], datum].concat();
    Item {
        topic: Arc::from("t"),
        partition: 1,
        offset: 2,
        time: Some(3),
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
        epoch: 1,
    }
}

#[tokio::test]
async fn schemas_are_fetched_once_and_with_those_they_refer_to() {
    let (registry, asked) = registry();
    let shaper = |registry: &Registry, password: &str| Shaper {
        format: Format::Avro,
        tombstones: Tombstones::Skip,
        schemas: Some(Schemas::new(registry.clone(), secrets(password), loopback()).unwrap()),
    };
    let now = halcyon_domain::clock::Timestamp::default();
    let mut good = shaper(&registry, "right");
    for _ in 0..3 {
        let record = good.shape(&item(1, &alert(1, 1.0)), now).await.unwrap().unwrap();
        let value: Value = serde_json::from_slice(&record.bytes).unwrap();
        assert_eq!(value["severity"], "HIGH");
        assert_eq!(record.dedupe_key.as_deref(), Some("t/1/2@3"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        let record = good.shape(&item(2, &[14]), now).await.unwrap().unwrap();
        assert_eq!(record.bytes, r#"{"user":{"n":7}}"#);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    // What cannot be decoded goes on as it is, and says why.
    for (id, datum, why) in [
        (3, &[1][..], "no schema"),
        (4, &[1], "not Avro"),
        (1, &[1], "not of schema"),
    ] {
        let item = item(id, datum);
        let record = good.shape(&item, now).await.unwrap().unwrap();
        assert_eq!(Some(&record.bytes), item.value.as_ref());
        assert!(
            record.headers["kafka-undecoded"].contains(why),
            "{:?}",
            record.headers
        );
    }
    let refused = shaper(&registry, "wrong").shape(&item(1, &[]), now).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let mut inside = shaper(&registry, "right");
    inside.schemas = Some(Schemas::new(registry.clone(), secrets("right"), nowhere()).unwrap());
    let refused = inside.shape(&item(1, &[]), now).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}
