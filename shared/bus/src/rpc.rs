//! Questions and answers as NATS services: discoverable (`$SRV.PING`), load-balanced, with typed errors.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{
    client::RequestErrorKind,
    service::{Request, Service as NatsService, ServiceExt, error::Error as ServiceError},
};
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Bus, Error, RemoteError, requests::Endpoint, subjects, trace};

/// Requests that one endpoint answers at a time; more wait.
const CONCURRENT: usize = 64;

/// The header of an answer that is an error.
const ERROR_HEADER: &str = "Nats-Service-Error-Code";

/// What came with a request.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// Endpoints that are being served. They stop when this is dropped; [`Serving::stop`] waits for what is under way.
pub struct Serving {
    bus: Bus,
    service: NatsService,
    name: &'static str,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Bus {
    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// `NoResponders` if nobody serves it, `Timeout`, and `Remote` with the other side's error.
    pub async fn call<E: Endpoint>(
        &self,
        request: &E::Request,
        timeout: Duration,
    ) -> Result<E::Reply, Error> {
        self.call_traced::<E>(request, timeout, None).await
    }

    /// As [`Bus::call`], with a W3C trace context.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub async fn call_traced<E: Endpoint>(
        &self,
        request: &E::Request,
        timeout: Duration,
        traceparent: Option<&str>,
    ) -> Result<E::Reply, Error> {
        let subject = subject::<E>();
        let payload = serde_json::to_vec(request).map_err(Error::malformed)?;
        let size = payload.len();
        let mut headers = async_nats::HeaderMap::new();
        trace::inject(&mut headers, traceparent);
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(payload.into())
            .timeout(Some(timeout));
        let answer = self.client().send_request(subject.clone(), request).await;
        let message = answer.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => Error::Timeout(timeout),
            RequestErrorKind::NoResponders => Error::NoResponders(subject),
            RequestErrorKind::MaxPayloadExceeded => Error::TooLarge {
                size,
                limit: self.max_payload(),
            },
            _ => Error::unavailable(error),
        })?;
        if message
            .headers
            .as_ref()
            .is_some_and(|headers| headers.get(ERROR_HEADER).is_some())
        {
            let error: RemoteError = serde_json::from_slice(&message.payload).map_err(Error::malformed)?;
            return Err(Error::Remote(error));
        }
        serde_json::from_slice(&message.payload).map_err(Error::malformed)
    }

    /// Starts to serve: add endpoints to what it returns. `name` is the endpoints' [`Endpoint::SERVICE`].
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn serve(
        &self,
        name: &'static str,
        version: &str,
        description: &str,
    ) -> Result<Serving, Error> {
        let service = self
            .client()
            .service_builder()
            .description(description)
            .start(format!("halcyon-{name}"), version)
            .await
            .map_err(Error::unavailable)?;
        Ok(Serving {
            bus: self.clone(),
            service,
            name,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }
}

impl Serving {
    /// Answers the questions of one endpoint, up to 64 at a time.
    ///
    /// # Errors
    /// The endpoint belongs to another service, or the server cannot be reached.
    pub async fn endpoint<E, H, F>(&self, handler: H) -> Result<(), Error>
    where
        E: Endpoint,
        H: Fn(E::Request, RequestContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<E::Reply, RemoteError>> + Send + 'static,
    {
        if E::SERVICE != self.name {
            return Err(Error::Setup(format!(
                "endpoint {} belongs to service {}",
                E::NAME,
                E::SERVICE
            )));
        }
        let endpoint = self
            .service
            .endpoint_builder()
            .name(E::NAME)
            .add(subject::<E>())
            .await;
        let mut requests = endpoint.map_err(Error::unavailable)?;
        let (stop, tasks, handler) = (self.stop.clone(), self.tasks.clone(), Arc::new(handler));
        let permits = Arc::new(Semaphore::new(CONCURRENT));
        self.tasks.spawn(async move {
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let request = tokio::select! {
                    () = stop.cancelled() => None,
                    request = requests.next() => request,
                };
                let Some(request) = request else {
                    // The subscription ends, so that the next request goes to another process.
                    let _ = requests.stop().await;
                    return;
                };
                let handler = handler.clone();
                tasks.spawn(async move {
                    answer::<E, H, F>(&request, &handler).await;
                    drop(permit);
                });
            }
        });
        Ok(())
    }

    /// Takes no more requests and waits for those under way.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Answers are buffered by the client: they are out once something came back over the same connection.
        let _ = self.bus.rtt().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn subject<E: Endpoint>() -> String {
    format!("{}.{}.{}", subjects::SERVICES, E::SERVICE, E::NAME)
}

async fn answer<E, H, F>(request: &Request, handler: &H)
where
    E: Endpoint,
    H: Fn(E::Request, RequestContext) -> F,
    F: Future<Output = Result<E::Reply, RemoteError>>,
{
    let context = RequestContext {
        traceparent: trace::extract(request.message.headers.as_ref()),
    };
    let outcome = match serde_json::from_slice(&request.message.payload) {
        Ok(question) => handler(question, context).await,
        Err(error) => Err(RemoteError::new("malformed", error.to_string())),
    };
    let sent = match outcome.and_then(|reply| {
        serde_json::to_vec(&reply).map_err(|error| RemoteError::new("internal", error.to_string()))
    }) {
        Ok(payload) => request.respond(Ok(payload.into())).await,
        Err(error) => respond_error(request, &error).await,
    };
    if let Err(error) = sent {
        tracing::warn!(endpoint = E::NAME, error = %error, "an answer could not be sent");
    }
}

/// Service errors of the protocol have no body: the typed error goes as the payload beside the protocol's headers.
async fn respond_error(request: &Request, error: &RemoteError) -> Result<(), async_nats::PublishError> {
    let code = if error.retry { 503 } else { 400 };
    let protocol = ServiceError {
        status: error.code.clone(),
        code,
    };
    let body = serde_json::to_vec(error).unwrap_or_default();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Service-Error", protocol.status.as_str());
    headers.insert(ERROR_HEADER, protocol.code.to_string().as_str());
    request.respond_with_headers(Ok(body.into()), headers).await
}
