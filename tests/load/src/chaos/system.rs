//! The system of a scenario: several of every service over nats and Postgres of their own.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use halcyon_tests::{
    client::{Client, TOKEN},
    cluster::{Cluster, Sync},
    load::sequence_mapping,
    ports,
    postgres::Postgres,
    wait,
};
use serde_json::{Value, json};

use super::{
    Bench,
    effects::{self, Effects},
    table::Outcome,
    traffic::{Seen, Target, Traffic},
};
use crate::usage;

/// The user that looks into streams.
const LOOKER: &str = "chaos";

/// How many of each service run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Gateways.
    pub(super) gateways: usize,
    /// Registries.
    pub(super) registries: usize,
    /// Workers.
    pub(super) workers: usize,
    /// Ontology services.
    pub(super) ontologies: usize,
}

impl Shape {
    /// Several of every service.
    pub(super) const FULL: Self = Self {
        gateways: 2,
        registries: 2,
        workers: 3,
        ontologies: 2,
    };

    fn names(self) -> Vec<(String, &'static str)> {
        let mut names = Vec::new();
        let counts = [
            ("registry", self.registries),
            ("gateway", self.gateways),
            ("worker", self.workers),
            ("ontology", self.ontologies),
            ("audit", 1),
        ];
        for (service, count) in counts {
            names.extend((1..=count).map(|number| (name(service, number), service)));
        }
        names
    }
}

/// `gateway`, `gateway-2`, ...
pub(super) fn name(service: &str, number: usize) -> String {
    if number == 1 {
        service.to_owned()
    } else {
        format!("{service}-{number}")
    }
}

/// The links that processes use instead of direct ones, and what else is set otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// In place of nats.
    pub(super) nats: Option<String>,
    /// In place of Postgres: host and port.
    pub(super) postgres: Option<String>,
    /// Settings, as `key=value`.
    pub(super) settings: Vec<String>,
}

/// The system of a scenario.
pub(super) struct System {
    /// The processes.
    pub(super) cluster: Cluster,
    /// Their database server.
    pub(super) postgres: Postgres,
    /// The address of the database.
    pub(super) database: String,
    /// Where the gateways are.
    pub(super) gateways: Vec<String>,
}

impl System {
    /// Starts it.
    pub(super) async fn start(bench: &Bench, shape: Shape) -> Result<Self> {
        Self::start_with(bench, shape, &Links::default()).await
    }

    /// Starts it over these links and with these settings.
    pub(super) async fn start_with(bench: &Bench, shape: Shape, links: &Links) -> Result<Self> {
        let mut system = Self::lay_out(bench, Sync::Always).await?;
        system.begin().await?;
        system.spawn(shape, links).await?;
        Ok(system)
    }

    /// Prepares the folder and the database; nothing of the system runs yet.
    pub(super) async fn lay_out(bench: &Bench, sync: Sync) -> Result<Self> {
        let postgres = Postgres::start().await?;
        let database = postgres.database().await?;
        let cluster = Cluster::lay_out(&bench.halcyon, &database, sync)?;
        cluster.admit(LOOKER, LOOKER)?;
        Ok(Self {
            cluster,
            postgres,
            database,
            gateways: Vec::new(),
        })
    }

