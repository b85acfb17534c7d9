//! A server, a worker, and the parts of the other services.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use halcyon_bus::{
    Bus, BusSettings, FramePublishers, Identity, KvMirror, LeaseRecord, Service, heartbeats::Heartbeats,
};
use halcyon_domain::{
    assignment::{AssignedVersion, Assignment, PartitionAssignment, TaskStatus, WorkerMember},
    clock::{Clock, SystemClock},
    duration::HumanDuration,
    event::{EventId, EventOutcome, IngestEvent},
    id::{DatasourceId, OrganizationId, WorkerId},
    lifecycle::DesiredState,
    partition::{PoolPartitions, partition_of},
};
use halcyon_egress::{Guard, Policy};
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_tests::nats::Nats;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{Context, Settings, run};

/// How long anything may take that must happen.
pub(super) const SOON: Duration = Duration::from_secs(20);
pub(super) const PARTITIONS: u16 = 2;
/// The partition of the pool `edge`.
pub(super) const EDGE: u16 = 10;

/// An event of a datasource.
pub(crate) fn event(datasource: DatasourceId, id: &str, payload: &str) -> IngestEvent {
    IngestEvent {
        id: EventId::from(id.to_owned()),
        organization: OrganizationId(uuid::Uuid::from_u128(1)),
        datasource,
        received_at: SystemClock.now(),
        content_type: None,
        headers: BTreeMap::new(),
        attempt: 0,
        replay: None,
        payload: payload.to_owned().into(),
    }
}

/// Fails if it takes too long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes too long")
}

/// A version whose alerts carry `title`.
pub(crate) fn version(number: u32, title: &str) -> AssignedVersion {
    let config = json!({"connection": {"auth": {"type": "none"}}, "mapping": mapping(title)});
    AssignedVersion { number, config }
}

pub(super) fn mapping(title: &str) -> Value {
    json!({"outputs": [{"kind": "alert", "fields": {
        "external_id": "id", "title": {"value": title}, "time": {"value": 0}}}]})
}

pub(super) fn broken(number: u32) -> AssignedVersion {
    let mut version = version(number, "x");
    version.config["mapping"]["outputs"][0]["fields"]["title"] = json!("nope(");
    version
}

pub(crate) fn push(wanted: AssignedVersion, generation: i64) -> Assignment {
    Assignment {
        datasource: DatasourceId::generate(),
        organization: OrganizationId(uuid::Uuid::from_u128(1)),
        connector: "http_webhook".to_owned(),
        generation,
        desired: DesiredState::Running,
        instances: Vec::new(),
        wanted,
        last_good: None,
        accepted: 0,
        secrets_revision: 0,
        backfill: None,
    }
}

/// A worker under way.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Worker {
    pub(super) async fn stop(self) {
        self.shutdown.trigger();
        soon(self.task).await.unwrap().unwrap();
    }

    /// Ends it as a kill would.
    pub(super) fn kill(self) {
        self.task.abort();
    }
}

