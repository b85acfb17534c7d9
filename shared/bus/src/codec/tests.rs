//! Round trips of the codec.

use std::collections::BTreeMap;

use bytes::Bytes;
use halcyon_domain::{
    clock::Timestamp,
    event::{EventId, EventOutcome, IngestEvent, RecordOutcome, Verdict},
    id::{DatasourceId, OrganizationId},
    ontology::{Entity, OntologyObject},
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn payload() -> impl Strategy<Value = Bytes> {
    let json = prop_oneof![
        Just("null".to_owned()),
        Just(" {\"a\" : 1}\n".to_owned()),
        Just("{\"a\" : 123456789012345678901234567890.10e5,\n\t\"\\ud800\":[]}".to_owned()),
        Just("[".repeat(200) + &"]".repeat(200)),
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        proptest::collection::vec(any::<i64>(), 0..8)
            .prop_map(|numbers| serde_json::to_string(&numbers).unwrap()),
    ];
    prop_oneof![
        json.prop_map(Bytes::from),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    ]
}

prop_compose! {
    fn event()(
        id in ".{1,40}",
        ids in any::<(u128, u128)>(),
        micros in 0_i64..253_402_300_799_999_999,
        content_type in proptest::option::of(".{0,20}"),
        headers in proptest::collection::btree_map("[a-z-]{1,12}", any::<String>(), 0..4),
        attempt in 0_u32..4,
        payload in payload(),
    ) -> IngestEvent {
        IngestEvent {
            id: EventId::from(id),
            organization: OrganizationId(uuid::Uuid::from_u128(ids.0)),
            datasource: DatasourceId(uuid::Uuid::from_u128(ids.1)),
            received_at: Timestamp::from_timestamp_micros(micros).unwrap(),
            content_type,
            headers,
            attempt,
            replay: None,
            payload,
        }
    }
}

proptest! {
    #[test]
    fn events_come_out_as_they_went_in(events in proptest::collection::vec(event(), 0..6)) {
        let items: Vec<Bytes> = events.iter().map(encode_event).collect();
        let frame = frame(&items, 0);
        prop_assert_eq!(decode_events(&frame).unwrap(), events);
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(decode_events(&Bytes::from(bytes)).is_err());
    }
}

#[test]
fn the_attributes_follow_the_naming_rules() {
    let event = IngestEvent {
        id: EventId::from("e".to_owned()),
        organization: OrganizationId::generate(),
        datasource: DatasourceId::generate(),
        received_at: Timestamp::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
        content_type: Some("application/json".to_owned()),
        headers: BTreeMap::from([("x-github-event".to_owned(), "push \"x\"".to_owned())]),
        attempt: 2,
        replay: None,
        payload: Bytes::from_static(b"{\"a\":1}"),
    };
    let item: BTreeMap<String, Value> = serde_json::from_slice(&encode_event(&event)).unwrap();
    let named = |name: &String| {
        name == "data"
            || (name.len() <= 20 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
    };
    assert!(item.keys().all(named), "{:?}", item.keys());
    assert_eq!(item["specversion"], "1.0");
    assert_eq!(item["time"], "2023-11-14T22:13:20.123456Z");
    assert_eq!(item["source"], format!("/datasources/{}", event.datasource));
    assert_eq!(item["headers"], "{\"x-github-event\":\"push \\\"x\\\"\"}");
    assert_eq!(item["data"]["a"], 1);
}

fn outcome(records: u32) -> EventOutcome {
    let entity = |index: u32| {
        let entity = serde_json::json!({"type": "host", "key": format!("host-{index}")});
        OntologyObject::Entity(serde_json::from_value::<Entity>(entity).unwrap())
    };
    EventOutcome {
        event: EventId::generate(),
        organization: OrganizationId::generate(),
        datasource: DatasourceId::generate(),
        version: 3,
        attempt: 0,
        received_at: Timestamp::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
        replay: None,
        records: (0..records)
            .map(|index| RecordOutcome {
                index,
                verdict: Verdict::Delivered,
                objects: vec![entity(index)],
                failure: None,
            })
            .collect(),
    }
}

#[test]
fn an_outcome_comes_out_as_it_went_in() {
    let outcome = outcome(3);
    let items = outcome.encode(1_000_000).unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(decode_outcomes(&frame(&items, 0)).unwrap(), [outcome]);
}

#[test]
fn a_large_outcome_is_divided_by_its_records() {
    let outcome = outcome(100);
    let items = outcome.encode(2_000).unwrap();
    assert!(items.len() > 1 && items.iter().all(|item| item.len() <= 2_000));
    let parts = decode_outcomes(&frame(&items, 0)).unwrap();
    let records: Vec<_> = parts.into_iter().flat_map(|part| part.records).collect();
    assert_eq!(records, outcome.records);
    assert!(matches!(outcome.encode(100), Err(crate::Error::TooLarge { .. })));
}
