//! A small HTTP listener for services without an API: probes only.

use std::net::SocketAddr;

use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, Router, Server, async_trait,
    conn::tcp::TcpAcceptor,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
};
use tokio::net::TcpListener;

use crate::{Error, Probes, Shutdown};

/// Takes an address for listening.
///
/// # Errors
/// It is taken by another process or not ours; the error names it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

/// Answers probes on `listener` until the stop is requested.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, probes: Probes, shutdown: Shutdown) -> Result<(), Error> {
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    tokio::select! {
        served = server.try_serve(router(probes)) => Ok(served?),
        () = shutdown.wait() => Ok(()),
    }
}

fn router(probes: Probes) -> Router {
    let handler = ProbeHandler(probes);
    Probes::PATHS.iter().fold(Router::new(), |router, path| {
        router.push(Router::with_path(path.trim_start_matches('/')).get(handler.clone()))
    })
}

#[derive(Clone)]
struct ProbeHandler(Probes);

#[async_trait]
impl Handler for ProbeHandler {
    async fn handle(&self, req: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let Some(answer) = self.0.answer(req.uri().path()) else {
            res.status_code(StatusCode::NOT_FOUND);
            return;
        };
        res.status_code(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        res.body(answer.body);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{Health, Metrics};

    #[tokio::test]
    async fn it_answers_probes_until_the_stop() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(bind(address).await.unwrap_err().to_string().contains(&address.to_string()));
        let shutdown = Shutdown::default();
        let probes = Probes::new(Health::new(), Metrics::new().unwrap());
        let task = tokio::spawn(serve(listener, probes, shutdown.clone()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("ready\n"), "{answer}");
        shutdown.trigger();
        task.await.unwrap().unwrap();
    }
}
