//! The HTTP server and what it answers besides the API: probes, the description, problems for what no route takes.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use halcyon_infra::{Check, Health, Metric, Metrics, Shutdown, probes};
use salvo::{
    Depot, FlowCtrl, Handler, Listener, Request, Response, Server, Service, async_trait,
    conn::{Acceptor, TcpListener, rustls::RustlsAcceptor, tcp::TcpAcceptor},
    fuse::FuseConfig,
    http::{
        HeaderValue, ResBody, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION},
    },
};
use serde_json::Value;

use crate::{
    Settings, auth::Tokens, context::RequestInfo, edge::tls::Configs, problem::Problem, rest::no_query,
};

/// A server that listens, and does not answer yet.
pub(crate) struct Listening {
    acceptor: Accepts,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

enum Accepts {
    Plain(TcpAcceptor),
    Tls(RustlsAcceptor<TcpAcceptor>),
}

/// Listens at `address`; port 0 is any free one.
pub(crate) async fn listen(address: SocketAddr, tls: Option<Configs>) -> anyhow::Result<Listening> {
    let listener = TcpListener::new(address);
    let taken = || format!("cannot listen at {address} (`gateway.listen`)");
    let acceptor = match tls {
        None => Accepts::Plain(listener.try_bind().await.with_context(taken)?),
        Some(configs) => Accepts::Tls(listener.rustls(configs).try_bind().await.with_context(taken)?),
    };
    let holdings = match &acceptor {
        Accepts::Plain(acceptor) => acceptor.holdings(),
        Accepts::Tls(acceptor) => acceptor.holdings(),
    };
    let bound = holdings.iter().find_map(|holding| match &holding.local_addr {
        salvo::conn::SocketAddr::IPv4(address) => Some(SocketAddr::V4(*address)),
        salvo::conn::SocketAddr::IPv6(address) => Some(SocketAddr::V6(*address)),
        _ => None,
    });
    Ok(Listening {
        acceptor,
        address: bound.unwrap_or(address),
    })
}

/// How a server ends.
pub(crate) struct Ending {
    /// What ends it.
    pub(crate) shutdown: Shutdown,
    /// Tells balancers to send no more.
    pub(crate) intake: Check,
    /// How long it goes on meanwhile.
    pub(crate) delay: Duration,
}

impl Ending {
    /// Ends when told to, without a delay and without telling anybody.
    #[cfg(test)]
    pub(crate) fn at_once(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            intake: Health::new().check("gateway.intake"),
            delay: Duration::ZERO,
        }
    }

    /// Waits until no more requests are to be expected.
    async fn begins(&self) {
        self.intake.ready();
        self.shutdown.triggered().await;
        self.intake.failing("the gateway is being stopped");
        tokio::time::sleep(self.delay).await;
    }
}

/// Answers until the end begins, then finishes the requests under way.
pub(crate) async fn serve(
    listening: Listening,
    service: Service,
    settings: &Settings,
    ending: Ending,
) -> anyhow::Result<()> {
    match listening.acceptor {
        Accepts::Plain(acceptor) => serve_on(acceptor, service, settings, ending).await,
        Accepts::Tls(acceptor) => serve_on(acceptor, service, settings, ending).await,
    }
}

async fn serve_on<A: Acceptor + Send + Sync + 'static>(
    acceptor: A,
    service: Service,
    settings: &Settings,
    ending: Ending,
) -> anyhow::Result<()> {
    let limits = &settings.limits;
    let timeouts = FuseConfig::default()
        .with_tls_handshake_timeout(limits.header_timeout.get())
        .with_http1_header_timeout(limits.header_timeout.get())
        .with_write_stall_timeout(limits.write_timeout.get());
    let mut server = Server::new(acceptor)
        .max_connections(limits.max_connections.max(1))
        .fuse_config(timeouts);
    // The server refuses less by panicking.
    let head = limits.max_header_bytes.max(8192);
    server.http1_mut().max_buf_size(head);
    server
        .http2_mut()
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
    let drain = settings.drain_timeout.get();
    let handle = server.handle();
    let stopper = tokio::spawn(async move {
        ending.begins().await;
        handle.stop_graceful(Some(drain));
    });
    let served = server.try_serve(service).await;
    stopper.abort();
    served.context("the HTTP server ended")
}

