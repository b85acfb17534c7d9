//! The service over a real nats-server and both databases.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use halcyon_bus::{Bus, BusSettings, Identity, Service};
use halcyon_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, CheckpointKind, Resource},
    clock::{Clock, ManualClock, Timestamp},
    duration::HumanDuration,
    id::{AuditEntryId, OrganizationId},
};
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_store::{Retention, Store, StoreSettings, Tenant};
use halcyon_tests::{nats::Nats, postgres::Postgres, wait};
use halcyon_trail::{Options, Progress, SigningKeys, verify};

use crate::{Context, Settings, append::append, prune::prune, run, sign::sign};

const SOON: Duration = Duration::from_secs(20);

/// What a test works with.
struct Bench {
    ctx: Context,
    clock: ManualClock,
    keys: SigningKeys,
    key_file: PathBuf,
    nats: Nats,
    settings: StoreSettings,
    organization: OrganizationId,
    _folder: tempfile::TempDir,
    _server: Option<Postgres>,
}

fn begin() -> Timestamp {
    "2026-01-15T12:00:00Z".parse().unwrap()
}

async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        connect_timeout: HumanDuration::from_secs(10),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

impl Bench {
    async fn new(postgres: bool) -> Self {
        let nats = Nats::start().await.unwrap();
        connect(&nats, Service::Registry)
            .await
            .ensure_streams(1)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = if postgres {
            Some(Postgres::start().await.unwrap())
        } else {
            None
        };
        let url = match &server {
            Some(server) => server.database().await.unwrap(),
            None => format!("sqlite://{}/audit.db?mode=rwc", folder.path().display()),
        };
        let settings = StoreSettings {
            url,
            retention: Retention {
                audit: Some(HumanDuration::from_secs(60 * 24 * 3_600)),
                ..Retention::default()
            },
            ..StoreSettings::default()
        };
        let store = Store::connect(&settings).await.unwrap();
        store.migrate().await.unwrap();
        let clock = ManualClock::at(begin());
        store.maintain(clock.now()).await.unwrap();
        let key_file = folder.path().join("audit.key");
        SigningKeys::create_file(&key_file, &folder.path().join("audit.pub")).unwrap();
        Self {
            ctx: Context {
                bus: connect(&nats, Service::Audit).await,
                store,
                clock: Arc::new(clock.clone()),
                health: Health::new(),
                metrics: Metrics::new().unwrap(),
            },
            clock,
            keys: SigningKeys::read_file(&key_file).unwrap(),
            key_file,
            nats,
            settings,
            organization: OrganizationId::generate(),
            _folder: folder,
            _server: server,
        }
    }

    fn tenant(&self) -> Tenant {
        Tenant(self.organization)
    }

    fn entry(&self) -> AuditEntry {
        AuditEntry {
            id: AuditEntryId::generate(),
            organization: self.organization,
            at: self.clock.now(),
            actor: Actor {
                kind: ActorKind::System,
                id: None,
                name: "test".into(),
            },
            action: "datasource.publish".into(),
            resource: Resource {
                kind: "datasource".into(),
                id: None,
                name: None,
            },
            version: Some(1),
            outcome: AuditOutcome::Succeeded,
            diff: None,
            summary: None,
            request_id: None,
            remote_ip: None,
        }
    }

    async fn append(&self, count: usize) {
        let entries = (0..count).map(|_| self.entry()).collect();
        let added = append(&self.ctx.store, entries, self.clock.now()).await.unwrap();
        assert_eq!(added.len(), count);
    }

