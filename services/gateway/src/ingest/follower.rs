//! Follows the routes and keeps the feeds, with their signing secrets, ready in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use halcyon_bus::{Bus, Entry, Error, InstanceKey};
use halcyon_connectors::http_webhook::CompiledWebhook;
use halcyon_domain::{
    assignment::IngestRoute,
    clock::{Clock, Timestamp},
    id::{DatasourceId, InstanceId},
};
use halcyon_infra::Check;
use tokio::{task::JoinSet, time::Instant};

use super::{
    feeds::{Feed, Feeds, Gate},
    opened::{self, Opened, Wanted},
    state::IngestContext,
};

/// The connector whose feeds are taken here.
const CONNECTOR: &str = "http_webhook";
/// Questions to the registry at a time.
const FETCHES: usize = 16;
/// How often expiring secrets and questions to ask again are looked at.
const TICK: Duration = Duration::from_millis(250);

type Fetched = (Wanted, Result<Opened, Error>);

/// The task that keeps the feeds.
pub(super) struct Follower {
    bus: Bus,
    clock: Arc<dyn Clock>,
    instance: InstanceId,
    key: Arc<InstanceKey>,
    check: Check,
    feeds: Arc<Feeds>,
    known: HashMap<DatasourceId, Known>,
    fetches: JoinSet<Fetched>,
    was_ready: bool,
}

/// What is known of a feed.
struct Known {
    route: Arc<Entry<IngestRoute>>,
    /// Nothing while it was never published, or where its connection cannot be used.
    webhook: Option<Arc<CompiledWebhook>>,
    /// The signing secrets that its connection names.
    names: Vec<String>,
    opened: Option<Opened>,
    gate: Option<Arc<Gate>>,
    fetching: bool,
    /// Whether the registry has said anything about its secrets.
    answered: bool,
    failures: u32,
    retry_at: Instant,
}

impl Known {
    fn new(route: Arc<Entry<IngestRoute>>) -> Self {
        Self {
            route,
            webhook: None,
            names: Vec::new(),
            opened: None,
            gate: None,
            fetching: false,
            answered: false,
            failures: 0,
            retry_at: Instant::now(),
        }
    }

    fn compile(&mut self) {
        let route = &self.route.value;
        self.webhook = None;
        self.names.clear();
        if route.connector != CONNECTOR || route.version.is_none() {
            return;
        }
        match CompiledWebhook::compile(&route.connection) {
            Ok(webhook) => {
                self.names = webhook
                    .required_secrets()
                    .iter()
                    .map(|name| name.as_str().to_owned())
                    .collect();
                self.webhook = Some(Arc::new(webhook));
            }
            Err(errors) => {
                let why = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(datasource.id = %route.datasource, error = why, "a published connection cannot be used");
            }
        }
    }

    /// Whether signing secrets are to be fetched.
    fn wants_secrets(&self) -> bool {
        let revision = self.route.value.secrets_revision;
        let have = |opened: &Opened| opened.answers(&self.names, revision);
        self.webhook.is_some() && !self.names.is_empty() && !self.opened.as_ref().is_some_and(have)
    }

    /// Renews the gate. While a new version's secrets are on their way, the gate before it goes on.
    fn open_gate(&mut self, now: Timestamp) {
        let Some(webhook) = &self.webhook else {
            self.gate = None;
            return;
        };
        let secrets = match &self.opened {
            _ if self.names.is_empty() => halcyon_connectors::Secrets::none(),
            Some(opened) if opened.covers(&self.names) => opened.live(now),
            _ => return,
        };
        self.gate = Some(Arc::new(Gate::new(
            webhook.clone(),
            secrets,
            self.gate.as_deref(),
        )));
    }

    fn feed(&self) -> Feed {
        let route = &self.route.value;
        Feed {
            organization: route.organization,
            status: route.status,
            published: route.version.is_some(),
            parallelism: route.parallelism,
            pool: route.pool.clone(),
            backlog_full: route.backlog_full,
            gate: self.gate.clone(),
        }
    }
}

