//! What a message is recognised by, and its headers.

use halcyon_domain::clock::Timestamp;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, DecimalValue, FieldTable},
};

use super::super::{config::Identity, record::record};
use crate::SourceRecord;

fn delivery(body: &str, properties: BasicProperties) -> Delivery {
    let mut delivery = Delivery::mock(7, "events".into(), "alerts.high".into(), false, body.into());
    delivery.properties = properties;
    delivery
}

fn read(body: &str, properties: BasicProperties) -> SourceRecord {
    record(
        delivery(body, properties),
        Identity::MessageId,
        Timestamp::default(),
    )
}

fn key(body: &str, properties: BasicProperties) -> String {
    read(body, properties).dedupe_key.unwrap()
}

fn with(name: &str, value: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), value);
    BasicProperties::default().with_headers(headers)
}

#[test]
fn a_message_id_is_the_identity_and_content_stands_in() {
    let plain = BasicProperties::default;
    let id = || plain().with_message_id("m-1".into());
    assert_eq!(key("a", id()), "id:m-1");
    assert_eq!(key("b", id()), "id:m-1");
    let by_content = record(delivery("a", id()), Identity::Content, Timestamp::default());
    assert!(by_content.dedupe_key.unwrap().starts_with("sha256:"));
    // An empty id is none.
    assert!(key("a", plain().with_message_id("".into())).starts_with("sha256:"));
    assert_eq!(key("a", plain()), key("a", plain()));
    let others = [
        key("b", plain()),
        key("a", plain().with_timestamp(1)),
        key("a", plain().with_app_id("x".into())),
        key("a", with("tenant", AMQPValue::LongString("x".into()))),
        key("a", with("tenant", AMQPValue::LongString("y".into()))),
        key("", with("tenant", AMQPValue::LongString("xa".into()))),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, key("a", plain()), "{index}");
        assert_eq!(others.iter().filter(|key| *key == other).count(), 1, "{index}");
    }
}

#[test]
fn what_the_broker_counts_is_no_part_of_the_identity() {
    let plain = key("a", BasicProperties::default());
    for name in ["x-delivery-count", "x-acquired-count"] {
        assert_eq!(key("a", with(name, AMQPValue::LongLongInt(3))), plain);
    }
}

#[test]
fn properties_and_headers_come_along() {
    let mut nested = FieldTable::default();
    nested.insert("reason".into(), AMQPValue::LongString("expired".into()));
    nested.insert("count".into(), AMQPValue::LongLongInt(2));
    let mut headers = FieldTable::default();
    headers.insert("X-Tenant".into(), AMQPValue::LongString("acme".into()));
    headers.insert(
        "score".into(),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 }),
    );
    headers.insert("test".into(), AMQPValue::Boolean(true));
    headers.insert("dead".into(), AMQPValue::FieldTable(nested));
    // What the message says of itself does not hide where it came from.
    headers.insert("exchange".into(), AMQPValue::LongString("elsewhere".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("application/json".into())
        .with_type("alert".into())
        .with_timestamp(1_767_225_600);
    let found = read("{}", properties).headers;
    for (name, value) in [
        ("x-tenant", "acme"),
        ("score", "0.05"),
        ("test", "true"),
        ("dead", r#"{"count":2,"reason":"expired"}"#),
        ("exchange", "events"),
        ("routing_key", "alerts.high"),
        ("content_type", "application/json"),
        ("type", "alert"),
        ("timestamp", "1767225600"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
}
