//! Packets: those of another implementation are read as they were meant, and no bytes do harm.

use bytes::{Bytes, BytesMut};
use halcyon_domain::clock::Timestamp;
use proptest::prelude::*;
use rumqttc::{mqttbytes::v4, v5::mqttbytes::v5};

use super::super::{
    config::{Identity, Version},
    packet::{self, Connect, Malformed, Message, Packet},
    properties::Properties,
    record::record,
};

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// A message as another implementation writes it.
fn written(version: Version, message: &Message) -> BytesMut {
    let mut to = BytesMut::new();
    match version {
        Version::V311 => {
            let qos = rumqttc::qos(message.qos).unwrap();
            let mut publish = v4::Publish::new(message.topic.as_str(), qos, message.payload.to_vec());
            (publish.pkid, publish.retain) = (message.id, message.retained);
            publish.write(&mut to).unwrap();
        }
        Version::V5 => {
            let qos = rumqttc::v5::mqttbytes::qos(message.qos).unwrap();
            let properties = v5::PublishProperties {
                payload_format_indicator: Some(1),
                message_expiry_interval: Some(60),
                content_type: message.properties.content_type.clone(),
                response_topic: message.properties.response_topic.clone(),
                correlation_data: message.properties.correlation_data.clone(),
                user_properties: message.properties.user.clone(),
                subscription_identifiers: vec![268_435_455],
                topic_alias: None,
            };
            let mut publish = v5::Publish::new(
                message.topic.as_str(),
                qos,
                message.payload.clone(),
                Some(properties),
            );
            (publish.pkid, publish.retain) = (message.id, message.retained);
            publish.write(&mut to).unwrap();
        }
    }
    to
}

fn messages() -> impl Strategy<Value = Message> {
    let properties = (
        any::<Option<String>>(),
        any::<Option<String>>(),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        proptest::collection::vec(any::<(String, String)>(), 0..4),
    );
    let payload = proptest::collection::vec(any::<u8>(), 0..20_000);
    (
        "[a-z/]{1,300}",
        payload,
        0_u8..3,
        1_u16..,
        any::<bool>(),
        properties,
    )
        .prop_map(
            |(topic, payload, qos, id, retained, (content_type, response_topic, data, user))| Message {
                topic,
                payload: payload.into(),
                qos,
                id: if qos == 0 { 0 } else { id },
                retained,
                properties: Properties {
                    content_type,
                    response_topic,
                    correlation_data: data.map(Bytes::from),
                    user,
                    keep_alive: None,
                },
            },
        )
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(message in messages(), cut in any::<proptest::sample::Index>()) {
        for version in VERSIONS {
            let whole = written(version, &message);
            let mut expected = message.clone();
            if version == Version::V311 {
                expected.properties = Properties::default();
            }
            // In two parts, as the network may bring it, and with the beginning of the next one behind.
            let cut = cut.index(whole.len());
            let mut buffer = BytesMut::from(&whole[..cut]);
            prop_assert_eq!(packet::read(&mut buffer, version), Ok(None));
            buffer.extend_from_slice(&whole[cut..]);
            buffer.extend_from_slice(&[0x30]);
            prop_assert_eq!(packet::read(&mut buffer, version), Ok(Some(Packet::Message(expected))));
            prop_assert_eq!(&buffer[..], &[0x30]);
        }
    }

    #[test]
    fn no_bytes_do_harm(first in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for version in VERSIONS {
            let _ = packet::read(&mut BytesMut::from(&body[..]), version);
            // And with a header that fits.
            let mut framed = BytesMut::from(&[first, (body.len() & 0x7f) as u8, ][..]);
            framed.extend_from_slice(&body[..body.len() & 0x7f]);
            let _ = packet::read(&mut framed, version);
        }
    }
}

#[test]
fn a_packet_that_is_too_large_is_refused_before_it_is_read() {
    let mut claims = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
    let outcome = packet::read(&mut claims, Version::V5);
    assert_eq!(outcome, Err(Malformed::TooLarge(268_435_455)));
    // A message may be stepped over, once it has said what it is; nothing else may.
    assert_eq!(packet::pass_over(&mut claims), Ok(None));
    for first in [0x36, 0x90] {
        let mut other = BytesMut::from(&[first, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a', 0, 7][..]);
        assert!(packet::pass_over(&mut other).is_err(), "{first:#x}");
    }
    let mut endless = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0xff][..]);
    assert_eq!(packet::read(&mut endless, Version::V5), Err(Malformed::Packet));
}

