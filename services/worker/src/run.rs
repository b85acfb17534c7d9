//! A worker from its start to its end.

use std::{path::PathBuf, sync::Arc, time::Duration};

use halcyon_bus::{Bus, InstanceKey, LeaseHolder, LeaseRecord, subjects::lease_keys};
use halcyon_domain::{
    assignment::WorkerMember,
    clock::Clock,
    config::is_label,
    id::{InstanceId, WorkerId},
};
use halcyon_egress::Guard;
use halcyon_infra::{Check, Health, Metric, Metrics, Shutdown};

use crate::{Settings, board::Board, heartbeat, pull::secrets::Opener, supervisor::Supervisor};

/// How long to wait for the streams, which the registry makes, before looking again.
const STREAMS: Duration = Duration::from_secs(30);
/// How often readiness is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a worker works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to the hosts that datasources name.
    pub guard: Guard,
    /// Where its checks are shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
    /// The `halcyon` executable, to map events in a process of their own that killed the worker's. Without it they
    /// are mapped in this one.
    pub executable: Option<PathBuf>,
}

/// Runs a worker until `shutdown` is triggered and the work in flight is done.
///
/// # Errors
/// The bus refuses the worker's registration.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let Context {
        bus,
        clock,
        guard,
        health,
        metrics,
        executable,
    } = ctx;
    let mut labels = std::iter::once(&settings.pool).chain(&settings.labels);
    if let Some(label) = labels.find(|label| !is_label(label)) {
        anyhow::bail!("`{label}` cannot be a worker's pool or label");
    }
    let check = health.check("worker.bus");
    if shutdown.unless_triggered(streams(&bus)).await.is_none() {
        return Ok(());
    }
    let (worker, instance, key) = (
        WorkerId::generate(),
        InstanceId::generate(),
        InstanceKey::generate(),
    );
    let registration = bus.register_instance(instance, &key).await?;
    let mut member = WorkerMember {
        worker,
        instance,
        pool: settings.pool.clone(),
        labels: settings.labels.clone(),
        started_at: clock.now(),
        draining: false,
        session: 0,
    };
    let record = LeaseRecord {
        holder: worker.to_string(),
        session: 1,
        info: serde_json::to_value(&member)?,
    };
    let lease = bus
        .leases(settings.lease.get())
        .hold(&lease_keys::worker(worker), record);
    let drain = settings.drain.get();
    let board = Arc::new(Board::new(bus.clone(), clock, guard, settings, executable));
    let mut supervisor = Supervisor::new(
        board.clone(),
        worker,
        instance,
        Opener::new(bus.clone(), instance, key),
    );
    let telling = tokio::spawn(heartbeat::tell(board.clone(), worker, instance, metrics.clone()));
    let capturing = tokio::spawn({
        let board = board.clone();
        async move { board.captures.follow(&board.bus).await }
    });
    tokio::select! {
        () = shutdown.triggered() => {}
        () = supervisor.follow() => {}
        () = follow_lease(&board, &lease) => {}
        () = watch(&bus, &lease, &check, &metrics) => {}
    }

    // Whoever takes over should know before the work stops here.
    member.draining = true;
    lease.set_info(serde_json::to_value(&member)?);
    supervisor.stop(drain).await;
    telling.abort();
    capturing.abort();
    lease.release().await;
    drop(registration);
    tracing::info!(worker.id = %worker, "the worker is down");
    Ok(())
}

/// Lets sources run only while the lease is held, whatever else is going on.
async fn follow_lease(board: &Board, lease: &LeaseHolder) {
    loop {
        lease.held().await;
        board.leased.send_replace(Some(lease.session()));
        lease.lost().await;
        board.leased.send_replace(None);
    }
}

async fn streams(bus: &Bus) {
    while let Err(error) = bus.wait_for_streams(STREAMS).await {
        tracing::warn!(error = %error, "the worker waits for the streams");
    }
}

/// Keeps the worker's readiness and its view of the bus.
async fn watch(bus: &Bus, lease: &LeaseHolder, check: &Check, metrics: &Metrics) {
    let mut interval = tokio::time::interval(LOOK);
    let mut recreated = 0;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = lease.held(), if !lease.is_held() => {}
        }
        if !bus.is_connected() {
            check.failing("not connected");
        } else if lease.is_held() {
            check.ready();
        } else {
            check.failing("the lease is not held");
        }
        let now = bus.stats().consumers_recreated;
        metrics.add(Metric::ConsumersRecreated, now.saturating_sub(recreated), &[]);
        recreated = now;
    }
}
