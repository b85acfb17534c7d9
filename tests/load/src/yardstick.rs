//! The yardstick: a bare hyper server that checks the signature, publishes the body to JetStream as one message
//! and answers 202 on its ack. It does nothing else.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Result;
use async_nats::jetstream;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpListener;

struct State {
    context: jetstream::Context,
    mac: Hmac<Sha256>,
}

/// Starts the server on a free port of loopback.
pub(crate) async fn start(nats_url: &str, secret: &str) -> Result<SocketAddr> {
    let context = jetstream::new(async_nats::connect(nats_url).await?);
    let stream = jetstream::stream::Config {
        name: "YARDSTICK".into(),
        subjects: vec!["yardstick".into()],
        ..jetstream::stream::Config::default()
    };
    context.get_or_create_stream(stream).await?;
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    let state = Arc::new(State { context, mac });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let state = state.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| handle(state.clone(), request));
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = accept(&state, request)
        .await
        .unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    Ok(response)
}

async fn accept(state: &State, request: Request<Incoming>) -> Result<StatusCode> {
    let signature = request.headers().get("x-hub-signature-256").cloned();
    let body = request.into_body().collect().await?.to_bytes();
    let mut mac = state.mac.clone();
    mac.update(&body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sent = signature.as_ref().map(|value| value.as_bytes());
    if sent.and_then(|value| value.strip_prefix(b"sha256=")) != Some(hex.as_bytes()) {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    state.context.publish("yardstick", body).await?.await?;
    Ok(StatusCode::ACCEPTED)
}
