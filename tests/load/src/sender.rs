//! Senders: each holds one HTTP/1.1 connection and sends its next request when the last was answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// What every request carries.
#[derive(Clone)]
pub(crate) struct Payload {
    /// Where to send it.
    pub(crate) address: SocketAddr,
    /// The path.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: Bytes,
    /// The value of `x-hub-signature-256`.
    pub(crate) signature: String,
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Requests answered with 202, per second.
    pub(crate) per_second: f64,
    /// Requests answered with 202, those before and after the measured time included.
    pub(crate) answered: u64,
}

/// Runs `senders` for `time` (after a fifth of it to warm up) and counts the answers.
pub(crate) async fn run(payload: &Payload, senders: usize, time: Duration) -> Result<Rate> {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        tasks.spawn(send(payload.clone(), stop.clone(), count.clone()));
    }
    tokio::time::sleep(time / 5).await;
    let (begin, before) = (Instant::now(), count.load(Ordering::Relaxed));
    tokio::time::sleep(time).await;
    let measured = count.load(Ordering::Relaxed) - before;
    let per_second = measured as f64 / begin.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.context("a sender panicked")??;
    }
    let answered = count.load(Ordering::Relaxed);
    Ok(Rate { per_second, answered })
}

async fn send(payload: Payload, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<()> {
    let stream = TcpStream::connect(payload.address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    while !stop.load(Ordering::Relaxed) {
        let request = Request::post(&payload.path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-hub-signature-256", &payload.signature)
            .body(Full::new(payload.body.clone()))?;
        let response = sender.send_request(request).await?;
        ensure!(response.status() == 202, "answered {}", response.status());
        response.into_body().collect().await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    drop(sender);
    driver.await??;
    Ok(())
}
