//! What a test maps: a pasted body, cut into events as ingest would, or a sample of the live source.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use halcyon_connectors::{BatchLimits, Error as ConnectorError, Secrets, Share, SourceContext, SourceRecord};
use halcyon_domain::{
    clock::{Clock, Timestamp},
    error::InputError,
    event::EventId,
    id::DatasourceId,
    test_run::PastEvent,
};
use halcyon_egress::Guard;
use halcyon_mapping::MappingContext;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use crate::plan::Plan;

/// An event to map.
#[derive(Clone, Debug)]
pub(crate) struct TestEvent {
    pub(crate) id: EventId,
    pub(crate) received_at: Timestamp,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) datasource: DatasourceId,
    pub(crate) payload: Bytes,
}

impl TestEvent {
    pub(crate) fn context(&self) -> MappingContext<'_> {
        MappingContext {
            event_id: &self.id,
            received_at: self.received_at,
            headers: &self.headers,
            datasource: self.datasource,
        }
    }
}

/// Makes events of bytes: with the identities that they would have in production.
#[derive(Clone)]
pub(crate) struct EventMaker {
    pub(crate) datasource: DatasourceId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) guard: Guard,
}

impl EventMaker {
    fn event(&self, payload: Bytes, key: Option<&str>, content_type: Option<&str>) -> TestEvent {
        let id = key.map_or_else(EventId::generate, |key| EventId::from_key(self.datasource, key));
        let headers = content_type.map(|value| (CONTENT_TYPE.to_string(), value.to_owned()));
        TestEvent {
            id,
            received_at: self.clock.now(),
            headers: headers.into_iter().collect(),
            datasource: self.datasource,
            payload,
        }
    }

    fn record(&self, record: SourceRecord) -> TestEvent {
        let mut event = self.event(record.bytes, record.dedupe_key.as_deref(), None);
        event.headers = record.headers;
        event
    }

    /// An event that came in before: the mapping sees of it what it saw then.
    pub(crate) fn of_past(&self, event: &PastEvent) -> Result<TestEvent, InputError> {
        let payload = BASE64.decode(event.base64.as_bytes());
        let payload = payload
            .map_err(|_| InputError::new("/payload_base64", "invalid", "the payload is not base64"))?;
        Ok(TestEvent {
            id: event.id.clone(),
            received_at: event.received_at,
            headers: event.headers.clone(),
            datasource: self.datasource,
            payload: payload.into(),
        })
    }

    /// The events of a body. A connector that takes requests cuts it as ingest would (lines, forms); for others it
    /// is one event.
    pub(crate) fn of_body(
        &self,
        plan: &Plan,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Result<Vec<TestEvent>, InputError> {
        if !plan.connector.spec().capabilities.push {
            return Ok(vec![self.event(body, None, content_type)]);
        }
        let verifier = plan.connector.verifier(&plan.connection).map_err(first)?;
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            let value = HeaderValue::from_str(value)
                .map_err(|_| InputError::new("/content_type", "invalid", "the value is not a media type"))?;
            headers.insert(CONTENT_TYPE, value);
        }
        let events = verifier
            .events(&headers, body)
            .map_err(|error| InputError::new("/payload", error.code(), error.to_string()))?;
        let made = events.into_iter().map(|event| {
            let content_type = event.content_type.or(content_type);
            self.event(event.bytes, event.dedupe_key.as_deref(), content_type)
        });
        Ok(made.collect())
    }

    /// Up to `count` records of the live source, gathered for no longer than `limit`. Nothing is acknowledged, so
    /// the source gives them again.
    pub(crate) async fn sample(
        &self,
        plan: &Plan,
        secrets: Secrets,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<TestEvent>, InputError> {
        let spec = plan.connector.spec();
        if !spec.capabilities.sample {
            let detail = format!(
                "connector `{}` has nothing to fetch: paste a payload",
                spec.type_name
            );
            return Err(InputError::new("/fetch_sample", "unsupported", detail));
        }
        let mut source = plan
            .connector
            .source(SourceContext {
                connection: plan.connection.clone(),
                secrets,
                checkpoint: None,
                limits: BatchLimits {
                    max_records: count,
                    max_wait: limit / 4,
                },
                share: Share::WHOLE,
                range: None,
                sample: true,
                clock: Arc::clone(&self.clock),
                guard: self.guard.clone(),
            })
            .map_err(|error| failed(&error))?;
        let mut events = Vec::new();
        let gather = async {
            while events.len() < count {
                match source.next_batch().await {
                    Ok(Some(batch)) => {
                        let records = batch.records.into_iter().take(count - events.len());
                        events.extend(records.map(|record| self.record(record)));
                    }
                    Ok(None) => break,
                    Err(error) => return Err(failed(&error)),
                }
            }
            Ok(())
        };
        // A time-out is no failure: what has come by then is the sample.
        let gathered = tokio::time::timeout(limit, gather).await;
        let _ = tokio::time::timeout(limit, source.stop()).await;
        match gathered {
            Ok(Err(error)) => Err(error),
            _ => Ok(events),
        }
    }
}

fn first(errors: Vec<InputError>) -> InputError {
    let error = errors.into_iter().next();
    error
        .unwrap_or_else(|| InputError::new("", "invalid", "the connection is not valid"))
        .under("/connection")
}

fn failed(error: &ConnectorError) -> InputError {
    InputError::new("/fetch_sample", "fetch_failed", error.to_string())
}
