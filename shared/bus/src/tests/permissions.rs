//! The rendered configuration on a real server: each service can do its work, and nothing else.

use std::{collections::HashMap, time::Duration};

use futures::{FutureExt, StreamExt};
use halcyon_domain::{
    assignment::PartitionAssignment,
    capture::{Capture, Captured},
    event::IngestEvent,
    id::{CaptureId, DatasourceId, InstanceId},
};
use halcyon_tests::{nats::Nats, ports};

use super::support::{event, eventually, outcome, soon};
use crate::{
    Bus, BusSettings, Durability, Error, Identity, InstanceKey, LeaseRecord, RemoteError, Service,
    dead_letters::Place,
    requests::{Empty, PublicKey, RegistryKey, RunTest},
    server::{ServerParams, server_config},
};

struct Secured {
    nats: Nats,
    buses: HashMap<Service, Bus>,
}

impl Secured {
    async fn start() -> Self {
        let identities = Service::ALL.map(Identity::generate);
        let users = identities
            .iter()
            .map(|id| (id.service(), id.public_key().unwrap()))
            .collect();
        let monitor = ports::free();
        let nats = Nats::start_with(|port, store| {
            let listen = format!("127.0.0.1:{port}").parse().unwrap();
            let mut params = ServerParams::new(listen, store.to_owned(), users, "look-only".into());
            params.auditor_password = Some("audit-only".into());
            params.monitor = Some(format!("127.0.0.1:{monitor}").parse().unwrap());
            server_config(&params).unwrap()
        })
        .await
        .unwrap();
        let settings = BusSettings {
            url: nats.url(),
            partitions: 4,
            monitor_url: Some(format!("http://127.0.0.1:{monitor}")),
            ack_timeout: halcyon_domain::duration::HumanDuration::from_millis(500),
            publish_deadline: halcyon_domain::duration::HumanDuration::from_millis(1_000),
            ..BusSettings::default()
        };
        let mut buses = HashMap::new();
        for identity in &identities {
            buses.insert(
                identity.service(),
                Bus::connect(&settings, identity).await.unwrap(),
            );
        }
        buses[&Service::Registry].ensure_streams(1).await.unwrap();
        Self { nats, buses }
    }

    fn bus(&self, service: Service) -> &Bus {
        &self.buses[&service]
    }
}

#[tokio::test]
async fn every_service_can_do_its_work() {
    let secured = Secured::start().await;
    let gateway = secured.bus(Service::Gateway);
    assert_eq!(gateway.durability().await.unwrap(), Durability::SyncAlways);
    everybody_works(&secured.buses).await;
}

/// What each service does on the bus, with nothing but its own permissions.
pub(super) async fn everybody_works(buses: &HashMap<Service, Bus>) {
    let [gateway, registry, worker] =
        [Service::Gateway, Service::Registry, Service::Worker].map(|service| &buses[&service]);
    for bus in buses.values() {
        bus.wait_for_streams(Duration::from_secs(5)).await.unwrap();
        bus.rtt().await.unwrap();
    }
    let sent = event(DatasourceId::generate(), "{}");
    gateway.ingest_publishers().submit(1, &sent, None).await.unwrap();
    let delivery = soon(worker.ingest_consumer(1).next()).await;
    assert_eq!(delivery.events().unwrap(), std::slice::from_ref(&sent));
    worker
        .outcome_publishers()
        .submit(1, &outcome(&sent), None)
        .await
        .unwrap();
    worker.park(1, &sent).await.unwrap();
    let parked = worker.parked(1, sent.datasource, 1).await.unwrap();
    worker
        .unpark_through(1, sent.datasource, parked[0].sequence)
        .await
        .unwrap();
    let mut pokes = worker.replay_pokes(1).await.unwrap();
    worker.rtt().await.unwrap();
    gateway
        .replay(1, sent.datasource, std::slice::from_ref(&sent), None)
        .await
        .unwrap();
    soon(pokes.next()).await;
    assert_eq!(worker.replaying(1).await.unwrap(), [sent.datasource]);
    let frame = worker.next_replay(1, sent.datasource, 1).await.unwrap().unwrap();
    worker
        .replayed_through(1, sent.datasource, frame.sequence)
        .await
        .unwrap();
    gateway
        .dead_letters_at(sent.organization, sent.datasource, Place::Before(u64::MAX), 1)
        .await
        .unwrap();
    gateway
        .dead_letter_count(sent.organization, sent.datasource)
        .await
        .unwrap();
    everybody_captures(gateway, worker, &sent).await;
    delivery.ack().await.unwrap();
    let ontology = &buses[&Service::Ontology];
    soon(ontology.ontology_consumer().next())
        .await
        .ack()
        .await
        .unwrap();

    let assignment = PartitionAssignment {
        partition: 1,
        worker: None,
        epoch: 1,
    };
    registry
        .partition_assignments()
        .put("1", &assignment)
        .await
        .unwrap();
    assert_eq!(registry.partition_assignments().entries().await.unwrap().len(), 1);
    let mirror = worker.partition_assignments().mirror();
    soon(mirror.ready()).await;
    assert_eq!(mirror.get("1").unwrap().value, assignment);
    let routes = gateway.routes().mirror();
    soon(routes.ready()).await;
    let record = |holder: &str| LeaseRecord {
        holder: holder.to_owned(),
        session: 1,
        info: serde_json::Value::Null,
    };
    let leases = |bus: &Bus| bus.leases(Duration::from_secs(5));
    soon(leases(gateway).hold("outbox-relay", record("g")).held()).await;
    soon(leases(registry).hold("registry-leader", record("r")).held()).await;
    soon(leases(worker).hold("worker.1", record("w")).held()).await;
    registry
        .trim_ingest(&crate::trim::TrimPolicy::default(), sent.received_at)
        .await
        .unwrap();
}

