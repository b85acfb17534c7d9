//! The control plane over a real bus: notices become assignments and routes, heartbeats become states.

use halcyon_bus::{
    Bus, LeaseHolder, LeaseRecord, Service,
    subjects::{LEADER_TERM, lease_keys},
};
use halcyon_domain::{
    assignment::{DEFAULT_POOL, Heartbeat, LeaderTerm, PartitionAssignment, TaskStatus, WorkerMember},
    datasource::{Datasource, DatasourceEventKind, DatasourceMetrics, DatasourceState},
    id::{InstanceId, WorkerId},
    lifecycle::{DatasourceStatus, Reason, RuntimeStatus},
};
use halcyon_store::{EventFilter, PageRequest, Tenant};
use halcyon_tests::wait;
use serde_json::json;

use crate::fixture::{DEADLINE, Registry, System, now};

/// A worker that does nothing but live.
pub(super) struct Worker {
    pub(super) bus: Bus,
    pub(super) id: WorkerId,
    member: WorkerMember,
    lease: LeaseHolder,
}

impl Worker {
    pub(super) async fn start(system: &System) -> Self {
        let bus = system.connect(Service::Worker).await;
        let id = WorkerId::generate();
        let member = WorkerMember {
            worker: id,
            instance: InstanceId::generate(),
            pool: DEFAULT_POOL.to_owned(),
            labels: [].into(),
            started_at: now(),
            draining: false,
            session: 1,
        };
        let info = serde_json::to_value(&member).unwrap();
        let leases = bus.leases(std::time::Duration::from_secs(2));
        let lease = leases.hold(
            &lease_keys::worker(id),
            LeaseRecord {
                holder: id.to_string(),
                session: 1,
                info,
            },
        );
        lease.held().await;
        Self {
            bus,
            id,
            member,
            lease,
        }
    }

    async fn report(&self, datasource: &Datasource, status: RuntimeStatus) {
        self.say(vec![self.task(datasource, status)], false).await;
    }

    pub(super) fn task(&self, datasource: &Datasource, status: RuntimeStatus) -> TaskStatus {
        TaskStatus {
            datasource: datasource.id,
            generation: datasource.generation,
            version: datasource.current_version,
            status,
            reason: Reason::AsDesired,
            message: None,
            restarts: 0,
            next_attempt_at: None,
            last_event_at: None,
            drift: Vec::new(),
            schedule: None,
            backfill: None,
            metrics: DatasourceMetrics {
                events: 5,
                ..DatasourceMetrics::default()
            },
        }
    }

    pub(super) async fn say(&self, tasks: Vec<TaskStatus>, draining: bool) {
        let heartbeat = Heartbeat {
            worker: self.id,
            instance: self.member.instance,
            at: now(),
            tasks,
            sources: Vec::new(),
            reached: 0,
            draining,
            partitions: Vec::new(),
        };
        self.bus.publish_heartbeat(&heartbeat).await.unwrap();
    }
}

async fn holders(bus: &Bus) -> Vec<Option<WorkerId>> {
    let mut holders = Vec::new();
    for (partition, _) in bus.partitions().all() {
        let entry = bus
            .partition_assignments()
            .get(&partition.to_string())
            .await
            .unwrap();
        holders.push(entry.and_then(|entry| entry.value.worker));
    }
    holders
}

async fn state(system: &System, datasource: &Datasource) -> DatasourceState {
    let read = system.database.store.read();
    let found = read
        .states()
        .find(Tenant(datasource.organization), datasource.id)
        .await
        .unwrap();
    found.map(|record| record.state).unwrap_or_default()
}

