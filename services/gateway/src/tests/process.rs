//! A whole gateway process over a real nats-server, with a registry that answers just what a test needs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use halcyon_bus::{
    Bus, BusSettings, Identity, InstanceKey, RemoteError, Service,
    requests::{
        Empty, GetTokenKeys, ListSecrets, PublicKey, PutSecret, RegistryKey, SealedTokenKey, SealedTokenKeys,
        SecretInfo, SecretList, SecretPut, SecretVersionInfo, TokenKeys,
    },
    rpc::Serving,
};
use halcyon_domain::{
    assignment::{ConfigChange, LogLevel, LogLine},
    audit::AuditEntry,
    clock::{Clock, SystemClock},
    datasource::DatasourceEventKind,
    duration::HumanDuration,
    id::DatasourceId,
};
use halcyon_infra::{Health, Metrics, Mode, Shutdown};
use halcyon_store::{AllTenants, Bootstrapped, FirstAdmin, Store, StoreSettings};
use halcyon_tests::{client::Client, nats::Nats, wait};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use super::support::{ADMIN, config};
use crate::{Context, Settings, auth::test_key, hash_password, run};

pub(super) const SOON: Duration = Duration::from_secs(15);

pub(super) type Secrets = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub(super) async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        connect_timeout: HumanDuration::from_secs(10),
        request_timeout: HumanDuration::from_secs(2),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

fn info(name: &str) -> SecretInfo {
    let at = SystemClock.now();
    SecretInfo {
        name: name.to_owned(),
        versions: vec![SecretVersionInfo {
            version: 1,
            created_at: at,
            created_by: None,
            expires_at: None,
            valid_until: None,
            last_read_at: None,
        }],
    }
}

/// A registry whose key changes once between question and answer, as with several of them.
pub(super) async fn registry(bus: &Bus, secrets: Secrets) -> Serving {
    let serving = bus.serve("registry", "0.0.0", "of a test").await.unwrap();
    let (old, key) = (
        Arc::new(InstanceKey::generate()),
        Arc::new(InstanceKey::generate()),
    );
    let asked = Arc::new(Mutex::new(0));
    let own = key.clone();
    serving
        .endpoint::<PublicKey, _, _>(move |_: Empty, _| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let key = if *asked == 1 { &old } else { &own };
            std::future::ready(Ok(RegistryKey {
                public_key: key.public_key().to_owned(),
            }))
        })
        .await
        .unwrap();
    let (own, kept) = (key.clone(), secrets.clone());
    serving
        .endpoint::<SecretPut, _, _>(move |put: PutSecret, _| {
            let answer = if put.to == own.public_key() {
                let value = own.open(&put.from, &put.value).unwrap();
                kept.lock().unwrap().insert(put.name.clone(), value);
                Ok(info(&put.name))
            } else {
                Err(RemoteError::transient("unknown_key", "sealed for another"))
            };
            std::future::ready(answer)
        })
        .await
        .unwrap();
    serving
        .endpoint::<SecretList, _, _>(move |_: ListSecrets, _| {
            let list = secrets
                .lock()
                .unwrap()
                .keys()
                .map(|name| info(name))
                .collect::<Vec<_>>();
            std::future::ready(Ok(list))
        })
        .await
        .unwrap();
    serving
        .endpoint::<TokenKeys, _, _>(move |get: GetTokenKeys, _| {
            let pair = test_key("one", 1);
            let sealed = SealedTokenKey {
                id: pair.kid,
                public_key: pair.public,
                private_key: pair
                    .private_der
                    .map(|private| key.seal(&get.public_key, &private).unwrap()),
                created_at: SystemClock.now(),
                signs_from: pair.signs_from,
            };
            let keys = SealedTokenKeys {
                from: key.public_key().to_owned(),
                keys: vec![sealed],
            };
            std::future::ready(Ok(keys))
        })
        .await
        .unwrap();
    serving
}

pub(super) struct Process {
    pub(super) nats: Nats,
    pub(super) registry: Bus,
    pub(super) store: Store,
    made: Bootstrapped,
    health: Health,
    pub(super) address: SocketAddr,
    pub(super) shutdown: Shutdown,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Process {
    pub(super) async fn start() -> Self {
        let nats = Nats::start().await.unwrap();
        let registry = connect(&nats, Service::Registry).await;
        registry.ensure_streams(1).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display());
        let store = Store::connect(&StoreSettings {
            url,
            ..StoreSettings::default()
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let password_hash = hash_password(ADMIN.1).unwrap();
        let admin = FirstAdmin {
            email: ADMIN.0.to_owned(),
            name: "Admin".to_owned(),
            password_hash,
        };
        let made = store.bootstrap(&admin, SystemClock.now()).await.unwrap().unwrap();
        let (listening, address) = oneshot::channel();
        let health = Health::new();
        let context = Context {
            bus: connect(&nats, Service::Gateway).await,
            store: store.clone(),
            clock: Arc::new(SystemClock),
            mode: Mode::Development,
            health: health.clone(),
            metrics: Metrics::new().unwrap(),
            listening: Some(listening),
        };
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Settings::default()
        };
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(context, settings, shutdown.clone()));
        let address = address.await.unwrap();
        Self {
            nats,
            registry,
            store,
            made,
            health,
            address,
            shutdown,
            running,
            _folder: folder,
        }
    }

