//! The endpoint.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use halcyon_connectors::http_webhook::{HandshakeAnswer, Request as WebhookRequest};
use halcyon_domain::id::DatasourceId;
use halcyon_infra::Metric;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, Router, async_trait,
    http::{
        HeaderValue, Method, ParseError, StatusCode,
        header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
};

use super::{
    events::{Batch, Stored},
    feeds::{Feed, Gate},
    refusal,
    state::IngestState,
};
use crate::{context::RequestInfo, problem::Problem, rest::PATIENCE};

/// The path's parameter.
const DATASOURCE: &str = "datasource_id";

/// The endpoint with path `{datasource_id}`, to be mounted under `/ingest`. GET only answers handshakes.
#[must_use]
pub fn router(state: &Arc<IngestState>) -> Router {
    let endpoint = Endpoint(state.clone());
    Router::with_path(format!("{{{DATASOURCE}}}"))
        .post(endpoint.clone())
        .get(endpoint)
}

#[derive(Clone)]
struct Endpoint(Arc<IngestState>);

enum Answer {
    Stored(Stored),
    Handshake(HandshakeAnswer),
}

#[async_trait]
impl Handler for Endpoint {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let started = Instant::now();
        let answer = self.take(req, depot).await;
        let metrics = &self.0.metrics;
        match answer {
            Ok(Answer::Stored(stored)) => {
                metrics.observe(Metric::IngestAckSeconds, started.elapsed().as_secs_f64(), &[]);
                metrics.add(Metric::IngestEvents, stored.count() as u64, &[]);
                write(res, StatusCode::ACCEPTED, "application/json", stored.body());
            }
            Ok(Answer::Handshake(answer)) => {
                res.headers_mut()
                    .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                write(res, StatusCode::OK, answer.content_type, answer.body);
            }
            Err(problem) => {
                if problem.status == StatusCode::METHOD_NOT_ALLOWED {
                    res.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                }
                problem.render(req, depot, res);
            }
        }
        let status = res.status_code.unwrap_or_default();
        metrics.add(Metric::IngestRequests, 1, &[("status", status.as_str())]);
    }
}

fn write(res: &mut Response, status: StatusCode, content_type: &'static str, body: String) {
    res.status_code(status);
    res.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    res.replace_body(body.into());
}

impl Endpoint {
    async fn take(&self, req: &mut Request, depot: &Depot) -> Result<Answer, Problem> {
        let datasource = req
            .params()
            .get(DATASOURCE)
            .and_then(|id| id.parse::<DatasourceId>().ok());
        let datasource = datasource.ok_or_else(refusal::unknown)?;
        let feed = self
            .0
            .feeds
            .awaited(datasource)
            .await
            .ok_or_else(refusal::unknown)?;
        let gate = open(&feed)?;
        let body = read(req, gate.webhook.max_body()).await?;
        let now = self.0.clock.now();
        let info = depot.get_typed::<RequestInfo>().ok();
        let request = WebhookRequest {
            method: req.method(),
            headers: req.headers(),
            query: req.uri().query(),
            body: &body,
            remote_ip: info.map_or_else(|| req.remote_addr().ip(), |info| info.remote_ip),
        };
        let rejected = |rejection| refusal::rejected(&rejection);
        let handshake = gate
            .webhook
            .handshake(&request, &gate.secrets, now)
            .map_err(rejected)?;
        if let Some(answer) = handshake {
            return Ok(Answer::Handshake(answer));
        }
        if req.method() != Method::POST {
            return Err(Problem::of_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        gate.webhook
            .verify(&request, &gate.secrets, now)
            .map_err(rejected)?;
        if feed.backlog_full {
            return Err(refusal::backlog_full());
        }
        // Only what is authentic uses up the rate: nobody else can take it away from the sender.
        check_rate(gate)?;
        let bytes = body.len() as u64;
        let batch = Batch {
            state: &self.0,
            datasource,
            feed: &feed,
            gate,
            headers: req.headers(),
            received_at: now,
        };
        let stored = batch.store(body).await?;
        self.0.metrics.add(Metric::IngestBytes, bytes, &[]);
        Ok(Answer::Stored(stored))
    }
}

/// What judges the feed's requests, if it takes any.
fn open(feed: &Feed) -> Result<&Gate, Problem> {
    if !feed.published || !feed.status.accepts_events() {
        return Err(refusal::not_accepting(feed.published));
    }
    feed.gate.as_deref().ok_or_else(refusal::not_ready)
}

/// Reads the body, and no more than `limit` bytes of it.
async fn read(req: &mut Request, limit: usize) -> Result<Bytes, Problem> {
    let announced = req
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let read = tokio::time::timeout(PATIENCE, req.payload_with_max_size(limit));
    match read.await.map_err(|_| Problem::too_slow())? {
        Ok(body) => Ok(body.clone()),
        Err(ParseError::PayloadTooLarge) => Err(Problem::too_large(limit)),
        Err(_) => Err(Problem::bad_request("the body could not be read")),
    }
}

fn check_rate(gate: &Gate) -> Result<(), Problem> {
    use governor::clock::{Clock, DefaultClock};
    let Some(limiter) = &gate.limiter else {
        return Ok(());
    };
    limiter.limiter.check().map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        Problem::too_many("the feed's rate limit is used up", wait).limited_by("feed")
    })
}
