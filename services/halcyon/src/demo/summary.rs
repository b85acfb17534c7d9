//! What the demonstration says at its end.

use std::{fmt::Write, time::Duration};

use serde_json::Value;

use super::{api::Api, feed::Sent, probe::Latency};

/// What a user finds after the replay.
pub(super) struct Found {
    alerts: usize,
    entities: usize,
    relationships: usize,
    /// A few of the alerts.
    first: Vec<Value>,
}

impl Found {
    /// Counts what there is once it no longer grows: what was delivered last is on its way to the database.
    pub(super) async fn settled(api: &Api, id: &str) -> anyhow::Result<Self> {
        let mut found = Self::now(api, id).await?;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let next = Self::now(api, id).await?;
            if next.alerts == found.alerts && next.relationships == found.relationships {
                return Ok(next);
            }
            found = next;
        }
    }

    async fn now(api: &Api, id: &str) -> anyhow::Result<Self> {
        let (alerts, first) = api.count(&format!("/alerts?datasource={id}")).await?;
        let (entities, _) = api.count("/entities").await?;
        let (relationships, _) = api.count("/relationships").await?;
        Ok(Self {
            alerts,
            entities,
            relationships,
            first,
        })
    }
}

/// What the demonstration came to.
pub(super) struct Summary<'s> {
    pub(super) url: &'s str,
    pub(super) id: &'s str,
    pub(super) name: &'s str,
    pub(super) sent: Sent,
    pub(super) counted: Value,
    pub(super) found: Found,
    pub(super) latency: Latency,
}

impl Summary<'_> {
    /// The summary as text.
    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let Found {
            alerts,
            entities,
            relationships,
            first,
        } = &self.found;
        let count = |key: &str| self.counted[key].as_u64().unwrap_or_default();
        let seconds = self.sent.took.as_secs_f64();
        let mut text = String::new();
        writeln!(text)?;
        writeln!(text, "{}", self.name)?;
        writeln!(
            text,
            "  accepted       {:>6} events in {seconds:.1} s",
            self.sent.accepted
        )?;
        if self.sent.repeated > 0 {
            writeln!(text, "  offered again  {:>6} times", self.sent.repeated)?;
        }
        writeln!(text, "  delivered      {:>6} records", count("delivered"))?;
        writeln!(text, "  filtered       {:>6}", count("filtered"))?;
        writeln!(text, "  dead letters   {:>6}", count("dead_lettered"))?;
        writeln!(text, "  alerts         {alerts:>6} of this datasource")?;
        writeln!(text, "  entities       {entities:>6} of all datasources")?;
        writeln!(text, "  relationships  {relationships:>6} of all datasources")?;
        let (p50, p99) = (
            self.latency.p50.as_secs_f64() * 1e3,
            self.latency.p99.as_secs_f64() * 1e3,
        );
        writeln!(text, "  202 to visible {p50:>6.1} ms p50, {p99:.1} ms p99")?;
        writeln!(text, "\nSome of the alerts:")?;
        for alert in first {
            let word = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            writeln!(
                text,
                "  {:<13} {}  {}",
                word("severity"),
                word("time"),
                word("title")
            )?;
        }
        self.more(&mut text)?;
        Ok(text)
    }

    fn more(&self, text: &mut String) -> std::fmt::Result {
        let (url, id) = (self.url, self.id);
        writeln!(
            text,
            "\nLook further, with TOKEN from POST {url}/api/v1/auth/login:"
        )?;
        for path in [
            format!("/alerts?datasource={id}&severity=high"),
            "/entities?type=user".to_owned(),
            "/relationships".to_owned(),
            format!("/datasources/{id}/metrics"),
            format!("/audit?resource={id}"),
        ] {
            writeln!(
                text,
                "  curl -s -H \"Authorization: Bearer $TOKEN\" '{url}/api/v1{path}'"
            )?;
        }
        write!(text, "\nAPI documentation: {url}/api/docs")
    }
}
