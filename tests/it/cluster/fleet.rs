//! Several registries and workers as processes, and what can be seen of them from outside.

use std::{collections::BTreeMap, process::Command};

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, Sync},
    postgres::Postgres,
};
use reqwest::Method;
use serde_json::{Value, json};

const SERVICES: [&str; 4] = ["gateway", "ontology", "audit", "test-runner"];

pub(super) struct Fleet {
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    workers: Vec<String>,
    _postgres: Postgres,
}

impl Fleet {
    pub(super) async fn start(registries: &[&str], workers: &[&str]) -> Self {
        let postgres = Postgres::start().await.unwrap();
        let database = postgres.database().await.unwrap();
        let mut cluster = Cluster::prepare(crate::halcyon(), &database, Sync::Always, &SERVICES)
            .await
            .unwrap();
        for name in registries {
            let settings = [
                "registry.leader_lease=4s",
                "registry.worker_lease=4s",
                "registry.reconcile_interval=5s",
            ];
            cluster.spawn_as(name, "registry", &settings).unwrap();
        }
        cluster.wait_ready().await.unwrap();
        let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
        let mut fleet = Self {
            cluster,
            client,
            workers: Vec::new(),
            _postgres: postgres,
        };
        for name in workers {
            fleet.worker(name, &[]).await;
        }
        fleet
    }

    /// Starts a worker and waits until it is there.
    pub(super) async fn worker(&mut self, name: &str, settings: &[&str]) {
        let settings = [&["worker.lease=4s"], settings].concat();
        self.cluster.spawn_as(name, "worker", &settings).unwrap();
        self.workers.push(name.to_owned());
        self.said(name, "the worker waits for assignments").await;
    }

    pub(super) async fn said(&self, name: &str, what: &str) {
        self.client
            .wait_for(&format!("{name} to say: {what}"), async |_| {
                self.says(name, what) > 0
            })
            .await;
    }

    /// How often a process has said something.
    pub(super) fn says(&self, name: &str, what: &str) -> usize {
        let log = std::fs::read_to_string(self.cluster.log(name)).unwrap_or_default();
        log.matches(what).count()
    }

    pub(super) fn signal(&self, name: &str, signal: &str) {
        let pid = self.cluster.pid(name).unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub(super) async fn source(&self, name: &str, connection: Value, runtime: Value) -> String {
        let config = json!({
            "connection": connection,
            "runtime": runtime,
            "mapping": {"outputs": [{"kind": "alert", "fields": {
                "external_id": {"expr": "id", "as": "string"}, "title": "title",
                "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
            }}]},
        });
        let body = json!({"name": name, "type": "generator", "config": config});
        let made = self.client.post("/datasources", body).await.expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        self.client
            .post(&format!("/datasources/{id}/publish"), json!({"comment": "go"}))
            .await
            .expect(200);
        id
    }

    pub(super) async fn state(&self, id: &str) -> Value {
        self.client.get(&format!("/datasources/{id}")).await["state"].clone()
    }

    /// The process that runs a source, of these.
    pub(super) async fn owner<'n>(&self, id: &str, names: &[&'n str]) -> &'n str {
        let running = async |client: &Client| {
            let state = client.get(&format!("/datasources/{id}")).await["state"].clone();
            state["status"] == "RUNNING" && state["worker"].is_string()
        };
        self.client.wait_for("the source to run", running).await;
        let worker = self.state(id).await["worker"].as_str().unwrap().to_owned();
        let named = format!("worker.id={worker}");
        names.iter().find(|name| self.says(name, &named) > 0).unwrap()
    }

    /// The epochs under which a worker has run a source's first instance.
    fn epochs(&self, worker: &str, id: &str) -> Vec<u64> {
        let log = std::fs::read_to_string(self.cluster.log(worker)).unwrap_or_default();
        let begun = format!("a source runs here datasource.id={id} instance=0 epoch=");
        let runs = log.split(&begun).skip(1);
        let epochs = runs.map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next());
        epochs.map(|epoch| epoch.unwrap().parse().unwrap()).collect()
    }

    /// Who has run a source, by epoch. No two workers have under the same.
    pub(super) fn history(&self, id: &str) -> BTreeMap<u64, &str> {
        let mut history = BTreeMap::new();
        for worker in &self.workers {
            for epoch in self.epochs(worker, id) {
                let other = history.insert(epoch, worker.as_str());
                assert!(
                    other.is_none_or(|other| other == worker),
                    "{id} has run at {other:?} and {worker} in epoch {epoch}"
                );
            }
        }
        history
    }

    /// The sources that a worker was the last one to begin.
    pub(super) fn sources_of(&self, worker: &str, sources: &[String]) -> Vec<String> {
        let last = |id: &&String| self.history(id).last_key_value().map(|(_, last)| *last);
        let its = sources.iter().filter(|id| last(id) == Some(worker));
        its.cloned().collect()
    }

    /// How often workers have begun these sources.
    pub(super) fn begun(&self, sources: &[String]) -> usize {
        sources.iter().map(|id| self.history(id).len()).sum()
    }

    /// Waits until each of these sources, of `total` records, goes on at another worker.
    pub(super) async fn others_go_on(&self, worker: &str, sources: &[String], total: u64) {
        for id in sources {
            let before = self.sequence(id).await;
            self.client
                .wait_for("another worker to go on", async |_| {
                    let history = self.history(id);
                    let taken = history.last_key_value().is_some_and(|(_, last)| *last != worker);
                    taken && self.sequence(id).await >= total.min(before + 1)
                })
                .await;
        }
    }

    /// How far a source has read; nothing has been before its first batch.
    pub(super) async fn sequence(&self, id: &str) -> u64 {
        let path = format!("/api/v1/datasources/{id}/checkpoint");
        let found = self.client.call(Method::GET, &path, None).await;
        found.body["position"]["sequence"].as_u64().unwrap_or_default()
    }

    pub(super) async fn moves_on(&self, id: &str) {
        let before = self.sequence(id).await;
        self.client
            .wait_for("the source to go on", async |_| self.sequence(id).await > before)
            .await;
    }

    /// Waits for all records of a source: each arrived, none counted twice.
    pub(super) async fn complete(&self, id: &str, total: usize) {
        let alerts = format!("/alerts?datasource={id}");
        self.client
            .wait_for("all records", async |client| {
                client.all(&alerts).await.len() >= total
            })
            .await;
        let found = self.client.all(&alerts).await;
        assert_eq!(found.len(), total);
        assert!(
            found.iter().all(|alert| alert["revision"] == 1),
            "an effect counted twice"
        );
    }
}