pub(super) async fn history(system: &System, datasource: &Datasource) -> Vec<DatasourceEventKind> {
    let read = system.database.store.read();
    let tenant = Tenant(datasource.organization);
    let (filter, request) = (EventFilter::default(), PageRequest::default());
    let page = read
        .datasource_events()
        .list(tenant, datasource.id, &filter, &request)
        .await;
    let mut kinds: Vec<_> = page.unwrap().items.into_iter().map(|event| event.kind).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn a_notice_becomes_a_route_and_an_assignment_and_a_heartbeat_a_state() {
    let system = System::start().await;
    let registry = system.registry().await;
    let (gateway, worker) = (
        system.connect(Service::Gateway).await,
        Worker::start(&system).await,
    );
    let held = || async {
        holders(&worker.bus)
            .await
            .iter()
            .all(|holder| *holder == Some(worker.id))
    };
    wait::eventually(DEADLINE, held).await.unwrap();

    let source = system.database.publish("generator", json!({})).await;
    system
        .notify(&gateway, &source, DatasourceEventKind::Published)
        .await;
    let key = source.id.to_string();
    let assigned = || async {
        let entry = worker.bus.assignments().get(&key).await.unwrap();
        entry.is_some_and(|entry| entry.value.instance_of(worker.id).is_some())
    };
    wait::eventually(DEADLINE, assigned).await.unwrap();

    let runs = || async {
        worker.report(&source, RuntimeStatus::Running).await;
        let state = state(&system, &source).await;
        state.status == RuntimeStatus::Running
            && state.observed_generation == 1
            && state.last_good_version == Some(1)
    };
    wait::eventually(DEADLINE, runs).await.unwrap();
    use DatasourceEventKind::{Deleted, Disabled, Published, StateChanged, VersionRunning};
    assert_eq!(
        history(&system, &source).await,
        [Published, StateChanged, StateChanged, VersionRunning]
    );

    let disabled = system
        .database
        .change(source.id, |source| source.status = DatasourceStatus::Disabled)
        .await;
    system.notify(&gateway, &disabled, Disabled).await;
    let stopped = || async {
        worker.report(&disabled, RuntimeStatus::Stopped).await;
        let state = state(&system, &disabled).await;
        (state.status, state.reason) == (RuntimeStatus::Stopped, Reason::StoppedByUser)
    };
    wait::eventually(DEADLINE, stopped).await.unwrap();
    let route = gateway.routes().get(&key).await.unwrap().unwrap().value;
    assert!(!route.status.accepts_events());

    let tx = system.database.store.begin().await.unwrap();
    tx.datasources().delete(&disabled, now()).await.unwrap();
    tx.commit().await.unwrap();
    system.notify(&gateway, &disabled, Deleted).await;
    let gone = || async { gateway.routes().get(&key).await.unwrap().is_none() };
    wait::eventually(DEADLINE, gone).await.unwrap();
    assert!(worker.bus.assignments().get(&key).await.unwrap().is_none());
    worker.lease.release().await;
    registry.stop().await;
}

#[tokio::test]
async fn a_written_secret_makes_gateways_fetch_again() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let feed = system.database.publish("http_webhook", json!({})).await;
    system
        .notify(&gateway, &feed, DatasourceEventKind::Published)
        .await;
    let revision = || async {
        let route = gateway.routes().get(&feed.id.to_string()).await.unwrap();
        route.map(|route| route.value.secrets_revision)
    };
    wait::eventually(DEADLINE, || async { revision().await == Some(0) })
        .await
        .unwrap();
    system
        .notify(&gateway, &feed, DatasourceEventKind::SecretChanged)
        .await;
    wait::eventually(DEADLINE, || async { revision().await == Some(1) })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rotated_secret_makes_the_worker_of_a_source_open_it_again() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let worker = Worker::start(&system).await;
    let source = system.database.publish("generator", json!({})).await;
    system
        .notify(&gateway, &source, DatasourceEventKind::Published)
        .await;
    let revision = || async {
        let assigned = worker.bus.assignments().get(&source.id.to_string()).await;
        assigned.unwrap().map(|entry| entry.value.secrets_revision)
    };
    wait::eventually(DEADLINE, || async { revision().await == Some(0) })
        .await
        .unwrap();
    for (kind, expected) in [
        (DatasourceEventKind::SecretChanged, 1),
        (DatasourceEventKind::SecretExpired, 2),
    ] {
        system.notify(&gateway, &source, kind).await;
        wait::eventually(DEADLINE, || async { revision().await == Some(expected) })
            .await
            .unwrap();
    }
    worker.lease.release().await;
}

#[tokio::test]
async fn only_an_accept_raises_what_is_accepted_and_another_registry_keeps_it() {
    let system = System::start().await;
    let mut registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let worker = system.connect(Service::Worker).await;
    let mut feed = system.database.publish("http_webhook", json!({})).await;
    for (written, kind, generation, accepted) in [
        (1, DatasourceEventKind::Published, 1, 0),
        (2, DatasourceEventKind::SchemaAccepted, 5, 5),
        (3, DatasourceEventKind::RestartRequested, 6, 5),
    ] {
        feed.generation = generation;
        system.notify(&gateway, &feed, kind).await;
        // Comes after it, and can be seen.
        system
            .notify(&gateway, &feed, DatasourceEventKind::SecretChanged)
            .await;
        let key = feed.id.to_string();
        let is_taken_in = || async {
            let route = gateway.routes().get(&key).await.unwrap();
            route.is_some_and(|route| route.value.secrets_revision == written)
        };
        wait::eventually(DEADLINE, is_taken_in).await.unwrap();
        let as_expected = || async {
            let assigned = worker.assignments().get(&key).await.unwrap();
            assigned.is_some_and(|entry| entry.value.accepted == accepted)
        };
        wait::eventually(DEADLINE, as_expected).await.unwrap();
        registry.stop().await;
        registry = system.registry().await;
    }
    registry.stop().await;
}

