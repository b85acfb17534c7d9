//! What is measured: a gateway with its registry, and the yardstick on a nats-server with the same settings.

use std::{path::Path, time::Duration};

use anyhow::Result;
use halcyon_tests::{
    client::{Client, hmac_sha256_hex},
    cluster::{Cluster, Sync},
    nats::Nats,
    postgres::Postgres,
    wait,
};
use serde_json::json;

use crate::{sender::Payload, yardstick};

const SECRET: &str = "a secret of this measurement";

/// Both sides, running.
pub(crate) struct Setup {
    /// The system's side.
    pub(crate) ours: Payload,
    /// The yardstick's side.
    pub(crate) yardstick: Payload,
    _cluster: Cluster,
    _postgres: Postgres,
    _nats: Nats,
}

/// Starts both sides. Only what ingest needs runs: what comes after the durable ack is not measured here, and
/// would take the two cores that the measurement needs.
pub(crate) async fn start(halcyon: &Path, sync: Sync) -> Result<Setup> {
    let postgres = Postgres::start().await?;
    let database = postgres.database().await?;
    let cluster = Cluster::start(halcyon, &database, sync, &["registry", "gateway"]).await?;
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let ours = feed(&cluster, &client, 1).await?;
    let nats = Nats::start_with(|port, store| {
        let interval = if sync == Sync::Always {
            "sync_interval: always"
        } else {
            ""
        };
        format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\"\n{interval} }}\n",
            store.display()
        )
    })
    .await?;
    let address = yardstick::start(&nats.url(), SECRET).await?;
    let yardstick = Payload {
        address,
        ..ours.clone()
    };
    Ok(Setup {
        ours,
        yardstick,
        _cluster: cluster,
        _postgres: postgres,
        _nats: nats,
    })
}

/// A signed webhook feed over so many partitions, once it takes events, and what to send it. The events wait in the
/// stream while no worker runs.
pub(crate) async fn feed(cluster: &Cluster, client: &Client, parallelism: u16) -> Result<Payload> {
    let id = publish(client, parallelism).await;
    let body = body();
    let signature = format!("sha256={}", hmac_sha256_hex(SECRET.as_bytes(), body.as_bytes()));
    let payload = Payload {
        address: cluster.url.trim_start_matches("http://").parse()?,
        path: format!("/ingest/{id}"),
        body: body.into(),
        signature,
    };
    wait_accepting(client, &id, &payload).await?;
    Ok(payload)
}

async fn publish(client: &Client, parallelism: u16) -> String {
    let auth = json!({"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}});
    let mapping = halcyon_tests::load::sequence_mapping("measured");
    let config =
        json!({"connection": {"auth": auth}, "mapping": mapping, "runtime": {"parallelism": parallelism}});
    let body = json!({"name": "measured", "type": "http_webhook", "config": config});
    let created = client.post("/datasources", body).await.expect(201);
    let id = created["id"].as_str().unwrap_or_default().to_owned();
    client
        .put(
            &format!("/datasources/{id}/secrets/signing"),
            json!({"value": SECRET}),
        )
        .await
        .expect(200);
    client
        .post(
            &format!("/datasources/{id}/publish"),
            json!({"comment": "measure"}),
        )
        .await
        .expect(200);
    id
}

async fn wait_accepting(client: &Client, id: &str, payload: &Payload) -> Result<()> {
    let accepted = || async {
        let headers = [("x-hub-signature-256", payload.signature.clone())];
        client
            .ingest_with(id, payload.body.to_vec(), &headers)
            .await
            .status
            == 202
    };
    wait::eventually(Duration::from_secs(30), accepted).await
}

/// An alert of about a kilobyte.
fn body() -> String {
    let detail = "a process was started from a folder that users can write to; ".repeat(12);
    json!({
        "seq": 1, "host": "host-1", "at": "2026-01-02T03:04:05Z", "severity": "high",
        "title": "Suspicious process", "detail": detail, "user": {"name": "alice", "domain": "example"},
    })
    .to_string()
}
