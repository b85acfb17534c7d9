//! A gateway from its start to its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use halcyon_bus::{Bus, Durability, InstanceKey, instances::InstanceRegistration};
use halcyon_domain::{clock::Clock, id::InstanceId};
use halcyon_infra::{Check, Health, Metrics, Mode, Shutdown};
use halcyon_store::Store;
use salvo::Router;
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    Settings,
    app::{App, BusServices, Options},
    auth::{ExternalIssuer, LoginThrottle, Passwords, Sight, Tokens, keep_token_keys},
    captured,
    edge::{Edge, check_exposure, tls::Certificates},
    graphql::Graphql,
    ingest::{self, IngestContext, IngestState},
    relay::Relay,
    routes,
    server::{self, Ending},
};

/// How often readiness is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often sessions that are over are removed.
const SWEEP: Duration = Duration::from_secs(3_600);

/// How often is looked whether rights have changed, without a hint and with many.
const ACCESS_LOOK: Duration = Duration::from_millis(800);
const ACCESS_PAUSE: Duration = Duration::from_millis(200);

/// What a gateway works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it is run for.
    pub mode: Mode,
    /// Where its checks are shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
    /// Told where the gateway listens, once it does.
    pub listening: Option<oneshot::Sender<SocketAddr>>,
}

/// Runs a gateway until `shutdown` is triggered and the requests under way are answered.
///
/// # Errors
/// The address is taken, or the server ends by itself.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    settings.tokens.check().map_err(anyhow::Error::msg)?;
    check_exposure(&settings, ctx.mode)?;
    let mut edge = Edge::new(&settings, ctx.mode, ctx.clock.clone(), ctx.metrics.clone())?;
    edge.protected.stopping = shutdown.clone();
    let tls = settings.tls.clone().map(Certificates::open).transpose();
    let (certificates, configs) = tls.context("`gateway.tls`")?.unzip();
    let listening = server::listen(settings.listen, configs).await?;
    let process = Process {
        instance: InstanceId::generate(),
        key: Arc::new(InstanceKey::generate()),
        tokens: Arc::new(Tokens::new(settings.tokens.clone(), ctx.clock.clone())),
        poke: Arc::new(Notify::new()),
    };
    let background = Shutdown::new();
    if let Some(certificates) = certificates {
        let check = ctx.health.check("gateway.tls");
        background.spawn(certificates.keep(
            check,
            ctx.metrics.clone(),
            ctx.clock.clone(),
            background.clone(),
        ));
    }
    // Before anybody asks the registry for something sealed; without a registry it goes on in the background.
    let registering = registered(&ctx.bus, process.instance, &process.key);
    let registration = tokio::time::timeout(LOOK, registering).await.ok();
    let app = Arc::new(process.app(&ctx, &settings)?);
    process.spawn_background(
        &ctx,
        settings.relay_lease.get(),
        registration,
        app.watch_keys(),
        &background,
    );
    let ingest = IngestState::start(IngestContext {
        bus: ctx.bus.clone(),
        clock: ctx.clock.clone(),
        metrics: ctx.metrics.clone(),
        instance: process.instance,
        key: process.key.clone(),
        check: ctx.health.check("gateway.ingest"),
    });
    background.spawn(sweep_sessions(app.clone(), background.clone()));
    background.spawn(captured::keep(app.clone(), ctx.bus.clone(), background.clone()));
    background.spawn(watch_access(app.clone(), ctx.bus.clone(), background.clone()));
    let ingest = Router::with_path("ingest").push(ingest::router(&ingest));
    let graphql = Graphql::new(app.clone(), &settings.graphql)?;
    let ending = Ending {
        shutdown,
        intake: ctx.health.check("gateway.intake"),
        delay: settings.drain_delay(ctx.mode),
    };
    let service = routes::service(app, graphql, Some(ingest), ctx.health, edge);
    let address = listening.address;
    tracing::info!(gateway.address = %address, gateway.instance = %process.instance, "the gateway listens");
    if let Some(listening) = ctx.listening {
        let _ = listening.send(address);
    }
    let served = server::serve(listening, service, &settings, ending).await;
    // The relay stops last, so that what the last requests changed goes out.
    background.trigger();
    background.drain(Duration::from_secs(5)).await;
    served
}

/// What the parts of a gateway share.
struct Process {
    instance: InstanceId,
    key: Arc<InstanceKey>,
    tokens: Arc<Tokens>,
    /// Wakes the relay.
    poke: Arc<Notify>,
}

impl Process {
    fn app(&self, ctx: &Context, settings: &Settings) -> anyhow::Result<App> {
        let services = BusServices::new(ctx.bus.clone(), self.key.clone(), self.poke.clone());
        let options = Options {
            test_timeout: settings.test_timeout.get(),
            request_timeout: settings.request_timeout.get(),
            production: ctx.mode.is_production(),
            secure_cookies: settings.secure_cookies || settings.by_tls() || ctx.mode.is_production(),
            sessions: settings.sessions.clone(),
            audit_public_keys: settings.audit_public_keys.clone(),
        };
        let external = match settings.external_issuer.clone() {
            Some(external) => {
                let other = external.issuer != settings.tokens.issuer;
                ensure!(
                    other,
                    "`gateway.external_issuer.issuer` is our own, `gateway.tokens.issuer`"
                );
                Some(ExternalIssuer::new(external, ctx.clock.clone())?)
            }
            None => None,
        };
        Ok(App::new(
            ctx.store.clone(),
            Arc::new(services),
            ctx.clock.clone(),
            self.tokens.clone(),
            Passwords::new()?,
            LoginThrottle::new(settings.login.clone(), ctx.clock.clone()),
            options,
        )
        .with_external_issuer(external))
    }

