//! The six services in one process: started together, stopped from the outside in.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use halcyon_bus::Service;
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_store::Store;
use tokio::task::JoinHandle;

use super::{data_dir::DataDir, ready::PASSWORD_FILE};
use crate::{
    commands::admin::create_first,
    keys::{password, replace_private},
    process::{self, Parts},
    settings::Settings,
};

/// The first administrator's e-mail.
const ADMIN: &str = "admin@halcyon.local";

/// The order in which services stop: what takes work in goes first, what others need goes last.
const STOP_ORDER: [Service; 6] = [
    Service::Gateway,
    Service::TestRunner,
    Service::Worker,
    Service::Ontology,
    Service::Audit,
    Service::Registry,
];

/// How long all services together may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(18);

struct Running {
    service: Service,
    shutdown: Shutdown,
    task: JoinHandle<Result<()>>,
}

/// The services of an embedded system.
pub(super) struct Embedded {
    store: Store,
    health: Health,
    running: Vec<Running>,
    first_password: Option<String>,
}

impl Embedded {
    /// Brings the database up to date, makes the first administrator if there is none, and starts all services.
    pub(super) async fn start(settings: &Settings, data: &DataDir) -> Result<Self> {
        let store = Store::connect(&settings.database).await.context("database")?;
        store.migrate().await.context("database migrations")?;
        let first_password = first_admin(&store, data).await?;
        let parts = Parts {
            health: Health::new(),
            metrics: Metrics::new()?,
            store: Some(store.clone()),
        };
        let health = parts.health.clone();
        let mut running = Vec::new();
        for service in STOP_ORDER.into_iter().rev() {
            let shutdown = Shutdown::new();
            let check = parts.health.check(service.as_str());
            let future = process::service(service, settings.clone(), parts.clone(), check, shutdown.clone());
            let task = tokio::spawn(async move { future.await.with_context(|| format!("{service} failed")) });
            running.push(Running {
                service,
                shutdown,
                task,
            });
        }
        Ok(Self {
            store,
            health,
            running,
            first_password,
        })
    }

    /// The first administrator's e-mail.
    pub(super) const fn admin_email(&self) -> &'static str {
        ADMIN
    }

    /// The first administrator's password, on the first start.
    pub(super) fn first_password(&self) -> Option<&str> {
        self.first_password.as_deref()
    }

    /// Waits until every check is ready.
    pub(super) async fn wait_ready(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(ended) = self.running.iter().find(|running| running.task.is_finished()) {
                bail!("{} ended while the system was starting", ended.service);
            }
            let report = self.health.report();
            if report.ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                let failing = report.checks.into_iter().filter(|(_, check)| !check.ready);
                let list: Vec<_> = failing
                    .map(|(name, check)| format!("{name}: {}", check.detail))
                    .collect();
                bail!("not ready within {within:?}: {}", list.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a service ends by itself, which none should.
    pub(super) async fn any_ended(&self) {
        while !self.running.iter().any(|running| running.task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops the services one after the other. The first error is returned; all are logged.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + STOP_DEADLINE;
        let mut outcome = Ok(());
        while let Some(mut running) = self.running.pop() {
            running.shutdown.trigger();
            let ended = match tokio::time::timeout_at(deadline, &mut running.task).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(panic)) => Err(panic.into()),
                Err(_) => {
                    running.task.abort();
                    Err(anyhow::anyhow!("{} did not stop in time", running.service))
                }
            };
            if let Err(error) = ended {
                tracing::error!(service = %running.service, error = format!("{error:#}"), "service failed");
                outcome = outcome.and(Err(error));
            }
        }
        self.store.close().await?;
        outcome
    }
}

/// Makes the first administrator. The password is in its file before the account exists, so that it cannot be lost.
async fn first_admin(store: &Store, data: &DataDir) -> Result<Option<String>> {
    let file = data.file(PASSWORD_FILE);
    let password = match fs::read_to_string(&file) {
        Ok(kept) => kept.trim().to_owned(),
        Err(_) => {
            let fresh = password();
            replace_private(&file, &fresh)?;
            fresh
        }
    };
    Ok(create_first(store, ADMIN, &password).await?.then_some(password))
}
