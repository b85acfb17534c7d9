//! How long an event takes from its 202 to where a user sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{PATIENCE, api::Api, feed::Feed};

/// How many events the probe sends, one after the other.
const EVENTS: usize = 20;

/// The times from 202 to visible.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Sends the preset's sample a few times and looks for each in `GET /alerts`.
pub(super) async fn latency(api: &Api, feed: &Feed, id: &str, sample: &Value) -> anyhow::Result<Latency> {
    let from = time_of(api, id, sample).await?;
    let mut times = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let (event, _) = feed.send(&sample.to_string()).await?;
        times.push(visible(api, id, &event, &from).await?);
    }
    times.sort();
    let at = |share: f64| {
        times
            .get(((EVENTS - 1) as f64 * share).round() as usize)
            .copied()
            .unwrap_or_default()
    };
    Ok(Latency {
        p50: at(0.5),
        p99: at(0.99),
    })
}

/// The time that the sample's alert will carry; if the sample has none, one that is before all that follow.
async fn time_of(api: &Api, id: &str, sample: &Value) -> anyhow::Result<String> {
    let report = api
        .post(&format!("/datasources/{id}/test"), json!({"payload": sample}))
        .await?;
    let mut outputs = report["outputs"].as_array().into_iter().flatten();
    let alert = outputs.find(|output| output["kind"] == "alert");
    let time = alert.and_then(|alert| alert["object"]["time"].as_str());
    Ok(time.context("the sample maps to no alert")?.to_owned())
}

/// Waits until the alerts of the datasource tell of `event`.
async fn visible(api: &Api, id: &str, event: &str, from: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    loop {
        let page = api
            .get(&format!("/alerts?datasource={id}&from={from}&sort=time&limit=100"))
            .await?;
        let comes_from = |alert: &Value| {
            alert["provenance"]
                .as_array()
                .is_some_and(|sources| sources.iter().any(|from| from["event"] == event))
        };
        let seen = |alert: &Value| alert["external_id"] == event || comes_from(alert);
        if page["items"]
            .as_array()
            .is_some_and(|alerts| alerts.iter().any(seen))
        {
            return Ok(start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            bail!("event {event} is not visible after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