/// Leads from `/` to the documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToDocs;

#[async_trait]
impl Handler for ToDocs {
    async fn handle(&self, _: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        res.status_code(StatusCode::TEMPORARY_REDIRECT);
        res.headers_mut()
            .insert(LOCATION, HeaderValue::from_static("/api/docs"));
    }
}

/// Answers the API's description.
#[derive(Clone, Debug)]
pub(crate) struct Description(Arc<str>);

impl Description {
    /// The description as text, once.
    pub(crate) fn new(document: Value) -> Self {
        Self(document.to_string().into())
    }
}

#[async_trait]
impl Handler for Description {
    async fn handle(&self, _: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        res.status_code(StatusCode::OK);
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        res.replace_body(self.0.as_bytes().to_vec().into());
    }
}

/// Answers the public keys that access tokens are signed with.
pub(crate) struct Jwks(pub(crate) Arc<Tokens>);

#[async_trait]
impl Handler for Jwks {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let body = match serde_json::to_vec(&self.0.published()) {
            Ok(body) if self.0.is_ready() => body,
            Ok(_) => {
                return Problem::unavailable("the signing keys are not there yet").render(req, depot, res);
            }
            Err(error) => return Problem::internal(&error).render(req, depot, res),
        };
        res.status_code(StatusCode::OK);
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=15"));
        res.replace_body(body.into());
    }
}

/// Answers `/livez`, `/readyz`, `/healthz` and `/metrics`.
#[derive(Clone)]
pub(crate) struct Probes {
    /// The process's checks.
    pub(crate) health: Health,
    /// The process's metrics.
    pub(crate) metrics: Metrics,
    /// Whether only who asks from this host is told more than whether it is ready.
    pub(crate) local: bool,
}

#[async_trait]
impl Handler for Probes {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let path = req.uri().path();
        let here = RequestInfo::of(req, depot)
            .remote_ip
            .is_none_or(|ip| ip.is_loopback());
        let answer = if self.local && !here {
            probes::short_answer(path, &self.health)
        } else {
            probes::answer(path, &self.health, &self.metrics)
        };
        let Some(answer) = answer else {
            return Problem::not_found("path").render(req, depot, res);
        };
        res.status_code(StatusCode::from_u16(answer.status).unwrap_or_default());
        res.headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        res.replace_body(answer.body.into_bytes().into());
    }
}

/// Refuses every query parameter: what is not known is never ignored, here as little as in the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoQuery;

#[async_trait]
impl Handler for NoQuery {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        match no_query(req) {
            Ok(()) => drop(ctrl.call_next(req, depot, res).await),
            Err(problem) => {
                problem.render(req, depot, res);
                ctrl.skip_rest();
            }
        }
    }
}

/// Counts the API's requests and their times.
pub(crate) struct Measured(pub(crate) Metrics);

#[async_trait]
impl Handler for Measured {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let started = Instant::now();
        let method = req.method().clone();
        ctrl.call_next(req, depot, res).await;
        let status = res.status_code.unwrap_or(StatusCode::OK);
        let labels = [("method", method.as_str()), ("status", status.as_str())];
        self.0.add(Metric::HttpRequests, 1, &labels);
        self.0.observe(
            Metric::HttpSeconds,
            started.elapsed().as_secs_f64(),
            &[("method", method.as_str())],
        );
    }
}

/// Gives what no route takes, and a handler that panicked, a problem as its answer.
pub(crate) struct Problems;

#[async_trait]
impl Handler for Problems {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        if matches!(res.body, ResBody::None | ResBody::Error(_)) {
            let status = res.status_code.unwrap_or(StatusCode::NOT_FOUND);
            Problem::of_status(status).render(req, depot, res);
        }
    }
}
