//! Runs a service: with parts of its own as a process, or with shared ones inside `halcyon up`.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use halcyon_bus::{Bus, Service};
use halcyon_domain::clock::{Clock, SystemClock};
use halcyon_infra::{Health, Metrics, Shutdown, listener, telemetry};
use halcyon_store::Store;

use crate::settings::Settings;

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
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let store = match service {
        Service::Worker | Service::TestRunner => None,
        _ => Some(Store::connect(&settings.database).await.context("database")?),
    };
    let parts = Parts { health: Health::new(), metrics: Metrics::new()?, store };
    let probes = Shutdown::new();
    if let Some(address) = settings.health.get(&service) {
        listener::serve(*address, parts.health.clone(), parts.metrics.clone(), &probes).await?;
    }
    let outcome = self::service(service, settings, parts, shutdown).await;
    probes.trigger();
    probes.drain(Duration::from_secs(1)).await;
    outcome
}
