//! How long an event takes from its 202 to where a user sees it.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

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
    let mut times = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let (event, _) = feed.send(&sample.to_string()).await?;
        times.push(visible(api, id, &event).await?);
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

/// Waits until an alert of the datasource tells of `event`: the one that is named after it, or, where the vendor's
/// finding names the alert, one of those seen last.
async fn visible(api: &Api, id: &str, event: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let named = format!("/alerts?datasource={id}&external_id={event}");
    let newest = format!("/alerts?datasource={id}&sort=-last_seen&limit=20");
    let comes_from = |alert: &Value| {
        alert["provenance"]
            .as_array()
            .is_some_and(|sources| sources.iter().any(|from| from["event"] == event))
    };
    loop {
        for path in [&named, &newest] {
            let page = api.get(path).await?;
            if page["items"]
                .as_array()
                .is_some_and(|alerts| alerts.iter().any(comes_from))
            {
                return Ok(start.elapsed());
            }
        }
        if start.elapsed() > PATIENCE {
            bail!("event {event} is not visible after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
