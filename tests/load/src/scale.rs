//! Many datasources: what they cost in memory, time and processor, and what moves when a worker goes.
//!
//! Every datasource is a `generator` that hardly speaks, so that what is measured is the cost of having it.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{TryStreamExt, stream};
use halcyon_tests::{
    client::Client,
    cluster::{Cluster, Sync},
    postgres::Postgres,
};
use serde_json::{Value, json};

use crate::usage;

/// Requests at a time.
const CONCURRENT: usize = 8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// What has not moved for so long stays.
const STABLE: Duration = Duration::from_secs(6);

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// How many datasources.
    #[arg(long, default_value_t = 1_000)]
    datasources: usize,
    /// How many workers.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// How many datasources get a new version, one after the other.
    #[arg(long, default_value_t = 200)]
    reloads: usize,
}

/// Where each datasource runs.
type Placement = BTreeMap<String, String>;

struct Scale {
    plan: Plan,
    cluster: Cluster,
    client: Client,
    _postgres: Postgres,
}

/// Runs the plan and prints what was measured.
pub(crate) async fn run(halcyon: &Path, plan: Plan) -> Result<()> {
    let postgres = Postgres::start().await?;
    let database = postgres.database().await?;
    let services = ["registry", "gateway", "test-runner", "ontology"];
    let mut cluster = Cluster::start(halcyon, &database, Sync::Default, &services).await?;
    for worker in 0..plan.workers {
        cluster.spawn_as(&name(worker), "worker", &[])?;
    }
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let mut scale = Scale {
        plan,
        cluster,
        client,
        _postgres: postgres,
    };
    scale.say("datasources", scale.plan.datasources.to_string());
    scale.say("workers", scale.plan.workers.to_string());
    scale.memory("memory before")?;
    scale.create().await?;
    scale.memory("memory with all running")?;
    scale.idle().await?;
    scale.reload().await?;
    scale.restart().await?;
    if scale.plan.workers > 1 {
        scale.lose_a_worker().await?;
    }
    Ok(())
}

fn name(worker: usize) -> String {
    format!("worker-{worker}")
}

impl Scale {
    #[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
    fn say(&self, what: &str, value: String) {
        println!("{what:<44} {value}");
    }

    /// Access tokens are short-lived, and some steps are long.
    async fn sign_in(&mut self) {
        let cluster = &self.cluster;
        self.client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    }

    /// Makes and publishes them, and waits until the last one runs.
    async fn create(&mut self) -> Result<()> {
        let began = Instant::now();
        for from in (0..self.plan.datasources).step_by(500) {
            self.sign_in().await;
            let client = &self.client;
            let numbers = from..self.plan.datasources.min(from + 500);
            stream::iter(numbers.map(Ok))
                .try_for_each_concurrent(CONCURRENT, |number| create(client, number))
                .await?;
        }
        let made = began.elapsed();
        let per_second = self.plan.datasources as f64 / made.as_secs_f64();
        self.say("created and published", format!("{made:.1?} ({per_second:.0}/s)"));
        self.sign_in().await;
        self.placed(|_| true).await?;
        self.say(
            "the last one runs after it by",
            format!("{:.1?}", began.elapsed() - made),
        );
        Ok(())
    }

    /// What the processes take while nothing changes.
    async fn idle(&self) -> Result<()> {
        let seconds = 30;
        let names = self.processes();
        let before: Vec<_> = names.iter().map(|name| self.busy(name)).collect::<Result<_>>()?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        for (name, before) in names.iter().zip(before) {
            let share = (self.busy(name)? - before) / seconds as f64 * 100.0;
            self.say(
                &format!("processor of {name} while idle"),
                format!("{share:.1} % of a core"),
            );
        }
        Ok(())
    }