#[tokio::test]
async fn questions_are_answered_across_identities() {
    let secured = Secured::start().await;
    let serving = secured
        .bus(Service::Registry)
        .serve("registry", "0.1.0", "x")
        .await
        .unwrap();
    serving
        .endpoint::<PublicKey, _, _>(|_, _| async {
            Ok(RegistryKey {
                public_key: "X".to_owned(),
            })
        })
        .await
        .unwrap();
    let runner = secured
        .bus(Service::TestRunner)
        .serve("testrunner", "0.1.0", "x")
        .await
        .unwrap();
    runner
        .endpoint::<RunTest, _, _>(|_, _| async { Err(RemoteError::new("x", "x")) })
        .await
        .unwrap();
    secured.bus(Service::Registry).rtt().await.unwrap();
    let gateway = secured.bus(Service::Gateway);
    assert_eq!(
        gateway
            .call::<PublicKey>(&Empty {}, Duration::from_secs(5))
            .await
            .unwrap()
            .public_key,
        "X"
    );
    let key = InstanceKey::generate();
    let instance = InstanceId::generate();
    let _registration = gateway.register_instance(instance, &key).await.unwrap();
    let found = secured
        .bus(Service::Registry)
        .instance_key(Service::Gateway, instance)
        .await
        .unwrap();
    assert_eq!(found.as_deref(), Some(key.public_key()));
}

#[tokio::test]
async fn a_worker_can_neither_command_nor_listen() {
    let secured = Secured::start().await;
    let worker = secured.bus(Service::Worker);
    let gateway = secured.bus(Service::Gateway);
    let change = serde_json::from_value(serde_json::json!({
        "datasource": DatasourceId::generate(),
        "organization": halcyon_domain::id::OrganizationId::generate(),
        "generation": 1
    }))
    .unwrap();
    let refused = worker
        .publish_config_change(halcyon_domain::id::OutboxId::generate(), &change)
        .await;
    assert!(matches!(refused, Err(Error::Timeout(_))), "{refused:?}");
    let assignment = PartitionAssignment {
        partition: 1,
        worker: None,
        epoch: 1,
    };
    assert!(
        worker
            .partition_assignments()
            .put("1", &assignment)
            .await
            .is_err()
    );
    // The key of another service's process cannot be forged.
    let forged = InstanceId::generate();
    let record = crate::instances::InstanceRecord {
        public_key: "X".to_owned(),
    };
    let bucket = crate::Bucket::new(worker, crate::subjects::BucketName::Instances, "");
    assert!(bucket.put(&format!("gateway.{forged}"), &record).await.is_err());
    assert!(worker.ensure_streams(1).await.is_err());

    // Another service's inbox stays silent, also by a wildcard.
    let mut spied = worker.client().subscribe("_INBOX_gateway.>").await.unwrap();
    let mut all = worker.client().subscribe(">").await.unwrap();
    worker.rtt().await.unwrap();
    gateway.rtt().await.unwrap();
    worker.rtt().await.unwrap();
    assert!(spied.next().now_or_never().flatten().is_none());
    assert!(all.next().now_or_never().flatten().is_none());
}

