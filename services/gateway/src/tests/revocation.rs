//! What is taken back at one gateway counts at another within two seconds, for what is open, too.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use halcyon_bus::Service;
use halcyon_domain::clock::SystemClock;
use halcyon_infra::{Health, Metrics, Mode, Shutdown};
use halcyon_tests::{client::Client, wait};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use super::{
    process::{Process, SOON, Secrets, connect, registry},
    support::ADMIN,
};
use crate::{Context, Settings, run};

/// How soon what was taken back counts everywhere.
const BOUND: Duration = Duration::from_secs(2);

/// A second gateway process on the same database and bus.
async fn beside(process: &Process, shutdown: &Shutdown) -> SocketAddr {
    let (listening, address) = oneshot::channel();
    let health = Health::new();
    let context = Context {
        bus: connect(&process.nats, Service::Gateway).await,
        store: process.store.clone(),
        clock: Arc::new(SystemClock),
        mode: Mode::Development,
        health: health.clone(),
        metrics: Metrics::new().unwrap(),
        listening: Some(listening),
    };
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Settings::default()
    };
    tokio::spawn(run(context, settings, shutdown.clone()));
    let address = address.await.unwrap();
    wait::eventually(SOON, || async { health.report().ready })
        .await
        .unwrap();
    address
}

/// A log that is being followed.
async fn follow(address: SocketAddr, datasource: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/datasources/{datasource}/logs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         accept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains("text/event-stream") {
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    stream
}

/// How long the stream goes on.
async fn ends(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn a_session_that_ends_at_one_gateway_ends_its_streams_at_another() {
    let process = Process::start().await;
    let _serving = registry(&process.registry, Secrets::default()).await;
    process.ready().await;
    let shutdown = Shutdown::new();
    let other = beside(&process, &shutdown).await;
    let (here, there) = (format!("http://{}", process.address), format!("http://{other}"));
    let keeper = Client::login(&here, ADMIN.0, ADMIN.1).await;
    let made = keeper
        .post("/datasources", json!({"name": "EDR", "type": "generator"}))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();

    let leaver = Client::login(&there, ADMIN.0, ADMIN.1).await;
    let mut kept = follow(other, id, keeper.token()).await;
    let mut open = follow(other, id, leaver.token()).await;
    // It stands for longer than it takes to see a change.
    let early = tokio::time::timeout(BOUND, ends(&mut open)).await;
    assert!(early.is_err(), "nothing was taken back yet");
    let sessions = keeper.get("/me/sessions").await;
    let session = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["current"] == false)
        .unwrap();
    let path = format!("/api/v1/me/sessions/{}", session["id"].as_str().unwrap());
    keeper.call(Method::DELETE, &path, None).await.expect(204);
    let refused = leaver.call(Method::GET, "/api/v1/me", None).await;
    refused.expect(401);
    let took = ends(&mut open).await;
    assert!(
        took < BOUND,
        "the stream at the other gateway went on for {took:?}"
    );

    let still = tokio::time::timeout(BOUND, ends(&mut kept)).await;
    assert!(still.is_err(), "another session's stream goes on");
    let path = format!("/api/v1/datasources/{id}");
    keeper.call(Method::DELETE, &path, None).await.expect(204);
    let took = ends(&mut kept).await;
    assert!(
        took < BOUND,
        "the stream of a deleted datasource went on for {took:?}"
    );
    shutdown.trigger();
    process.shutdown.trigger();
}
