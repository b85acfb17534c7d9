//! What tests work with: a database, a nats-server with the real permissions, and registries on them.

use std::{path::Path, sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_bus::{
    Bus, BusSettings, Identity, InstanceKey, LeaseHolder, LeaseRecord, Service,
    requests::{OnBehalf, PublicKey, SecretChange, SecretPut},
    server::{ServerParams, server_config},
    subjects::lease_keys,
};
use halcyon_domain::{
    assignment::{ChangeCause, ConfigChange, DEFAULT_POOL, WorkerMember},
    audit::{Actor, ActorKind},
    backfill::{Backfill, BackfillProgress, BackfillStatus},
    clock::{Clock, SystemClock, Timestamp},
    datasource::{DEFAULT_ENV, Datasource, DatasourceEventKind},
    duration::HumanDuration,
    id::{BackfillId, DatasourceId, InstanceId, OrganizationId, OutboxId, VersionId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
    version::Version,
};
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_secrets::Keyring;
use halcyon_store::{FirstAdmin, Store, StoreSettings, Tenant};
use halcyon_tests::{nats::Nats, wait};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{Context, Settings, run, secrets::Keeper};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const CALL: Duration = Duration::from_secs(5);

/// A database with one organisation, and a key file.
pub(crate) struct Database {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    pub(crate) organization: OrganizationId,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("halcyon.db").display());
        let store = Store::connect(&StoreSettings {
            url,
            ..StoreSettings::default()
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let admin = FirstAdmin {
            email: "a@example.org".into(),
            name: "a".into(),
            password_hash: "x".into(),
        };
        let made = store.bootstrap(&admin, now()).await.unwrap().unwrap();
        Keyring::create_file(&folder.path().join("kek")).unwrap();
        Self {
            folder,
            store,
            organization: made.organization,
        }
    }

    /// What keeps its secrets, with a clock of the caller's.
    pub(crate) fn keeper(&self, clock: Arc<dyn Clock>) -> Keeper {
        let settings = Settings {
            kek_file: self.folder.path().join("kek"),
            ..Settings::default()
        };
        Keeper::new(&settings, self.store.clone(), clock).unwrap()
    }

    /// An active datasource with version 1 in effect.
    pub(crate) async fn publish(&self, connector: &str, connection: Value) -> Datasource {
        let at = now();
        let id = DatasourceId::generate();
        let config = json!({"connection": connection});
        let draft = Version::new(VersionId::generate(), id, 1, config, None, None, at);
        let datasource = Datasource {
            id,
            organization: self.organization,
            project: None,
            name: id.to_string(),
            connector: connector.to_owned(),
            description: None,
            tags: Vec::new(),
            owner: None,
            env: DEFAULT_ENV.to_owned(),
            status: DatasourceStatus::Active,
            desired_state: DesiredState::Running,
            current_version: Some(1),
            draft_version: None,
            generation: 1,
            revision: 1,
            created_at: at,
            created_by: None,
            updated_at: at,
            updated_by: None,
        };
        let tenant = Tenant(self.organization);
        let tx = self.store.begin().await.unwrap();
        tx.datasources().insert(&datasource).await.unwrap();
        tx.versions()
            .insert(tenant, draft.publish(None, None, at).record())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        datasource
    }

    /// Changes a datasource as an action of a user would.
    pub(crate) async fn change(&self, id: DatasourceId, change: impl FnOnce(&mut Datasource)) -> Datasource {
        let tenant = Tenant(self.organization);
        let tx = self.store.begin().await.unwrap();
        let mut datasource = tx.datasources().lock(tenant, id).await.unwrap().unwrap();
        change(&mut datasource);
        datasource.generation += 1;
        let datasource = tx.datasources().update(&datasource).await.unwrap();
        tx.commit().await.unwrap();
        datasource
    }
}

impl Database {
    /// Asks for a backfill by version 1 of a datasource.
    pub(crate) async fn ask_for_backfill(&self, datasource: &Datasource) -> BackfillId {
        let job = Backfill {
            id: BackfillId::generate(),
            organization: datasource.organization,
            datasource: datasource.id,
            version: 1,
            from: now() - TimeDelta::hours(2),
            to: now() - TimeDelta::hours(1),
            records_per_second: None,
            comment: None,
            status: BackfillStatus::Queued,
            progress: BackfillProgress::default(),
            message: None,
            worker: None,
            created_by: by().actor,
            created_at: now(),
            started_at: None,
            finished_at: None,
            revision: 1,
        };
        let tx = self.store.begin().await.unwrap();
        tx.backfills().insert(&job).await.unwrap();
        tx.commit().await.unwrap();
        job.id
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn by() -> OnBehalf {
    let actor = Actor {
        kind: ActorKind::User,
        id: Some(uuid::Uuid::from_u128(7)),
        name: "ada".to_owned(),
    };
    OnBehalf {
        actor,
        request_id: Some("request".to_owned()),
        remote_ip: None,
    }
}

/// A database, a nats-server, and registries on them.
pub(crate) struct System {
    pub(crate) database: Database,
    nats: Nats,
    identities: Vec<Identity>,
}

/// A registry that runs.
pub(crate) struct Registry {
    pub(crate) health: Health,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Registry {
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
    }

    /// As if its process had been killed.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

impl System {
    pub(crate) async fn start() -> Self {
        let identities: Vec<_> = Service::ALL.map(Identity::generate).into();
        let users = identities
            .iter()
            .map(|one| (one.service(), one.public_key().unwrap()))
            .collect();
        let config = |port, store: &Path| {
            let listen = ([127, 0, 0, 1], port).into();
            server_config(&ServerParams::new(
                listen,
                store.to_owned(),
                users,
                "password".into(),
            ))
            .unwrap()
        };
        let nats = Nats::start_with(config).await.unwrap();
        Self {
            database: Database::new().await,
            nats,
            identities,
        }
    }

    /// A connection of a service of its own.
    pub(crate) async fn connect(&self, service: Service) -> Bus {
        let settings = BusSettings {
            url: self.nats.url(),
            partitions: 4,
            ..BusSettings::default()
        };
        let identity = self
            .identities
            .iter()
            .find(|identity| identity.service() == service)
            .unwrap();
        Bus::connect(&settings, identity).await.unwrap()
    }

    /// Starts a registry and waits until one leads.
    pub(crate) async fn registry(&self) -> Registry {
        let bus = self.connect(Service::Registry).await;
        let health = Health::new();
        let shutdown = Shutdown::new();
        let context = Context {
            bus,
            store: self.database.store.clone(),
            clock: Arc::new(SystemClock),
            health: health.clone(),
            metrics: Metrics::new().unwrap(),
        };
        let settings = Settings {
            kek_file: self.database.folder.path().join("kek"),
            leader_lease: HumanDuration::from_secs(2),
            reconcile_interval: HumanDuration::from_secs(2),
            heartbeat_write_interval: HumanDuration::from_secs(1),
            ..Settings::default()
        };
        let task = tokio::spawn(run(context, settings, shutdown.clone()));
        let registry = Registry {
            health,
            shutdown,
            task,
        };
        let ready = || async {
            let report = registry.health.report();
            report.ready && report.checks.contains_key("registry.leader")
        };
        wait::eventually(DEADLINE, ready).await.unwrap();
        registry
    }

    /// A process of a service, with its registered key.
    pub(crate) async fn process(&self, service: Service) -> Process {
        let bus = self.connect(service).await;
        let (instance, key) = (InstanceId::generate(), InstanceKey::generate());
        let registration = bus.register_instance(instance, &key).await.unwrap();
        Process {
            bus,
            instance,
            key,
            _registration: registration,
        }
    }

    /// Publishes a notice as the outbox relay would.
    pub(crate) async fn notify(&self, bus: &Bus, datasource: &Datasource, kind: DatasourceEventKind) {
        let cause = ChangeCause {
            kind,
            at: now(),
            actor: Some("ada".to_owned()),
            version: datasource.current_version,
            message: kind.to_string(),
        };
        let change = ConfigChange {
            datasource: datasource.id,
            organization: datasource.organization,
            generation: datasource.generation,
            cause: Some(cause),
        };
        bus.publish_config_change(OutboxId::generate(), &change)
            .await
            .unwrap();
    }
}

/// A process of a service.
pub(crate) struct Process {
    pub(crate) bus: Bus,
    pub(crate) instance: InstanceId,
    pub(crate) key: InstanceKey,
    _registration: halcyon_bus::instances::InstanceRegistration,
}

impl Process {
    /// Says that it is a worker that can be given work.
    pub(crate) async fn hold_worker_lease(&self) -> LeaseHolder {
        let worker = WorkerId::generate();
        let member = WorkerMember {
            worker,
            instance: self.instance,
            pool: DEFAULT_POOL.to_owned(),
            labels: [].into(),
            started_at: now(),
            draining: false,
            session: 1,
        };
        let record = LeaseRecord {
            holder: worker.to_string(),
            session: 1,
            info: serde_json::to_value(member).unwrap(),
        };
        let lease = self
            .bus
            .leases(Duration::from_secs(5))
            .hold(&lease_keys::worker(worker), record);
        lease.held().await;
        lease
    }

    /// Writes a secret as a gateway does.
    pub(crate) async fn put_secret(&self, datasource: &Datasource, name: &str, value: &str) {
        let to = self
            .bus
            .call::<PublicKey>(&halcyon_bus::requests::Empty {}, CALL)
            .await
            .unwrap()
            .public_key;
        let request = halcyon_bus::requests::PutSecret {
            organization: datasource.organization,
            datasource: datasource.id,
            name: name.to_owned(),
            from: self.key.public_key().to_owned(),
            value: self.key.seal(&to, value.as_bytes()).unwrap(),
            to,
            expires_at: None,
            change: SecretChange::Replace,
            by: by(),
        };
        self.bus.call::<SecretPut>(&request, CALL).await.unwrap();
    }
}