impl Follower {
    pub(super) fn new(context: IngestContext, feeds: Arc<Feeds>) -> Self {
        context.check.failing("the ingest routes are not read yet");
        Self {
            bus: context.bus,
            clock: context.clock,
            instance: context.instance,
            key: context.key,
            check: context.check,
            feeds,
            known: HashMap::new(),
            fetches: JoinSet::new(),
            was_ready: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut routes = self.bus.routes().mirror();
        routes.ready().await;
        let mut looked_at = self.clock.now();
        loop {
            self.follow(&routes.snapshot());
            let now = self.clock.now();
            self.expire(looked_at, now);
            looked_at = now;
            self.fetch_secrets();
            self.report();
            let waiting = self.is_waiting(now);
            tokio::select! {
                () = routes.changed() => {}
                Some(fetched) = self.fetches.join_next() => {
                    if let Ok(fetched) = fetched {
                        self.fetched(fetched);
                    }
                }
                () = tokio::time::sleep(TICK), if waiting => {}
            }
        }
    }

    /// Takes over what changed in the routes.
    fn follow(&mut self, routes: &HashMap<String, Arc<Entry<IngestRoute>>>) {
        let now = self.clock.now();
        for route in routes.values() {
            let datasource = route.value.datasource;
            let known = self.known.get(&datasource);
            if known.is_some_and(|known| known.route.revision == route.revision) {
                continue;
            }
            let known = self
                .known
                .entry(datasource)
                .or_insert_with(|| Known::new(route.clone()));
            let same = known.webhook.is_some()
                && known.route.value.connection == route.value.connection
                && known.route.value.version == route.value.version;
            known.route = route.clone();
            if !same {
                known.compile();
                known.open_gate(now);
            }
            if known.wants_secrets() {
                known.retry_at = Instant::now();
            }
            self.feeds.set(datasource, known.feed());
        }
        if self.known.len() > routes.len() {
            let there: HashSet<DatasourceId> = routes.values().map(|route| route.value.datasource).collect();
            self.known.retain(|datasource, _| {
                let keep = there.contains(datasource);
                if !keep {
                    self.feeds.remove(*datasource);
                }
                keep
            });
        }
    }

    fn fetch_secrets(&mut self) {
        let now = Instant::now();
        for known in self.known.values_mut() {
            if self.fetches.len() >= FETCHES {
                return;
            }
            if known.fetching || known.retry_at > now || !known.wants_secrets() {
                continue;
            }
            known.fetching = true;
            let route = &known.route.value;
            let wanted = Wanted {
                organization: route.organization,
                datasource: route.datasource,
                names: known.names.clone(),
                revision: route.secrets_revision,
            };
            let (bus, instance, key) = (self.bus.clone(), self.instance, self.key.clone());
            self.fetches.spawn(async move {
                let result = opened::fetch(&bus, instance, &key, &wanted).await;
                (wanted, result)
            });
        }
    }

    fn fetched(&mut self, (wanted, result): Fetched) {
        let now = self.clock.now();
        let Some(known) = self.known.get_mut(&wanted.datasource) else {
            return;
        };
        known.fetching = false;
        match result {
            Ok(opened) => {
                known.answered = true;
                known.failures = 0;
                known.opened = Some(opened);
                known.open_gate(now);
                self.feeds.set(wanted.datasource, known.feed());
            }
            Err(error) => {
                known.answered |= !error.is_unavailable();
                known.failures += 1;
                let delay =
                    Duration::from_millis(100_u64 << known.failures.min(6)).min(Duration::from_secs(5));
                known.retry_at = Instant::now() + delay;
                if known.failures == 1 {
                    tracing::warn!(datasource.id = %wanted.datasource, error = %error, "signing secrets cannot be fetched yet");
                }
            }
        }
    }

    /// Takes secrets out of use whose time has come.
    fn expire(&mut self, from: Timestamp, to: Timestamp) {
        for (datasource, known) in &mut self.known {
            if known
                .opened
                .as_ref()
                .is_some_and(|opened| opened.expired_between(from, to))
            {
                known.open_gate(to);
                self.feeds.set(*datasource, known.feed());
            }
        }
    }

    /// Whether something has to be looked at although nothing changes.
    fn is_waiting(&self, now: Timestamp) -> bool {
        self.known.values().any(|known| {
            (known.wants_secrets() && !known.fetching)
                || known
                    .opened
                    .as_ref()
                    .is_some_and(|opened| opened.expires_after(now))
        })
    }

    fn report(&mut self) {
        let missing = self.known.values().filter(|known| known.wants_secrets());
        let silent = missing.clone().filter(|known| !known.answered).count();
        if silent > 0 && !self.was_ready {
            self.check
                .failing(format!("the signing secrets of {silent} feeds are not there yet"));
            return;
        }
        self.was_ready = true;
        match missing.filter(|known| known.failures > 0).count() {
            0 => self.check.ready(),
            count => self
                .check
                .ready_with(format!("the signing secrets of {count} feeds cannot be fetched")),
        }
    }
}
