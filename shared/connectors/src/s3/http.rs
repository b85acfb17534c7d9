//! The way from `object_store` to the network: each connection is made by the guard.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use halcyon_egress::Guard;
use http::{
    HeaderValue, Uri,
    header::{HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{Error, tls};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the beginning of an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest answer: a page of a listing, or a part of an object.
const LONGEST: usize = 32 * 1024 * 1024;
/// How many connections are kept for later.
const KEPT: usize = 16;

/// A stream that may be encrypted.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) encrypted: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// The origin of a URL.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let encrypted = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            encrypted,
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 }),
        })
    }
}

/// A connection, by where it leads.
type Idle = (Origin, SendRequest<Full<Bytes>>);

/// Requests by way of the guard.
#[derive(Clone)]
pub(super) struct Way {
    guard: Guard,
    tls: Arc<ClientConfig>,
    idle: Arc<Mutex<Vec<Idle>>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl Way {
    pub(super) fn new(guard: Guard, tls: Arc<ClientConfig>) -> Self {
        Self {
            guard,
            tls,
            idle: Arc::default(),
        }
    }

    /// Agrees on TLS over a connection to `origin`.
    ///
    /// # Errors
    /// See [`tls::not_agreed`].
    async fn encrypt(
        &self,
        origin: &Origin,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Error> {
        let name = origin.host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| Error::Refused {
            message: "the host's name cannot be in a certificate".to_owned(),
        })?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let agreed = connector.connect(name, stream).await;
        agreed.map_err(|error| tls::not_agreed(&error))
    }

    /// A connection that is free, or a new one.
    async fn sender(&self, origin: &Origin) -> Result<SendRequest<Full<Bytes>>, Error> {
        if let Some(free) = self.free(origin) {
            return Ok(free);
        }
        let stream = self.guard.connect(&origin.host, origin.port).await?;
        let stream: Box<dyn Stream> = if origin.encrypted {
            Box::new(self.encrypt(origin, stream).await?)
        } else {
            Box::new(stream)
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::transient(format!("no HTTP is spoken there: {error}")))?;
        tokio::spawn(async move {
            // Its failures are told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn free(&self, origin: &Origin) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, sender)| !sender.is_closed());
        let at = idle
            .iter()
            .position(|(other, sender)| other == origin && sender.is_ready())?;
        Some(idle.swap_remove(at).1)
    }

    fn keep(&self, origin: Origin, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= KEPT {
            idle.remove(0);
        }
        idle.push((origin, sender));
    }
}

impl HttpConnector for Way {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Way {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        let wrong = |what| HttpError::new(HttpErrorKind::Unknown, Error::System(what));
        let origin = Origin::of(&parts.uri).ok_or_else(|| wrong("a request has no address".to_owned()))?;
        let authority = parts
            .uri
            .authority()
            .map(|authority| authority.as_str().to_owned());
        let host = HeaderValue::try_from(authority.unwrap_or_default());
        let host = host.map_err(|error| wrong(error.to_string()))?;
        parts.headers.entry(HOST).or_insert(host);
        let agent = HeaderValue::from_static(concat!("halcyon/", env!("CARGO_PKG_VERSION")));
        parts.headers.entry(USER_AGENT).or_insert(agent);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path
            .parse()
            .map_err(|_| wrong("a request has no path".to_owned()))?;
        let body = Full::new(body.collect().await?.to_bytes());

        let late = |_| HttpError::new(HttpErrorKind::Timeout, Error::transient("no answer in time"));
        let sender = timeout(CONNECT, self.sender(&origin)).await.map_err(late)?;
        let mut sender = sender.map_err(|error| {
            // What is refused now is refused again.
            let kind = if error.is_transient() {
                HttpErrorKind::Connect
            } else {
                HttpErrorKind::Unknown
            };
            HttpError::new(kind, error)
        })?;
        let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::Request, error);
        let request = http::Request::from_parts(parts, body);
        let answer = timeout(ANSWER, sender.send_request(request))
            .await
            .map_err(late)?;
        let answer = answer.map_err(broken)?;
        self.keep(origin, sender);
        let interrupted = |error| HttpError::new_boxed(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(Limited::new(body, LONGEST).map_err(interrupted))))
    }
}