    /// Starts nats and makes the schema.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.cluster.begin().await?;
        effects::install(&self.postgres, &self.database).await
    }

    /// Starts the services and waits until every gateway is ready.
    pub(super) async fn spawn(&mut self, shape: Shape, links: &Links) -> Result<()> {
        let common = self.settings(links);
        for (name, service) in shape.names() {
            let mut settings = common.clone();
            if service == "gateway" {
                let listen = if name == "gateway" {
                    self.cluster.url.trim_start_matches("http://").to_owned()
                } else {
                    ports::free_address()
                };
                self.gateways.push(format!("http://{listen}"));
                settings.push(format!("gateway.listen={listen}"));
            }
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            self.cluster.spawn_as(&name, service, &settings)?;
        }
        self.ready().await?;
        self.led().await
    }

    /// Waits until a registry leads: until then secrets are refused.
    async fn led(&self) -> Result<()> {
        let leads = |name: &String| {
            let log = fs::read_to_string(self.cluster.log(name)).unwrap_or_default();
            log.contains("this registry leads")
        };
        let registries = self.names_of(&["registry"]);
        wait::eventually(Duration::from_secs(90), || async { registries.iter().any(leads) })
            .await
            .context("no registry leads")
    }

    /// The settings of processes that use these links.
    pub(super) fn settings(&self, links: &Links) -> Vec<String> {
        let mut settings = links.settings.clone();
        if let Some(address) = &links.nats {
            settings.push(format!("bus.url=nats://{address}"));
        }
        if let Some(address) = &links.postgres {
            let direct = format!("127.0.0.1:{}", self.postgres.port());
            settings.push(format!(
                "database.url={}",
                self.database.replace(&direct, address)
            ));
        }
        settings
    }

    /// Waits until every gateway is ready.
    pub(super) async fn ready(&self) -> Result<()> {
        for url in &self.gateways {
            let address = url.trim_start_matches("http://");
            let ready = || wait::answers_200(address, "/readyz");
            wait::eventually(Duration::from_secs(90), ready)
                .await
                .with_context(|| format!("the gateway at {url} is not ready"))?;
        }
        Ok(())
    }

    /// Signs in at the first gateway.
    pub(super) async fn client(&self) -> Client {
        Client::login(&self.cluster.url, &self.cluster.email, &self.cluster.password).await
    }

    /// Publishes `count` webhook feeds, so that several partitions are used, and waits until they take events.
    pub(super) async fn feeds(&self, client: &Client, count: usize, padding: usize) -> Result<Target> {
        let mut feeds = Vec::new();
        for number in 0..count {
            let name = format!("feed-{number}");
            feeds.push(client.publish_webhook(&name, sequence_mapping("t")).await);
        }
        let target = Target {
            gateways: self.gateways.clone(),
            feeds,
            padding,
        };
        self.wait_taken(&target).await?;
        Ok(target)
    }

    /// Waits until every gateway takes events of every feed: it has the route and the secret.
    pub(super) async fn wait_taken(&self, target: &Target) -> Result<()> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()?;
        for gateway in &target.gateways {
            for feed in &target.feeds {
                // Not JSON: it is accepted, has no effect and makes a dead letter.
                let url = format!("{gateway}/ingest/{feed}");
                let taken = || async {
                    let request = http.post(&url).bearer_auth(TOKEN).body("{");
                    request.send().await.is_ok_and(|answer| answer.status() == 202)
                };
                wait::eventually(Duration::from_secs(60), taken)
                    .await
                    .with_context(|| format!("{url} takes no events"))?;
            }
        }
        Ok(())
    }

    /// The names of the processes of these services.
    pub(super) fn names_of(&self, services: &[&str]) -> Vec<String> {
        let is_one = |name: &String| {
            services
                .iter()
                .any(|service| name == service || name.strip_prefix(service).is_some_and(is_number))
        };
        self.cluster.names().into_iter().filter(is_one).collect()
    }

    /// A connection to nats that may do everything.
    pub(super) async fn looker(&self) -> Result<async_nats::Client> {
        let options = async_nats::ConnectOptions::with_user_and_password(LOOKER.into(), LOOKER.into());
        Ok(options
            .connect(format!("nats://{}", self.cluster.nats_address))
            .await?)
    }

    /// Runs a query.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Vec<String>>> {
        self.postgres.query(&self.database, query).await
    }

    /// A number that a query answers.
    pub(super) async fn number(&self, query: &str) -> Result<u64> {
        let rows = self.query(query).await?;
        let cell = rows.first().and_then(|row| row.first());
        cell.and_then(|cell| cell.parse().ok())
            .with_context(|| format!("{query}: {rows:?}"))
    }

    /// Stops the load, waits for the effects and compares.
    pub(super) async fn judge(
        &self,
        outcome: &mut Outcome,
        traffic: Traffic,
        faults: &[SystemTime],
    ) -> Result<(Seen, Effects)> {
        let seen = traffic.stop().await?;
        let settled = effects::settle(&self.postgres, &self.database, &seen.accepted).await?;
        effects::judge(outcome, &settled, &seen.accepted, faults);
        outcome.check(
            seen.without_retry_after == 0,
            format!("{} refusals without Retry-After", seen.without_retry_after),
        );
        Ok((seen, settled))
    }

    /// The largest memory of a process so far, in MiB, with its name; those that were killed are not counted.
    pub(super) fn peak_memory(&self) -> Result<(String, f64)> {
        let names = self.cluster.names();
        let halcyon = names.into_iter().filter(|name| name != "nats");
        let peaks = halcyon.filter_map(|name| {
            let mib = usage::memory(self.cluster.pid(&name)?, "VmHWM").ok()?;
            Some((name, mib))
        });
        let largest = peaks.max_by(|one, other| one.1.total_cmp(&other.1));
        largest.context("nothing runs")
    }

    /// Keeps the logs of a red scenario.
    pub(super) fn keep_logs(&self, bench: &Bench, scenario: &str, outcome: &Outcome) -> Result<()> {
        if outcome.is_green() {
            return Ok(());
        }
        let folder = bench.logs.join(scenario);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(self.cluster.folder())? {
            let path = entry?.path();
            if let Some(name) = path.file_name().filter(|_| is_log(&path)) {
                fs::copy(&path, folder.join(name))?;
            }
        }
        Ok(())
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn is_number(suffix: &str) -> bool {
    suffix
        .strip_prefix('-')
        .is_some_and(|digits| digits.parse::<usize>().is_ok())
}

/// A datasource's state as the API tells it.
pub(super) async fn state(client: &Client, id: &str) -> Value {
    client.get(&format!("/datasources/{id}")).await["state"].take()
}

/// An exclusive source that makes numbered alerts at a rate. Returns its identifier.
pub(super) async fn generator(client: &Client, name: &str, seed: u32, rate: u64) -> Result<String> {
    let config = json!({
        "connection": {"records_per_second": rate, "seed": seed},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "id", "as": "string"}, "title": "title",
            "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
        }}]},
    });
    let body = json!({"name": name, "type": "generator", "config": config});
    let made = client.post("/datasources", body).await;
    ensure!(made.status == 201, "{}", made.body);
    let id = made.body["id"].as_str().context("no id")?.to_owned();
    let published = client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await;
    ensure!(published.status == 200, "{}", published.body);
    Ok(id)
}

/// Waits until `condition` holds and tells how long that took.
pub(super) async fn time_until<F: Future<Output = bool>>(
    what: &str,
    deadline: Duration,
    condition: impl Fn() -> F,
) -> Result<Duration> {
    let begun = Instant::now();
    wait::eventually(deadline, condition)
        .await
        .with_context(|| format!("waited in vain for {what}"))?;
    Ok(begun.elapsed())
}