#[tokio::test]
async fn another_registry_takes_over_and_work_goes_on() {
    let system = System::start().await;
    let first = system.registry().await;
    let second = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    first.kill();
    let feed = system.database.publish("http_webhook", json!({})).await;
    system
        .notify(&gateway, &feed, DatasourceEventKind::Published)
        .await;
    let routed = || async {
        gateway
            .routes()
            .get(&feed.id.to_string())
            .await
            .unwrap()
            .is_some()
    };
    wait::eventually(DEADLINE, routed).await.unwrap();
    let third: Registry = system.registry().await;
    second.stop().await;
    let other = system.database.publish("http_webhook", json!({})).await;
    system
        .notify(&gateway, &other, DatasourceEventKind::Published)
        .await;
    let routed = || async {
        gateway
            .routes()
            .get(&other.id.to_string())
            .await
            .unwrap()
            .is_some()
    };
    wait::eventually(DEADLINE, routed).await.unwrap();
    third.stop().await;
}

#[tokio::test]
async fn a_notice_that_was_lost_and_a_write_that_was_not_the_leaders_are_repaired() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let worker = Worker::start(&system).await;
    let bus = system.connect(Service::Registry).await;
    let all_held = || async {
        let held = holders(&bus).await;
        held.iter().all(|holder| *holder == Some(worker.id))
    };
    wait::eventually(DEADLINE, all_held).await.unwrap();
    let feed = system.database.publish("http_webhook", json!({})).await;
    let routed = || async { bus.routes().get(&feed.id.to_string()).await.unwrap().is_some() };
    wait::eventually(DEADLINE, routed).await.unwrap();

    let held = bus.partition_assignments().get("0").await.unwrap().unwrap().value;
    let stolen = PartitionAssignment {
        worker: None,
        epoch: held.epoch + 1,
        ..held
    };
    bus.partition_assignments().put("0", &stolen).await.unwrap();
    wait::eventually(DEADLINE, all_held).await.unwrap();
    let repaired = bus.partition_assignments().get("0").await.unwrap().unwrap().value;
    assert!(repaired.epoch > stolen.epoch);
    worker.lease.release().await;
}

#[tokio::test]
async fn a_leader_that_was_replaced_finds_out_and_writes_nothing_over_its_successor() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let bus = system.connect(Service::Registry).await;
    let term = async || bus.leader_terms().get(LEADER_TERM).await.unwrap().unwrap().value;
    let raised = LeaderTerm {
        term: term().await.term + 100,
        holder: InstanceId::generate(),
    };
    bus.leader_terms().put(LEADER_TERM, &raised).await.unwrap();
    // It steps down and, as nobody else is there, is elected anew: above the term that it found.
    wait::eventually(DEADLINE, || async { term().await.term > raised.term })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_worker_that_leaves_hands_its_source_over_before_its_lease_ends() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let first = Worker::start(&system).await;
    let source = system.database.publish("generator", json!({})).await;
    system
        .notify(&gateway, &source, DatasourceEventKind::Published)
        .await;
    let instance = async || {
        let entry = first.bus.assignments().get(&source.id.to_string()).await.unwrap();
        entry.map(|entry| entry.value.instances[0]).unwrap_or_default()
    };
    wait::eventually(DEADLINE, || async { instance().await.worker == Some(first.id) })
        .await
        .unwrap();
    let second = Worker::start(&system).await;
    let mut member: WorkerMember = first.member.clone();
    member.draining = true;
    first.lease.set_info(serde_json::to_value(&member).unwrap());
    wait::eventually(DEADLINE, || async { instance().await.leaving == Some(first.id) })
        .await
        .unwrap();
    first.say(Vec::new(), true).await;
    wait::eventually(DEADLINE, || async { instance().await.worker == Some(second.id) })
        .await
        .unwrap();
    assert!(first.lease.is_held());
    first.lease.release().await;
    second.lease.release().await;
}

#[tokio::test]
async fn a_lost_workers_work_goes_to_another() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let first = Worker::start(&system).await;
    let source = system.database.publish("generator", json!({})).await;
    system
        .notify(&gateway, &source, DatasourceEventKind::Published)
        .await;
    let key = source.id.to_string();
    let reader = system.connect(Service::Worker).await;
    let at = async |worker: WorkerId| {
        let entry = reader.assignments().get(&key).await.unwrap();
        entry
            .and_then(|entry| entry.value.instance_of(worker))
            .map(|(_, instance)| instance.epoch)
    };
    wait::eventually(DEADLINE, || async { at(first.id).await.is_some() })
        .await
        .unwrap();
    let before = at(first.id).await;
    drop(first);
    let second = Worker::start(&system).await;
    wait::eventually(DEADLINE, || async { at(second.id).await > before })
        .await
        .unwrap();
}
