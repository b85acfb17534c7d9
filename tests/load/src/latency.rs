//! The time from a 202 to the committed alert, on an idle system: the alert is published on the bus after its commit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use halcyon_tests::{load::sequence_mapping, up::Studio};
use serde_json::json;

/// Sends `events` one after the other and prints the spread.
#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) async fn run(halcyon: &Path, events: usize) -> Result<()> {
    let studio = Studio::start(halcyon).await;
    let id = studio
        .client
        .publish_webhook("latency", sequence_mapping("t"))
        .await;
    let nats = studio.up.ready.subscriber().await;
    let mut alerts = nats.subscribe(format!("halcyon.*.{id}.alert")).await?;
    nats.flush().await?;
    let mut times = Vec::with_capacity(events);
    for seq in 0..events {
        let body = json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
        let status = studio.client.ingest(&id, body.into_bytes()).await.status;
        ensure!(status == 202, "answered {status}");
        let accepted = Instant::now();
        let next = tokio::time::timeout(Duration::from_secs(20), alerts.next());
        next.await?.context("the subscription ended")?;
        times.push(accepted.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("202 to committed alert, {events} events one by one, sync always, SQLite:");
    println!(
        "p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    studio.up.stop();
    Ok(())
}
