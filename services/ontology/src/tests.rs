//! The service over a real nats and a real database that goes away in between.

use std::{sync::Arc, time::Duration};

use halcyon_bus::{Bus, BusSettings, Identity, Service};
use halcyon_domain::{
    clock::{Clock, SystemClock},
    duration::HumanDuration,
    event::{EventId, EventOutcome, RecordOutcome, Verdict},
    id::{DatasourceId, OrganizationId},
    ontology::{Entity, ObjectKind, OntologyObject},
};
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_store::{AllTenants, EntityFilter, PageRequest, Store, StoreSettings, StoredObject, Tenant};
use halcyon_tests::{nats::Nats, postgres::Postgres, wait};

use crate::{Context, Settings, run};

const SOON: Duration = Duration::from_secs(30);

async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        partitions: 2,
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

async fn store(server: &Postgres) -> Store {
    let settings = StoreSettings {
        url: server.database().await.unwrap(),
        acquire_timeout: HumanDuration::from_millis(500),
        ..StoreSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// An event that tells of one host.
fn outcome(organization: OrganizationId, datasource: DatasourceId, n: u32) -> EventOutcome {
    let host = Entity {
        kind: "host".into(),
        key: format!("h{}", n % 3),
        name: None,
        time: None,
        attributes: [(format!("n{n}"), n.into())].into_iter().collect(),
    };
    EventOutcome {
        event: EventId::from(format!("event-{n}")),
        organization,
        datasource,
        version: 1,
        attempt: 0,
        received_at: SystemClock.now(),
        replay: None,
        records: vec![RecordOutcome {
            index: 0,
            verdict: Verdict::Delivered,
            objects: vec![OntologyObject::Entity(host)],
            failure: None,
        }],
    }
}

async fn hosts(store: &Store, organization: OrganizationId) -> Vec<StoredObject> {
    let read = store.read();
    let (filter, request) = (EntityFilter::default(), PageRequest::default());
    let page = read
        .ontology()
        .entities(Tenant(organization), &filter, &request)
        .await;
    page.map(|page| page.items).unwrap_or_default()
}

async fn delivered(store: &Store, datasource: DatasourceId) -> u64 {
    let why = AllTenants::because("a test");
    store
        .read()
        .ontology()
        .verdicts(why, datasource, Verdict::Delivered)
        .await
        .unwrap_or_default()
}

/// The service under way.
struct Running {
    health: Health,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(nats: &Nats, store: &Store) -> Self {
        let health = Health::new();
        let ctx = Context {
            bus: connect(nats, Service::Ontology).await,
            store: store.clone(),
            clock: Arc::new(SystemClock),
            health: health.clone(),
            metrics: Metrics::new().unwrap(),
        };
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(ctx, Settings::default(), shutdown.clone()));
        Self {
            health,
            shutdown,
            task,
        }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(SOON, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_applied_is_kept_and_holds_up_no_other() {
    let (nats, server) = (Nats::start().await.unwrap(), Postgres::start().await.unwrap());
    let registry = connect(&nats, Service::Registry).await;
    registry.ensure_streams(1).await.unwrap();
    let store = store(&server).await;
    let (organization, datasource) = (OrganizationId::generate(), DatasourceId::generate());
    let client = nats.client().await.unwrap();
    client
        .publish("hc.ontology.0", "no frame of this release".into())
        .await
        .unwrap();
    client.flush().await.unwrap();
    let running = Running::start(&nats, &store).await;
    let publishers = registry.outcome_publishers();
    let mut outcomes: Vec<_> = (0..6).map(|n| outcome(organization, datasource, n)).collect();
    // The database takes no such text.
    outcomes[3].event = EventId::from("event-\0".to_owned());
    let submit = outcomes.iter().map(|outcome| publishers.submit(0, outcome, None));
    futures::future::try_join_all(submit).await.unwrap();
    wait::eventually(SOON, async || delivered(&store, datasource).await == 5)
        .await
        .unwrap();
    let kept = async || {
        let answer = client.request("$JS.API.STREAM.INFO.ONTOLOGY", "".into()).await;
        let info: serde_json::Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
        info["state"]["messages"] == 2
    };
    wait::eventually(SOON, kept).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn outcomes_are_applied_once_while_the_database_comes_and_goes() {
    let (nats, server) = (Nats::start().await.unwrap(), Postgres::start().await.unwrap());
    let registry = connect(&nats, Service::Registry).await;
    registry.ensure_streams(1).await.unwrap();
    let store = store(&server).await;
    let (organization, datasource) = (OrganizationId::generate(), DatasourceId::generate());
    let mut objects = registry
        .objects(organization, None, Some(ObjectKind::Entity))
        .await
        .unwrap();
    let running = Running::start(&nats, &store).await;
    let health = running.health.clone();

    let publishers = registry.outcome_publishers();
    let publish = async |events: std::ops::Range<u32>| {
        for n in events {
            let outcome = outcome(organization, datasource, n);
            publishers
                .submit(u16::from(n % 2 == 0), &outcome, None)
                .await
                .unwrap();
        }
    };
    publish(0..10).await;
    wait::eventually(SOON, async || delivered(&store, datasource).await == 10)
        .await
        .unwrap();
    let published = tokio::time::timeout(SOON, objects.next()).await.unwrap().unwrap();
    assert_eq!((published.datasource, published.version), (datasource, 1));

    server.kill().unwrap();
    // Half of them are copies of what was applied before.
    publish(5..20).await;
    wait::eventually(SOON, async || !health.report().ready)
        .await
        .unwrap();
    server.resume().await.unwrap();
    wait::eventually(SOON, async || delivered(&store, datasource).await == 20)
        .await
        .unwrap();
    wait::eventually(SOON, async || health.report().ready)
        .await
        .unwrap();
    let hosts = hosts(&store, organization).await;
    assert_eq!(hosts.len(), 3);
    assert_eq!(hosts.iter().map(|host| host.revision).sum::<i64>(), 20);

    running.stop().await;
}