    /// The time from the answer to a publish until the worker runs the version.
    async fn reload(&mut self) -> Result<()> {
        self.sign_in().await;
        let ids: Vec<_> = self.placement().await?.into_keys().collect();
        let step = (ids.len() / self.plan.reloads.max(1)).max(1);
        let mut times = Vec::new();
        for id in ids.iter().step_by(step).take(self.plan.reloads) {
            let draft = json!({"config": config("reloaded"), "comment": "measured"});
            let draft = self
                .client
                .post(&format!("/datasources/{id}/versions"), draft)
                .await
                .expect(201);
            let body = json!({"version": draft["number"], "comment": "measured"});
            self.client
                .post(&format!("/datasources/{id}/publish"), body)
                .await
                .expect(200);
            let published = Instant::now();
            loop {
                let now = self.client.get(&format!("/datasources/{id}")).await;
                if now["state"]["version"] == draft["number"] {
                    break;
                }
                ensure!(
                    published.elapsed() < PATIENCE,
                    "{id} does not run its new version: {now}"
                );
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            times.push(published.elapsed());
        }
        self.say("hot reloads", spread(times));
        Ok(())
    }

    /// The time from the start of all workers anew until everything runs.
    async fn restart(&mut self) -> Result<()> {
        self.sign_in().await;
        let before = self.placement().await?;
        for worker in 0..self.plan.workers {
            self.cluster.terminate(&name(worker), PATIENCE)?;
        }
        self.placed_after(|placement| placement.values().all(String::is_empty))
            .await?;
        let began = Instant::now();
        for worker in 0..self.plan.workers {
            self.cluster.spawn_as(&name(worker), "worker", &[])?;
        }
        self.placed(|worker| !before.values().any(|old| old == worker))
            .await?;
        self.say(
            "all run after the workers' start by",
            format!("{:.1?}", began.elapsed()),
        );
        Ok(())
    }

    /// Waits until every worker has a share and nothing has moved for a while.
    async fn balanced(&mut self) -> Result<Placement> {
        let (mut before, mut since, began) = (self.placement().await?, Instant::now(), Instant::now());
        while since.elapsed() < STABLE || self.shares(&before).len() < self.plan.workers {
            ensure!(began.elapsed() < PATIENCE, "the workers have no equal shares");
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.placement().await?;
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        let took = began.elapsed().saturating_sub(STABLE);
        self.say("balanced after that by", format!("{took:.1?}"));
        Ok(before)
    }

    /// What a killed worker's datasources wait for, and what moved besides.
    async fn lose_a_worker(&mut self) -> Result<()> {
        self.sign_in().await;
        let before = self.balanced().await?;
        self.sign_in().await;
        let registry = self.busy("registry")?;
        let alive = self.shares(&before);
        self.say("datasources of each worker", format!("{:?}", alive.values()));
        self.cluster.kill(&name(0))?;
        let began = Instant::now();
        let after = self
            .placed_after(|placement| {
                let shares = self.shares(placement);
                placement.values().all(|worker| !worker.is_empty()) && shares.len() == alive.len() - 1
            })
            .await?;
        self.say(
            "all run again after a kill by",
            format!("{:.1?}", began.elapsed()),
        );
        let lost = |worker: &String| !after.values().any(|now| now == worker);
        let lost = before.values().filter(|worker| lost(worker)).count();
        let moved = before
            .iter()
            .filter(|(id, worker)| after.get(*id) != Some(*worker))
            .count();
        self.say("datasources that lost their worker", lost.to_string());
        self.say("datasources that moved", moved.to_string());
        self.say(
            "datasources of each worker",
            format!("{:?}", self.shares(&after).values()),
        );
        self.say(
            "processor time of the registry for it",
            format!("{:.1} s", self.busy("registry")? - registry),
        );
        Ok(())
    }

    fn shares(&self, placement: &Placement) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for worker in placement.values().filter(|worker| !worker.is_empty()) {
            *shares.entry(worker.clone()).or_default() += 1;
        }
        shares
    }

    /// The worker of each datasource; none where it does not run.
    async fn placement(&self) -> Result<Placement> {
        let mut placement = Placement::new();
        for item in self.client.all("/datasources").await {
            let state = &item["state"];
            let runs = state["status"] == "RUNNING";
            let worker = state["worker"].as_str().filter(|_| runs).unwrap_or_default();
            placement.insert(
                item["id"].as_str().context("no id")?.to_owned(),
                worker.to_owned(),
            );
        }
        ensure!(
            placement.len() == self.plan.datasources,
            "{} datasources",
            placement.len()
        );
        Ok(placement)
    }

    /// Waits until all run, on workers that count.
    async fn placed(&self, counts: impl Fn(&str) -> bool) -> Result<Placement> {
        self.placed_after(|placement| {
            placement
                .values()
                .all(|worker| !worker.is_empty() && counts(worker))
        })
        .await
    }

    async fn placed_after(&self, done: impl Fn(&Placement) -> bool) -> Result<Placement> {
        let began = Instant::now();
        loop {
            let placement = self.placement().await?;
            if done(&placement) {
                return Ok(placement);
            }
            let running = placement.values().filter(|worker| !worker.is_empty()).count();
            ensure!(began.elapsed() < PATIENCE, "only {running} run");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn processes(&self) -> Vec<String> {
        let mut names = vec!["nats".to_owned(), "registry".to_owned(), "gateway".to_owned()];
        names.extend((0..self.plan.workers).map(name));
        names
    }

    fn memory(&self, what: &str) -> Result<()> {
        for name in self.processes() {
            let mib = usage::memory(self.pid(&name)?, "VmRSS")?;
            self.say(&format!("{what}: {name}"), format!("{mib:.0} MiB"));
        }
        Ok(())
    }

    /// Seconds of processor time that a process has used.
    fn busy(&self, name: &str) -> Result<f64> {
        usage::processor(self.pid(name)?)
    }

    fn pid(&self, name: &str) -> Result<u32> {
        let pid = self.cluster.pid(name);
        pid.with_context(|| format!("{name} does not run"))
    }
}

fn config(title: &str) -> Value {
    json!({
        "connection": {"records_per_second": 0.02},
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": {"expr": "id", "as": "string"}, "title": {"value": title},
            "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
        }}]},
    })
}

async fn create(client: &Client, number: usize) -> Result<()> {
    let body = json!({"name": format!("scale {number}"), "type": "generator", "config": config("scale")});
    let id = client.post("/datasources", body).await.expect(201)["id"].clone();
    let id = id.as_str().context("no id")?;
    client
        .post(
            &format!("/datasources/{id}/publish"),
            json!({"comment": "measured"}),
        )
        .await
        .expect(200);
    Ok(())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    format!(
        "{} of them: p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
