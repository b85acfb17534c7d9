//! A registry from its start to its end.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use halcyon_bus::{Bus, InstanceKey, KvMirror, LeaseRecord, subjects::lease_keys::REGISTRY_LEADER};
use halcyon_domain::{clock::Clock, id::InstanceId};
use halcyon_infra::{Check, Health, Metrics, Shutdown};
use halcyon_store::Store;

use crate::{
    Settings,
    checkpoints::Checkpoints,
    leader,
    secrets::{Keeper, Secrets},
};

/// How often readiness is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a registry works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its checks are shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
}

/// What the parts of a running registry share.
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    pub(crate) instance: InstanceId,
    /// All leases: workers, and who leads.
    pub(crate) leases: KvMirror<LeaseRecord>,
    /// The secrets.
    pub(crate) keeper: Arc<Keeper>,
}

/// Runs a registry until `shutdown` is triggered and what is under way is done.
///
/// # Errors
/// The key file is of no use, or the bus refuses the streams.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let checks = Checks::new(&ctx.health);
    let keeper = Keeper::new(&settings, ctx.store.clone(), ctx.clock.clone());
    let keeper = Arc::new(keeper.context("the key-encryption keys cannot be read")?);
    let Some(()) = shutdown.unless_triggered(streams(&ctx.bus)).await.transpose()? else {
        return Ok(());
    };
    let instance = InstanceId::generate();
    let key = InstanceKey::generate();
    let registration = ctx.bus.register_instance(instance, &key).await?;
    let leases = ctx.bus.leases(settings.worker_lease.get()).watch();
    let Context {
        bus,
        store,
        clock,
        metrics,
        ..
    } = ctx;
    let shared = Arc::new(Shared {
        bus,
        store,
        clock,
        metrics,
        settings,
        instance,
        leases,
        keeper,
    });

    let secrets = Secrets::new(shared.clone(), key);
    let serving = secrets.serve().await?;
    Checkpoints(shared.clone()).serve(&serving).await?;
    tracing::info!(registry.instance = %instance, "the registry is up");
    tokio::select! {
        () = leader::stand(&shared, &shutdown) => {}
        () = checks.watch(&shared) => {}
        () = secrets.keep_token_keys() => {}
        () = shared.bus.keep_streams(shared.bus.replicas()) => {}
    }
    serving.stop().await;
    drop(registration);
    tracing::info!(registry.instance = %instance, "the registry is down");
    Ok(())
}

/// Makes the streams and buckets, and waits for the bus to be able to.
async fn streams(bus: &Bus) -> Result<(), halcyon_bus::Error> {
    loop {
        match bus.ensure_streams(bus.replicas()).await {
            Err(error) if error.is_unavailable() => {
                tracing::warn!(error = %error, "the streams cannot be made yet");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            result => return result,
        }
    }
}

/// The registry's readiness.
struct Checks {
    bus: Check,
    database: Check,
    leader: Check,
}

impl Checks {
    fn new(health: &Health) -> Self {
        Self {
            bus: health.check("registry.bus"),
            database: health.check("registry.database"),
            leader: health.check("registry.leader"),
        }
    }

    /// Looks from time to time, and when a lease comes or goes.
    async fn watch(&self, shared: &Shared) {
        let mut leases = shared.leases.clone();
        let mut interval = tokio::time::interval(LOOK);
        loop {
            self.look(shared).await;
            tokio::select! {
                _ = interval.tick() => {}
                () = leases.changed() => {}
            }
        }
    }

    async fn look(&self, shared: &Shared) {
        if shared.bus.is_connected() {
            self.bus.ready();
        } else {
            self.bus.failing("not connected");
        }
        match shared.store.ping().await {
            Ok(()) => self.database.ready(),
            Err(error) => self.database.failing(error.to_string()),
        }
        match shared.leases.get(REGISTRY_LEADER) {
            Some(entry) => self.leader.ready_with(format!("led by {}", entry.value.holder)),
            None => self.leader.failing("no registry leads"),
        }
    }
}