/// The system around a worker.
pub(crate) struct Rig {
    nats: Nats,
    pub(crate) bus: Bus,
    pub(super) publishers: FramePublishers<IngestEvent>,
    leases: KvMirror<LeaseRecord>,
    settings: Settings,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let nats = Nats::start().await.unwrap();
        let bus = connect(&nats, Service::Registry).await;
        bus.ensure_streams(1).await.unwrap();
        let settings = Settings {
            lease: HumanDuration::from_secs(3),
            park_after: HumanDuration::from_millis(500),
            ..Settings::default()
        };
        let leases = bus.leases(settings.lease.get()).watch();
        Self {
            publishers: bus.ingest_publishers(),
            leases,
            nats,
            bus,
            settings,
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Starts a worker and waits for its lease.
    pub(super) async fn worker(&self) -> Worker {
        let mut leases = self.leases.clone();
        let known: Vec<WorkerId> = self.members().iter().map(|member| member.worker).collect();
        let shutdown = Shutdown::new();
        let context = Context {
            bus: connect(&self.nats, Service::Worker).await,
            clock: Arc::new(SystemClock),
            guard: Guard::new(Policy::default().with_loopback()),
            health: Health::new(),
            metrics: Metrics::new().unwrap(),
            executable: None,
        };
        let task = tokio::spawn(run(context, self.settings.clone(), shutdown.clone()));
        let id = soon(async {
            loop {
                if let Some(new) = self
                    .members()
                    .iter()
                    .find(|member| !known.contains(&member.worker))
                {
                    return new.worker;
                }
                leases.changed().await;
            }
        });
        Worker {
            id: id.await,
            shutdown,
            task,
        }
    }

    fn members(&self) -> Vec<WorkerMember> {
        let leases = self.leases.snapshot();
        leases
            .values()
            .filter_map(|entry| entry.value.info::<WorkerMember>().ok())
            .collect()
    }

    /// Kills nats and starts it again; what was in memory only is made anew, as the registry does.
    pub(super) async fn restart_nats(&mut self) {
        self.nats.restart().await.unwrap();
        self.bus.ensure_streams(1).await.unwrap();
    }

    /// Takes away where the positions of sources are kept.
    pub(super) async fn lose_checkpoints(&self) {
        let client = self.nats.client().await.unwrap();
        let deleted = client
            .request("$JS.API.STREAM.DELETE.KV_CHECKPOINTS", "".into())
            .await
            .unwrap();
        assert!(String::from_utf8_lossy(&deleted.payload).contains("\"success\":true"));
    }

    /// Gives all partitions to a worker.
    pub(super) async fn hold(&self, worker: Option<WorkerId>) {
        for partition in 0..PARTITIONS {
            self.hold_one(partition, worker).await;
        }
    }

    /// Gives one partition to a worker.
    pub(super) async fn hold_one(&self, partition: u16, worker: Option<WorkerId>) {
        let held = PartitionAssignment {
            partition,
            worker,
            epoch: 1,
        };
        self.bus
            .partition_assignments()
            .put(&partition.to_string(), &held)
            .await
            .unwrap();
    }

    pub(super) async fn assign(&self, assignment: &Assignment) {
        self.bus
            .assignments()
            .put(&assignment.datasource.to_string(), assignment)
            .await
            .unwrap();
    }

    /// Accepts an event.
    pub(super) async fn accept(&self, datasource: DatasourceId, id: &str, payload: &str) {
        let partition = partition_of(datasource, 0, PARTITIONS);
        self.publishers
            .submit(partition, &event(datasource, id, payload), None)
            .await
            .unwrap();
    }

    pub(super) async fn accept_many(&self, datasource: DatasourceId, ids: std::ops::Range<u32>) {
        let accept = ids.map(|id| async move {
            let payload = format!("{{\"id\": {id}}}");
            self.accept(datasource, &format!("{datasource}-{id}"), &payload)
                .await;
        });
        futures::future::join_all(accept).await;
    }

    pub(super) fn outcomes(&self) -> Outcomes {
        Outcomes {
            consumer: self.bus.ontology_consumer(),
            seen: Vec::new(),
        }
    }

    /// Waits for what a worker says of a datasource until it is as wanted.
    pub(super) async fn told(
        &self,
        datasource: DatasourceId,
        wanted: impl Fn(&TaskStatus) -> bool,
    ) -> TaskStatus {
        let mut heartbeats = self.bus.heartbeats().await.unwrap();
        soon(Self::hear(&mut heartbeats, datasource, wanted)).await
    }

    async fn hear(
        heartbeats: &mut Heartbeats,
        datasource: DatasourceId,
        wanted: impl Fn(&TaskStatus) -> bool,
    ) -> TaskStatus {
        loop {
            let heartbeat = heartbeats.next().await.unwrap();
            let status = heartbeat
                .tasks
                .into_iter()
                .find(|task| task.datasource == datasource);
            if let Some(status) = status.filter(&wanted) {
                return status;
            }
        }
    }
}

async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        partitions: PARTITIONS,
        pools: BTreeMap::from([(
            "edge".to_owned(),
            PoolPartitions {
                first: EDGE,
                count: 1,
            },
        )]),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

/// What comes out, as the ontology service would read it.
pub(super) struct Outcomes {
    consumer: halcyon_bus::Consumer,
    pub(super) seen: Vec<EventOutcome>,
}

impl Outcomes {
    /// Reads until there are outcomes of `count` different events.
    pub(super) async fn until(&mut self, count: usize) -> &[EventOutcome] {
        soon(async {
            while self.events().len() < count {
                for delivery in self.consumer.next_batch(16).await {
                    self.seen.extend(delivery.outcomes().unwrap());
                    delivery.ack().await.unwrap();
                }
            }
        })
        .await;
        &self.seen
    }

    pub(super) fn events(&self) -> std::collections::BTreeSet<EventId> {
        self.seen.iter().map(|outcome| outcome.event.clone()).collect()
    }
}
