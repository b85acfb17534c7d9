//! A small HTTP listener for services that have no API of their own: the probes and the metrics.

use std::net::SocketAddr;

use salvo::{
    Depot, FlowCtrl, Handler, Listener, Request, Response, Router, Server, async_trait,
    conn::TcpListener,
    http::{HeaderValue, StatusCode, header},
};

use crate::{Health, Metrics, Shutdown, probes};

struct Probes {
    health: Health,
    metrics: Metrics,
}

#[async_trait]
impl Handler for Probes {
    async fn handle(&self, request: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        match probes::answer(request.uri().path(), &self.health, &self.metrics) {
            Some(answer) => {
                response.status_code(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK));
                let content_type = HeaderValue::from_static(answer.content_type);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response.body(answer.body);
            }
            None => {
                response.status_code(StatusCode::NOT_FOUND);
            }
        }
    }
}

/// Serves the probes at `address` until the shutdown.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let acceptor = TcpListener::new(address)
        .try_bind()
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}"))?;
    let router = Router::with_path("{**rest}").get(Probes { health, metrics });
    let server = Server::new(acceptor);
    let handle = server.handle();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        stop.triggered().await;
        handle.stop_graceful(None);
    });
    shutdown.spawn(server.serve(router));
    tracing::info!(listen = %address, "serving health and metrics");
    Ok(())
}
