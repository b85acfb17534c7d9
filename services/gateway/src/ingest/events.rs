//! From an accepted body to stored events.

use std::fmt::Write;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use halcyon_connectors::http_webhook::RawEvent;
use halcyon_domain::{
    clock::Timestamp,
    event::{EventId, IngestEvent},
    id::DatasourceId,
    partition::slot,
};
use halcyon_infra::telemetry::current_traceparent;
use salvo::http::{HeaderMap, header::CONTENT_TYPE};

use super::{
    feeds::{Feed, Gate},
    headers, refusal,
    state::IngestState,
};
use crate::problem::Problem;

/// Events of one request that wait for their acks at a time.
const CONCURRENT: usize = 1_024;

/// The events that were stored.
pub(super) enum Stored {
    /// One body, one event.
    One(EventId),
    /// NDJSON: one event for each line.
    Lines(Vec<EventId>),
}

impl Stored {
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Lines(ids) => ids.len(),
        }
    }

    /// The answer's body. Identifiers are UUIDs: there is nothing to escape.
    pub(super) fn body(&self) -> String {
        match self {
            Self::One(id) => format!("{{\"id\":\"{id}\"}}"),
            Self::Lines(ids) => {
                let mut body = String::with_capacity(ids.len() * 39 + 16);
                body.push_str("{\"ids\":[");
                for (index, id) in ids.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    // Writing to a String does not fail.
                    let _ = write!(body, "{comma}\"{id}\"");
                }
                body.push_str("]}");
                body
            }
        }
    }
}

/// Where a request's events go, and what they have in common.
pub(super) struct Batch<'a> {
    pub(super) state: &'a IngestState,
    pub(super) datasource: DatasourceId,
    pub(super) feed: &'a Feed,
    pub(super) gate: &'a Gate,
    pub(super) headers: &'a HeaderMap,
    pub(super) received_at: Timestamp,
}

impl Batch<'_> {
    /// Stores the events of a body and returns once all of them are durable.
    pub(super) async fn store(&self, body: Bytes) -> Result<Stored, Problem> {
        let text = |name: &str| Some(self.headers.get(name)?.to_str().ok()?.to_owned());
        let content_type = text(CONTENT_TYPE.as_str());
        let lines = is_lines(content_type.as_deref());
        // The request's own span if there is one, which continues the sender's trace; else the sender's.
        let traceparent = current_traceparent().or_else(|| text(halcyon_bus::trace::TRACEPARENT));
        let raw = self
            .gate
            .webhook
            .events(self.headers, body)
            .map_err(|error| refusal::bad_body(&error))?;
        let kept = headers::kept(&self.gate.webhook, self.headers);
        let event = |raw: RawEvent| IngestEvent {
            id: match &raw.dedupe_key {
                Some(key) => EventId::from_key(self.datasource, key),
                None => EventId::generate(),
            },
            organization: self.feed.organization,
            datasource: self.datasource,
            received_at: self.received_at,
            content_type: raw
                .content_type
                .map(str::to_owned)
                .or_else(|| content_type.clone()),
            headers: kept.clone(),
            attempt: 0,
            replay: None,
            payload: raw.bytes,
        };
        let mut raw = raw.into_iter();
        if raw.len() == 1
            && !lines
            && let Some(only) = raw.next()
        {
            return self
                .submit(event(only), traceparent.as_deref())
                .await
                .map(Stored::One);
        }
        let stored = stream::iter(raw.map(|raw| self.submit(event(raw), traceparent.as_deref())));
        Ok(Stored::Lines(stored.buffered(CONCURRENT).try_collect().await?))
    }

    async fn submit(&self, event: IngestEvent, traceparent: Option<&str>) -> Result<EventId, Problem> {
        let slot = slot(&event.id, self.feed.parallelism);
        let pool = self.feed.pool.as_deref();
        let partition = self.state.partitions.of(pool, self.datasource, slot);
        let partition = partition.ok_or_else(|| refusal::no_pool(pool))?;
        let stored = self.state.publishers.submit(partition, &event, traceparent).await;
        stored.map_err(|error| refusal::not_stored(&error))?;
        Ok(event.id)
    }
}

/// Whether a body is NDJSON by its media type: the answer then is a list, also for a single line.
fn is_lines(content_type: Option<&str>) -> bool {
    let media = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim();
    let media = media.to_ascii_lowercase();
    media.ends_with("ndjson") || media.ends_with("jsonl") || media.ends_with("jsonlines")
}
