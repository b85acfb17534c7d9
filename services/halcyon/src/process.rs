//! Runs a service: with parts of its own as a process, or with shared ones inside `halcyon up`.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use halcyon_bus::{Bus, Identity, Service};
use halcyon_domain::clock::{Clock, SystemClock};
use halcyon_infra::{Check, Health, Metrics, Shutdown, listener, telemetry};
use halcyon_store::Store;
use tokio::sync::oneshot;

use crate::{production, settings::Settings};

/// What services in one process share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    /// Nothing for services that must not touch the database.
    pub(crate) store: Option<Store>,
}

/// Runs one service as a process until SIGTERM or SIGINT.
pub(crate) async fn run(service: Service, settings: Settings) -> Result<()> {
    let _telemetry = telemetry::init(&settings.telemetry, service.as_str())?;
    production::check(&settings)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let store = match service {
        Service::Worker | Service::TestRunner => None,
        _ => Some(Store::connect(&settings.database).await.context("database")?),
    };
    let parts = Parts {
        health: Health::new(),
        metrics: Metrics::new()?,
        store,
    };
    let probes = Shutdown::new();
    if let Some(address) = settings.health.get(&service) {
        listener::serve(*address, parts.health.clone(), parts.metrics.clone(), &probes).await?;
    }
    let check = parts.health.check(service.as_str());
    let outcome = self::service(service, settings, parts, check, shutdown).await;
    probes.trigger();
    probes.drain(Duration::from_secs(1)).await;
    outcome
}

/// Runs one service on a bus connection of its own until `shutdown`, and closes the connection after its drain.
///
/// `check` was made before anybody could ask whether all is ready. It becomes ready when the service has made its
/// own checks; the gateway's, when it listens.
pub(crate) async fn service(
    service: Service,
    settings: Settings,
    parts: Parts,
    check: Check,
    shutdown: Shutdown,
) -> Result<()> {
    let identity = settings.identity(service)?;
    let Some(bus) = shutdown
        .unless_triggered(connect(&settings, &identity, &check))
        .await
        .transpose()?
    else {
        return Ok(());
    };
    let (listening, listens) = oneshot::channel();
    let mut running = pin!(run_service(
        service,
        bus.clone(),
        settings,
        parts,
        listening,
        shutdown
    ));
    let started = async {
        if service != Service::Gateway || listens.await.is_ok() {
            check.ready();
        }
    };
    // The service is polled first: when `started` is, the service has made its checks.
    let ended = tokio::select! {
        biased;
        outcome = &mut running => Some(outcome),
        () = started => None,
    };
    let outcome = match ended {
        Some(outcome) => outcome,
        None => running.await,
    };
    // What was to be sent has been acked by now; a connection that is gone already is no failure.
    if let Err(error) = bus.close().await {
        tracing::debug!(service = %service, error = %error, "the connection to the bus was gone already");
    }
    outcome
}

/// Connects to the bus; one that cannot be reached is waited for, and the process is not ready meanwhile.
async fn connect(settings: &Settings, identity: &Identity, check: &Check) -> Result<Bus> {
    loop {
        match Bus::connect(&settings.bus, identity).await {
            Err(error) if error.is_unavailable() => {
                tracing::warn!(service = %identity.service(), error = %error, "the bus cannot be reached; trying on");
                check.failing(error.to_string());
            }
            connected => return connected.context("bus"),
        }
    }
}

/// `Context` of a service that uses the database.
macro_rules! with_store {
    ($service:ident, $bus:ident, $parts:ident, $clock:ident) => {{
        let store = $parts.store.context("a database is needed")?;
        $service::Context {
            bus: $bus,
            store,
            clock: $clock,
            health: $parts.health,
            metrics: $parts.metrics,
        }
    }};
}

async fn run_service(
    service: Service,
    bus: Bus,
    settings: Settings,
    parts: Parts,
    listening: oneshot::Sender<SocketAddr>,
    shutdown: Shutdown,
) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match service {
        Service::Gateway => {
            let context = halcyon_gateway::Context {
                bus,
                store: parts.store.context("a database is needed")?,
                clock,
                mode: settings.mode(),
                health: parts.health,
                metrics: parts.metrics,
                listening: Some(listening),
            };
            halcyon_gateway::run(context, settings.gateway, shutdown).await
        }
        Service::Registry => {
            let context = with_store!(halcyon_registry, bus, parts, clock);
            halcyon_registry::run(context, settings.registry, shutdown).await
        }
        Service::Audit => {
            let context = with_store!(halcyon_audit, bus, parts, clock);
            halcyon_audit::run(context, settings.audit, shutdown).await
        }
        Service::Ontology => {
            let context = with_store!(halcyon_ontology, bus, parts, clock);
            halcyon_ontology::run(context, settings.ontology, shutdown).await
        }
        Service::Worker => {
            let context = halcyon_worker::Context {
                bus,
                clock,
                guard: settings.guard(),
                health: parts.health,
                metrics: parts.metrics,
                executable: std::env::current_exe().ok(),
            };
            halcyon_worker::run(context, settings.worker, shutdown).await
        }
        Service::TestRunner => {
            let context = halcyon_test_runner::Context {
                bus,
                clock,
                guard: settings.guard(),
                health: parts.health,
                metrics: parts.metrics,
                executable: std::env::current_exe().ok(),
            };
            halcyon_test_runner::run(context, settings.test_runner, shutdown).await
        }
    }
}
