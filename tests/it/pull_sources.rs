//! Real upstreams under a whole system: what an entry of a Redis stream became arrives once, whoever is killed; and an
//! address that the installation does not allow is not reached.

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, SERVICES, Sync},
    postgres::Postgres,
    redis::{PASSWORD, Redis},
};
use serde_json::{Value, json};

const STREAM: &str = "alerts";
const TOTAL: usize = 1_200;

async fn add(redis: &Redis, numbers: std::ops::Range<usize>) {
    let line = |number| format!("XADD {STREAM} * event '{{\"id\":\"a-{number}\",\"time\":1700000000}}'");
    let lines: Vec<String> = numbers.map(line).collect();
    redis.commands(&lines).await.unwrap();
}

fn config(redis: &Redis) -> Value {
    json!({
        "connection": {
            "host": "localhost", "port": redis.tls_port(), "tls": {"ca": redis.ca},
            "password": {"$secret": "password"}, "stream": STREAM, "field": "event", "claim_after": "5s",
        },
        "mapping": {"outputs": [{"kind": "alert", "fields": {
            "external_id": "id", "title": {"value": "from redis"},
            "severity": {"value": "low"}, "time": {"expr": "time", "as": "timestamp"},
        }}]},
        "runtime": {"parallelism": 2},
    })
}

async fn publish(client: &Client, redis: &Redis) -> String {
    let body = json!({"name": "redis", "type": "redis_stream", "config": config(redis)});
    let made = client.post("/datasources", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = json!({"value": PASSWORD});
    client
        .put(&format!("/datasources/{id}/secrets/password"), secret)
        .await
        .expect(200);
    client
        .post(&format!("/datasources/{id}/publish"), json!({"comment": "go"}))
        .await
        .expect(200);
    id
}

#[tokio::test]
async fn kills_of_worker_and_upstream_lose_nothing_of_a_stream() {
    let mut redis = Redis::start().await.unwrap();
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let others: Vec<&str> = SERVICES
        .into_iter()
        .filter(|service| *service != "worker")
        .collect();
    let mut cluster = Cluster::start(crate::halcyon(), &database, Sync::Always, &others)
        .await
        .unwrap();
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;

    // In production nothing inside is reached unless it is allowed.
    cluster.spawn_as("worker-strict", "worker", &[]).unwrap();
    let id = publish(&client, &redis).await;
    client
        .wait_for("the refusal", async |client| {
            let state = client.get(&format!("/datasources/{id}")).await["state"].take();
            let message = state["message"].as_str().unwrap_or_default();
            state["status"] == "ERROR" && message.contains("does not allow")
        })
        .await;
    cluster.kill("worker-strict").unwrap();

    for worker in ["worker-a", "worker-b"] {
        let settings = ["egress.allow=['127.0.0.0/8', '::1']", "worker.lease=4s"];
        cluster.spawn_as(worker, "worker", &settings).unwrap();
    }
    let alerts = format!("/alerts?datasource={id}");
    let seen = async |least: usize| {
        client
            .wait_for("alerts", async |client| client.all(&alerts).await.len() >= least)
            .await;
    };
    add(&redis, 0..300).await;
    seen(150).await;
    cluster.kill_and_restart("worker-a").unwrap();
    add(&redis, 300..600).await;
    seen(400).await;
    redis.kill();
    redis.restart().await.unwrap();
    add(&redis, 600..900).await;
    seen(700).await;
    cluster.kill_and_restart("worker-b").unwrap();
    add(&redis, 900..TOTAL).await;
    seen(TOTAL).await;
    let found = client.all(&alerts).await;
    assert_eq!(found.len(), TOTAL);
    assert!(
        found.iter().all(|alert| alert["revision"] == 1),
        "an effect counted twice"
    );
}