    async fn verified(&self) -> Progress {
        let outside = self.ctx.bus.last_checkpoint(self.organization).await.unwrap();
        let options = Options {
            outside: outside.into_iter().collect(),
            ..Options::default()
        };
        verify(&self.ctx.store, self.tenant(), self.keys.trusted(), options)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_redelivery_adds_nothing_and_chains_are_apart() {
    let bench = Bench::new(false).await;
    let other = OrganizationId::generate();
    let entries: Vec<_> = (0..7)
        .map(|n| AuditEntry {
            organization: if n % 3 == 0 { other } else { bench.organization },
            ..bench.entry()
        })
        .collect();
    let store = &bench.ctx.store;
    let now = bench.clock.now();
    assert_eq!(append(store, entries.clone(), now).await.unwrap().len(), 7);
    assert_eq!(append(store, entries, now).await.unwrap().len(), 0);
    // A clock that is set back does not set the chain's times back.
    let earlier = now - TimeDelta::days(3);
    assert_eq!(
        append(store, vec![bench.entry()], earlier).await.unwrap()[0].recorded_at,
        now
    );
    for (organization, length) in [(bench.organization, 5), (other, 3)] {
        sign(&bench.ctx, &bench.keys, organization).await.unwrap();
        let found = verify(
            store,
            Tenant(organization),
            bench.keys.trusted(),
            Options::default(),
        );
        let report = found.await.unwrap().report;
        assert_eq!(
            (report.fault, report.entries, report.confirmed),
            (None, length, length)
        );
    }
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_written_without_its_diff() {
    let bench = Bench::new(false).await;
    let mut entry = bench.entry();
    entry.diff = Some(serde_json::Value::String("x".repeat(10 * 1024 * 1024)));
    bench.ctx.bus.publish_audit(&entry).await.unwrap();
    let mut consumer = bench.ctx.bus.audit_consumer();
    let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
    let arrived: AuditEntry = delivery.json().unwrap();
    assert_eq!(arrived.diff.unwrap()["truncated"], true);
    let added = append(&bench.ctx.store, vec![entry], bench.clock.now())
        .await
        .unwrap();
    assert_eq!(added[0].entry.diff.as_ref().unwrap()["truncated"], true);
}

async fn what_is_past_its_time_goes_behind_a_signed_cut(postgres: bool) {
    let bench = Bench::new(postgres).await;
    bench.append(5).await;
    sign(&bench.ctx, &bench.keys, bench.organization).await.unwrap();
    bench.clock.advance(TimeDelta::days(30));
    bench.append(4).await;
    sign(&bench.ctx, &bench.keys, bench.organization).await.unwrap();
    assert!(
        !prune(&bench.ctx, &bench.keys).await.unwrap(),
        "nothing is old enough yet"
    );
    assert_eq!(bench.verified().await.report.entries, 9);

    // January goes once all of it is sixty days old.
    bench.clock.advance(TimeDelta::days(75 - 30));
    bench.ctx.store.maintain(bench.clock.now()).await.unwrap();
    assert!(
        !prune(&bench.ctx, &bench.keys).await.unwrap(),
        "a month goes whole"
    );
    bench.clock.advance(TimeDelta::days(10));
    assert!(prune(&bench.ctx, &bench.keys).await.unwrap());
    let read = bench.ctx.store.read();
    let left = read.audit().chain(bench.tenant(), 0, 100).await.unwrap();
    let numbers: Vec<_> = left.iter().map(|row| row.link.sequence).collect();
    assert_eq!(numbers, [6, 7, 8, 9, 10]);
    let said = left.last().unwrap().link.entry().unwrap();
    assert_eq!(
        (said.action.as_str(), said.actor.kind),
        ("audit.prune", ActorKind::System)
    );
    let report = bench.verified().await.report;
    assert_eq!((report.fault, report.entries, report.confirmed), (None, 5, 10));
    let cut = read
        .audit_checkpoints()
        .newest(bench.tenant(), CheckpointKind::Cut)
        .await
        .unwrap();
    assert_eq!((cut.as_ref().unwrap().sequence, cut.unwrap().number), (5, 1));

    // All of it goes, but for what says so; then it grows on.
    bench.clock.advance(TimeDelta::days(300));
    bench.ctx.store.maintain(bench.clock.now()).await.unwrap();
    assert!(prune(&bench.ctx, &bench.keys).await.unwrap());
    bench.append(2).await;
    sign(&bench.ctx, &bench.keys, bench.organization).await.unwrap();
    let report = bench.verified().await.report;
    assert_eq!((report.fault, report.entries, report.last), (None, 3, 13));
    assert!(!prune(&bench.ctx, &bench.keys).await.unwrap());
    assert_eq!(bench.verified().await.report.fault, None);
}

#[tokio::test]
async fn what_is_past_its_time_goes_on_sqlite() {
    what_is_past_its_time_goes_behind_a_signed_cut(false).await;
}

#[tokio::test]
async fn what_is_past_its_time_goes_on_postgres() {
    what_is_past_its_time_goes_behind_a_signed_cut(true).await;
}

#[tokio::test]
async fn entries_become_known_and_are_confirmed_while_the_service_runs() {
    let bench = Bench::new(false).await;
    let organization = bench.organization;
    let listener = connect(&bench.nats, Service::Gateway).await;
    let mut recorded = listener.recorded_entries(organization).await.unwrap();
    let settings = Settings {
        key_file: bench.key_file.clone(),
        checkpoint_entries: 3,
        checkpoint_interval: HumanDuration::from_secs(3_600),
        ..Settings::default()
    };
    let shutdown = Shutdown::new();
    let context = Context {
        bus: bench.ctx.bus.clone(),
        store: Store::connect(&bench.settings).await.unwrap(),
        clock: bench.ctx.clock.clone(),
        health: Health::new(),
        metrics: Metrics::new().unwrap(),
    };
    let running = tokio::spawn(run(context, settings, shutdown.clone()));
    let sent: Vec<_> = (0..5).map(|_| bench.entry()).collect();
    for entry in &sent {
        listener.publish_audit(entry).await.unwrap();
    }
    for (entry, sequence) in sent.iter().zip(1..) {
        let told = tokio::time::timeout(SOON, recorded.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((told.sequence, &told.entry), (sequence, entry));
    }
    let confirmed = async || {
        let last = bench.ctx.bus.last_checkpoint(organization).await.unwrap();
        last.map_or(0, |checkpoint| checkpoint.sequence)
    };
    wait::eventually(SOON, || async { confirmed().await >= 3 })
        .await
        .unwrap();
    shutdown.trigger();
    tokio::time::timeout(SOON, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(confirmed().await, 5, "the last entries are confirmed at the end");
    let report = bench.verified().await.report;
    assert_eq!((report.fault, report.entries), (None, 5));
}

/// Somebody who can write to the database, and to nothing else, cuts the tail with its checkpoints.
#[tokio::test]
async fn the_bus_remembers_what_was_cut_from_the_database() {
    let bench = Bench::new(false).await;
    bench.append(3).await;
    sign(&bench.ctx, &bench.keys, bench.organization).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("older.db");
    let source = bench
        .settings
        .url
        .trim_start_matches("sqlite://")
        .trim_end_matches("?mode=rwc")
        .to_owned();
    bench.ctx.store.close().await.unwrap();
    std::fs::copy(&source, &file).unwrap();
    let store = Store::connect(&bench.settings).await.unwrap();
    let later = Context {
        store,
        bus: bench.ctx.bus.clone(),
        clock: bench.ctx.clock.clone(),
        health: Health::new(),
        metrics: Metrics::new().unwrap(),
    };
    append(
        &later.store,
        vec![bench.entry(), bench.entry()],
        bench.clock.now(),
    )
    .await
    .unwrap();
    sign(&later, &bench.keys, bench.organization).await.unwrap();
    let older = StoreSettings {
        url: format!("sqlite://{}", file.display()),
        ..bench.settings.clone()
    };
    let older = Store::connect(&older).await.unwrap();
    let alone = verify(&older, bench.tenant(), bench.keys.trusted(), Options::default())
        .await
        .unwrap();
    assert_eq!(alone.report.fault, None, "by itself it looks whole");
    let outside = bench.ctx.bus.last_checkpoint(bench.organization).await.unwrap();
    let options = Options {
        outside: outside.into_iter().collect(),
        ..Options::default()
    };
    let fault = verify(&older, bench.tenant(), bench.keys.trusted(), options)
        .await
        .unwrap()
        .report
        .fault;
    assert_eq!(
        fault.map(|fault| (fault.sequence, fault.through)),
        Some((4, Some(5)))
    );
}