#[test]
fn what_a_publisher_says_besides_the_payload_is_bounded() {
    let with = |count: usize, text: &str| {
        let message = Message {
            topic: "a".to_owned(),
            qos: 1,
            id: 9,
            properties: Properties {
                user: vec![(text.to_owned(), text.to_owned()); count],
                ..Properties::default()
            },
            ..Message::default()
        };
        let mut buffer = written(Version::V5, &message);
        packet::read(&mut buffer, Version::V5).unwrap().unwrap()
    };
    let Packet::Message(message) = with(1_000, "k") else {
        panic!("a thousand properties are taken");
    };
    assert!(message.size() > 1_000 * 50, "{}", message.size());
    for (count, text) in [(1_001, "k".to_owned()), (20, "k".repeat(60_000))] {
        let Packet::PassedOver(passed) = with(count, &text) else {
            panic!("{count} properties were taken in");
        };
        assert_eq!(
            (passed.topic.as_str(), passed.qos, passed.id, passed.rest),
            ("a", 1, 9, 0)
        );
    }
}

#[test]
fn another_implementation_reads_what_we_write() {
    let connect = |version| Connect {
        version,
        client_id: "reader",
        clean: false,
        keep_alive: 30,
        session_expiry: 600,
        in_flight: 17,
        username: Some("u"),
        password: Some("p"),
    };
    let filters = ["a/+".to_owned(), "$share/g/b/#".to_owned()];
    let read = |bytes: Bytes| v4::Packet::read(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap();
    let v4::Packet::Connect(found) = read(connect(Version::V311).write()) else {
        panic!("no connect");
    };
    assert_eq!(
        (found.client_id.as_str(), found.keep_alive, found.clean_session),
        ("reader", 30, false)
    );
    let login = found.login.unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p"));
    let v4::Packet::Subscribe(found) = read(packet::subscribe(&filters, 2, true, Version::V311)) else {
        panic!("no subscribe");
    };
    let found: Vec<_> = found
        .filters
        .iter()
        .map(|filter| (filter.path.as_str(), filter.qos as u8))
        .collect();
    assert_eq!(found, [("a/+", 2), ("$share/g/b/#", 2)]);

    let read = |bytes: Bytes| v5::Packet::read(&mut BytesMut::from(&bytes[..]), None).unwrap();
    let v5::Packet::Connect(found, _, login) = read(connect(Version::V5).write()) else {
        panic!("no connect");
    };
    let properties = found.properties.unwrap();
    assert_eq!((found.client_id.as_str(), found.clean_start), ("reader", false));
    assert_eq!(
        (properties.session_expiry_interval, properties.receive_maximum),
        (Some(600), Some(17))
    );
    assert_eq!(properties.max_packet_size, Some(64 << 20));
    assert_eq!(login.unwrap().password, "p");
    for (retained, rule) in [(true, 1), (false, 2)] {
        let v5::Packet::Subscribe(found) = read(packet::subscribe(&filters, 1, retained, Version::V5)) else {
            panic!("no subscribe");
        };
        assert_eq!(found.filters[1].path, "$share/g/b/#");
        assert_eq!(found.filters[1].retain_forward_rule.clone() as u8, rule);
    }
    let v5::Packet::Unsubscribe(found) = read(packet::unsubscribe(&filters, Version::V5)) else {
        panic!("no unsubscribe");
    };
    assert_eq!(found.filters, filters);
}

#[test]
fn a_message_is_known_by_what_its_publisher_said() {
    let message = Message {
        topic: "a/b".to_owned(),
        payload: Bytes::from_static(b"x"),
        qos: 1,
        id: 7,
        ..Message::default()
    };
    let key = |message: &Message, identity| {
        let record = record(message.clone(), identity, Timestamp::default());
        record.dedupe_key.unwrap()
    };
    let again = Message {
        id: 8,
        retained: true,
        ..message.clone()
    };
    assert_eq!(key(&message, Identity::Content), key(&again, Identity::Content));
    assert_ne!(key(&message, Identity::Delivery), key(&again, Identity::Delivery));
    let mut others = vec![message.clone(); 4];
    others[0].topic = "a".to_owned();
    others[1].payload = Bytes::from_static(b"/bx");
    others[2].properties.user = vec![("id".to_owned(), "1".to_owned())];
    others[3].properties.correlation_data = Some(Bytes::from_static(b"1"));
    for other in &others {
        assert_ne!(
            key(&message, Identity::Content),
            key(other, Identity::Content),
            "{other:?}"
        );
    }
    let headers = record(others.swap_remove(2), Identity::Content, Timestamp::default()).headers;
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [("id", "1"), ("qos", "1"), ("retained", "false"), ("topic", "a/b")]
    );
}