    /// Begins what goes on beside the requests: the token keys, the relay, the checks.
    fn spawn_background(
        &self,
        ctx: &Context,
        lease: Duration,
        registration: Option<InstanceRegistration>,
        sight: watch::Receiver<Sight>,
        background: &Shutdown,
    ) {
        let (bus, instance, key) = (ctx.bus.clone(), self.instance, self.key.clone());
        let (tokens, stop, ready) = (
            self.tokens.clone(),
            background.clone(),
            ctx.health.check("gateway.token_keys"),
        );
        background.spawn(async move {
            let registering = match registration {
                Some(registration) => Some(registration),
                None => stop.unless_triggered(registered(&bus, instance, &key)).await,
            };
            // The registration lasts as long as the task.
            if let Some(_registration) = registering {
                keep_token_keys(&bus, instance, &key, &tokens, sight, &stop, &ready).await;
            }
        });
        let relay = Relay {
            bus: ctx.bus.clone(),
            store: ctx.store.clone(),
            metrics: ctx.metrics.clone(),
            poke: self.poke.clone(),
        };
        background.spawn(relay.run(self.instance, lease, background.clone()));
        let checks = [
            ctx.health.check("gateway.bus"),
            ctx.health.check("gateway.database"),
        ];
        background.spawn(keep_checks(
            ctx.bus.clone(),
            ctx.store.clone(),
            ctx.mode,
            checks,
            background.clone(),
        ));
    }
}

/// Puts the instance's key where the registry finds it, as soon as there is a bucket for it.
async fn registered(bus: &Bus, instance: InstanceId, key: &InstanceKey) -> InstanceRegistration {
    let mut warned = false;
    loop {
        match bus.register_instance(instance, key).await {
            Ok(registration) => return registration,
            Err(error) if warned => tracing::debug!(error = %error, "the instance is not registered yet"),
            Err(error) => {
                warned = true;
                tracing::warn!(error = %error, "the instance cannot be registered yet; trying on");
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Removes sessions that are over, every hour. Several gateways may do so at once.
async fn sweep_sessions(app: Arc<App>, shutdown: Shutdown) {
    loop {
        if shutdown
            .unless_triggered(tokio::time::sleep(SWEEP))
            .await
            .is_none()
        {
            return;
        }
        match app.sweep_sessions().await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "sessions that are over were removed"),
            Err(error) => tracing::warn!(error = %error, "sessions that are over cannot be removed now"),
        }
    }
}

/// Looks whether rights have changed: every second, and when another gateway hints that it wrote something, though
/// not more often than is worth it.
async fn watch_access(app: Arc<App>, bus: Bus, shutdown: Shutdown) {
    let mut pokes = None;
    while !shutdown.is_triggered() {
        app.look_at_access().await;
        if pokes.is_none() {
            pokes = bus.outbox_pokes().await.ok();
        }
        let hint = async {
            match &mut pokes {
                Some(pokes) => pokes.next().await,
                None => std::future::pending().await,
            }
        };
        let wait = async {
            let _ = tokio::time::timeout(ACCESS_LOOK, hint).await;
            tokio::time::sleep(ACCESS_PAUSE).await;
        };
        shutdown.unless_triggered(wait).await;
    }
}

/// Keeps the checks of bus and database up to date.
///
/// Without the bus nothing can be accepted: not ready. The database is needed at start; later ingest goes on
/// without it, so its loss is told and does not take the process out of service.
async fn keep_checks(
    bus: Bus,
    store: Store,
    mode: Mode,
    [on_bus, on_database]: [Check; 2],
    shutdown: Shutdown,
) {
    let mut seen = false;
    while !shutdown.is_triggered() {
        match bus.rtt().await {
            Ok(_) => match durability(&bus).await {
                // What was accepted would not be safe.
                Err(unsafe_) if mode.is_production() => on_bus.failing(unsafe_),
                Ok(detail) | Err(detail) => on_bus.ready_with(detail),
            },
            Err(error) => on_bus.failing(error.to_string()),
        }
        let usable = if seen {
            store.ping().await.map(|()| true)
        } else {
            store.is_migrated().await
        };
        match usable {
            Ok(true) => {
                seen = true;
                on_database.ready();
            }
            Ok(false) => on_database.failing("the schema is not up to date: `halcyon migrate up`"),
            Err(_) if seen => on_database.ready_with("cannot be reached now; ingest goes on"),
            Err(_) => on_database.failing("cannot be reached"),
        }
        let pause = if seen { LOOK } else { Duration::from_millis(200) };
        shutdown.unless_triggered(tokio::time::sleep(pause)).await;
    }
}

/// What is known of how accepted events are kept; an error if they are not safe.
async fn durability(bus: &Bus) -> Result<String, String> {
    match bus.durability().await {
        Ok(Durability::SyncAlways) => Ok("ok".to_owned()),
        Ok(Durability::Replicated(copies)) => Ok(format!("ok: {copies} copies")),
        Ok(Durability::Unsafe) => Err(
            "accepted events may be lost in a power cut: set `sync_interval: always` or 3 replicas"
                .to_owned(),
        ),
        Ok(Durability::Unknown(why)) => Ok(format!(
            "whether accepted events survive a power cut is not known: {why}"
        )),
        Err(error) => Ok(format!("the ingest stream cannot be looked at: {error}")),
    }
}