    pub(super) async fn ready(&self) {
        wait::eventually(SOON, || async { self.health.report().ready })
            .await
            .unwrap();
    }

    async fn pending(&self) -> u64 {
        self.store
            .read()
            .outbox()
            .pending(AllTenants::because("a test"))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_gateway_waits_for_its_keys_and_relays_its_changes() {
    let process = Process::start().await;
    let url = format!("http://{}", process.address);
    assert!(!process.health.report().ready, "no signing keys yet");
    let secrets = Secrets::default();
    let _serving = registry(&process.registry, secrets.clone()).await;
    process.ready().await;

    let client = Client::login(&url, ADMIN.0, ADMIN.1).await;
    let body = json!({"name": "EDR", "type": "http_webhook", "config": config("title")});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap();
    client
        .put(
            &format!("/datasources/{id}/secrets/token"),
            json!({"value": "s3cret"}),
        )
        .await
        .expect(200);
    assert_eq!(secrets.lock().unwrap()["token"], b"s3cret");
    client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(200);
    client
        .post(&format!("/datasources/{id}/test"), json!({"payload": {}}))
        .await
        .expect(503);
    assert!(
        client.get(&format!("/datasources/{id}/logs")).await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(
        client.get(&format!("/datasources/{id}/dead-letters")).await["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let mut changes = process.registry.config_consumer();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&DatasourceEventKind::Published) {
        let delivery = tokio::time::timeout(SOON, changes.next()).await.unwrap();
        let change: ConfigChange = delivery.json().unwrap();
        kinds.push(change.cause.unwrap().kind);
        delivery.ack().await.unwrap();
    }
    assert_eq!(
        kinds,
        [DatasourceEventKind::Created, DatasourceEventKind::Published]
    );
    let audit = connect(&process.nats, Service::Audit).await;
    let mut entries = audit.audit_consumer();
    let mut actions = Vec::new();
    while actions.last().map(String::as_str) != Some("datasource.publish") {
        let delivery = tokio::time::timeout(SOON, entries.next()).await.unwrap();
        let entry: AuditEntry = delivery.json().unwrap();
        actions.push(entry.action);
        delivery.ack().await.unwrap();
    }
    assert_eq!(
        actions,
        ["session.login", "datasource.create", "datasource.publish"]
    );
    wait::eventually(SOON, || async { process.pending().await == 0 })
        .await
        .unwrap();

    process.shutdown.trigger();
    tokio::time::timeout(SOON, process.running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_change_survives_a_bus_that_is_gone_for_a_while() {
    let mut process = Process::start().await;
    let secrets = Secrets::default();
    let _serving = registry(&process.registry, secrets).await;
    process.ready().await;
    let client = Client::login(&format!("http://{}", process.address), ADMIN.0, ADMIN.1).await;
    wait::eventually(SOON, || async { process.pending().await == 0 })
        .await
        .unwrap();
    process.nats.kill().unwrap();
    let body = json!({"name": "EDR", "type": "generator"});
    client.post("/datasources", body).await.expect(201);
    assert!(process.pending().await >= 2);
    wait::eventually(SOON, || async { !process.health.report().ready })
        .await
        .unwrap();
    process.nats.restart().await.unwrap();
    wait::eventually(SOON * 2, || async { process.pending().await == 0 })
        .await
        .unwrap();
    process.ready().await;
    process.shutdown.trigger();
    tokio::time::timeout(SOON, process.running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_log_is_followed_as_it_is_written() {
    let process = Process::start().await;
    let _serving = registry(&process.registry, Secrets::default()).await;
    process.ready().await;
    let client = Client::login(&format!("http://{}", process.address), ADMIN.0, ADMIN.1).await;
    let made = client
        .post("/datasources", json!({"name": "EDR", "type": "generator"}))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();
    let token = client.token();
    let mut stream = TcpStream::connect(process.address).await.unwrap();
    let request = format!(
        "GET /api/v1/datasources/{id}/logs?level=warn HTTP/1.1\r\nhost: localhost\r\n\
         accept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let line = |level, message: &str| LogLine {
        organization: process.made.organization,
        datasource: id.parse::<DatasourceId>().unwrap(),
        at: SystemClock.now(),
        level,
        component: "worker".to_owned(),
        message: message.to_owned(),
        correlation_id: None,
    };
    let read = async {
        let mut bytes = [0; 4096];
        // The head of the answer comes first: then the log is being followed.
        while !text.contains("text/event-stream") {
            let count = stream.read(&mut bytes).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        for (level, message) in [(LogLevel::Info, "quiet"), (LogLevel::Warn, "loud")] {
            process.registry.publish_log(&line(level, message)).await.unwrap();
        }
        while !text.contains("loud") {
            let count = stream.read(&mut bytes).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap();
    assert!(
        text.contains("event:log") || text.contains("event: log"),
        "{text}"
    );
    assert!(!text.contains("quiet"));
    process.shutdown.trigger();
}