#[tokio::test]
async fn the_subscriber_sees_objects_only() {
    let secured = Secured::start().await;
    let client = async_nats::ConnectOptions::with_user_and_password("subscriber".into(), "look-only".into())
        .custom_inbox_prefix("_INBOX_subscriber")
        .connect(secured.nats.url())
        .await
        .unwrap();
    let mut objects = client.subscribe("halcyon.>").await.unwrap();
    let mut all = client.subscribe("hc.>").await.unwrap();
    client.publish("halcyon.forged", "x".into()).await.unwrap();
    client.flush().await.unwrap();
    let ontology = secured.bus(Service::Ontology);
    // The subscription is in place once the server has answered something that was sent after it.
    let published = async {
        loop {
            ontology
                .client()
                .publish("halcyon.o.d.alert", "real".into())
                .await
                .unwrap();
            ontology.rtt().await.unwrap();
            if let Some(message) = objects.next().now_or_never().flatten() {
                return message;
            }
        }
    };
    assert_eq!(soon(published).await.payload, "real");
    assert!(all.next().now_or_never().flatten().is_none());
}

#[tokio::test]
async fn the_audit_trail_is_for_the_auditor_only() {
    let secured = Secured::start().await;
    let connect = async |user: &str, password: &str| {
        async_nats::ConnectOptions::with_user_and_password(user.into(), password.into())
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .connect(secured.nats.url())
            .await
            .unwrap()
    };
    let subscriber = connect("subscriber", "look-only").await;
    let auditor = connect("auditor", "audit-only").await;
    let mut seen = subscriber.subscribe("halcyon.>").await.unwrap();
    let mut entries = auditor.subscribe("halcyon.*.audit").await.unwrap();
    let mut checkpoints = auditor.subscribe("halcyon.*.audit-checkpoint").await.unwrap();
    let mut objects = auditor.subscribe("halcyon.*.*.alert").await.unwrap();
    for client in [&subscriber, &auditor] {
        client.flush().await.unwrap();
    }
    let audit = secured.bus(Service::Audit).client();
    // Each subscription is in place once something comes.
    let publish = async || loop {
        audit.publish("halcyon.o.audit", "entry".into()).await.unwrap();
        audit
            .publish("halcyon.o.audit-checkpoint", "point".into())
            .await
            .unwrap();
        audit.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for (subscription, expected) in [
        (&mut entries, "entry"),
        (&mut checkpoints, "point"),
        // And not the entry.
        (&mut seen, "point"),
    ] {
        let first = soon(async {
            tokio::select! {
                () = publish() => None,
                message = subscription.next() => message,
            }
        });
        assert_eq!(first.await.unwrap().payload, expected);
    }
    let ontology = secured.bus(Service::Ontology);
    ontology
        .client()
        .publish("halcyon.o.d.alert", "real".into())
        .await
        .unwrap();
    ontology.rtt().await.unwrap();
    assert!(objects.next().now_or_never().flatten().is_none());
}

#[tokio::test]
async fn a_stranger_is_not_let_in() {
    let secured = Secured::start().await;
    let settings = BusSettings {
        url: secured.nats.url(),
        connect_timeout: halcyon_domain::duration::HumanDuration::from_millis(100),
        ..BusSettings::default()
    };
    for stranger in [
        Identity::generate(Service::Registry),
        Identity::from_url(Service::Registry),
    ] {
        assert!(Bus::connect(&settings, &stranger).await.is_err());
    }
}

/// A capture from its begin to its first record.
async fn everybody_captures(gateway: &Bus, worker: &Bus, sent: &IngestEvent) {
    let capture: Capture = serde_json::from_value(serde_json::json!({
        "id": CaptureId::generate(), "organization": sent.organization, "datasource": sent.datasource,
        "point": "raw", "count": 1, "until": sent.received_at, "started_at": sent.received_at,
        "started_by": {"kind": "system", "name": "a test"},
    }))
    .unwrap();
    let mirror = worker.captures().mirror();
    soon(mirror.ready()).await;
    gateway.put_capture(&capture).await.unwrap();
    eventually(|| async { mirror.len() == 1 }).await;
    let of = gateway.captures_of(sent.organization, sent.datasource).await;
    assert_eq!(of.unwrap(), std::slice::from_ref(&capture));
    let captured = Captured {
        capture: capture.id,
        organization: sent.organization,
        datasource: sent.datasource,
        event: sent.id.clone(),
        version: 1,
        content_type: None,
        payload: "{}".to_owned(),
    };
    worker.publish_captured(&captured).await.unwrap();
    worker.publish_captured(&captured).await.unwrap();
    let delivery = soon(gateway.captured_consumer().next()).await;
    assert_eq!(delivery.json::<Captured>().unwrap(), captured);
    delivery.ack().await.unwrap();
    let found = gateway
        .capture(sent.organization, sent.datasource, capture.id)
        .await
        .unwrap();
    assert_eq!(found, Some(capture));
}
