//! A server, connections to it and things to send.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use halcyon_domain::{
    clock::Timestamp,
    event::{EventId, EventOutcome, IngestEvent, RecordOutcome, Verdict},
    id::{DatasourceId, OrganizationId},
};
use halcyon_tests::nats::Nats;

use crate::{Bus, BusSettings, Identity, Service};

/// How long anything may take that must happen.
pub(super) const SOON: Duration = Duration::from_secs(15);

/// A server without users, with all streams.
pub(super) async fn server() -> (Nats, Bus) {
    let nats = Nats::start().await.unwrap();
    let bus = connect(&nats, Service::Registry).await;
    bus.ensure_streams(1).await.unwrap();
    (nats, bus)
}

pub(super) async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        partitions: 4,
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

/// Fails if it takes too long.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes too long")
}

/// Waits for a condition.
pub(super) async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    halcyon_tests::wait::eventually(SOON, condition).await.unwrap();
}

pub(super) fn now() -> Timestamp {
    use halcyon_domain::clock::{Clock, SystemClock};
    SystemClock.now()
}

pub(super) fn event(datasource: DatasourceId, body: &str) -> IngestEvent {
    IngestEvent {
        id: EventId::generate(),
        organization: OrganizationId(uuid::Uuid::from_u128(1)),
        datasource,
        received_at: now(),
        content_type: Some("application/json".to_owned()),
        headers: BTreeMap::new(),
        attempt: 0,
        replay: None,
        payload: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub(super) fn outcome(event: &IngestEvent) -> EventOutcome {
    let filtered = RecordOutcome {
        index: 0,
        verdict: Verdict::Filtered,
        objects: Vec::new(),
        failure: None,
    };
    EventOutcome {
        event: event.id.clone(),
        organization: event.organization,
        datasource: event.datasource,
        version: 1,
        attempt: 0,
        received_at: event.received_at,
        replay: None,
        records: vec![filtered],
    }
}
