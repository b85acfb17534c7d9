//! HTTP through the guard.

use std::{error::Error as StdError, net::SocketAddr, time::Duration};

use reqwest::{
    Client, ClientBuilder, Request, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

use crate::{Error, Guard};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// Why a request had no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host may not be reached, or its name cannot be resolved.
    #[error(transparent)]
    Host(Error),
    /// Only `http` and `https` are spoken.
    #[error("`{0}` is neither http nor https")]
    Scheme(String),
    /// A redirect to another origin; credentials are not carried there.
    #[error("the answer redirects to {0}, another origin; give that as the URL if it is meant")]
    Elsewhere(String),
    /// More than five redirects.
    #[error("the answer redirects more than {REDIRECTS} times")]
    Redirects,
    /// Anything else.
    #[error(transparent)]
    Failed(reqwest::Error),
}

/// An HTTP client that reaches only what its guard allows, ignores the environment's proxies, and follows redirects
/// on one origin only.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    guard: Guard,
}

/// What the redirect policy says through `reqwest`'s error.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("another origin")]
    Elsewhere(String),
    #[error("too many")]
    Redirects,
}

impl Http {
    /// A client. `timeout` bounds a request as a whole, its answer's body included.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(guard: Guard, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = guarded(&guard, timeout).build()?;
        Ok(Self { client, guard })
    }

    /// A client with its own settings of TLS: other roots, or a certificate to show.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn with_tls(
        guard: Guard,
        timeout: Duration,
        tls: rustls::ClientConfig,
    ) -> Result<Self, reqwest::Error> {
        let client = guarded(&guard, timeout).tls_backend_preconfigured(tls).build()?;
        Ok(Self { client, guard })
    }

    /// Begins a request.
    pub fn request(&self, method: http::Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// See [`HttpError`]; an answer with an error status is an answer.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let url = request.url();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpError::Scheme(url.scheme().to_owned()));
        }
        self.guard
            .judge_literal(url.host_str().unwrap_or_default())
            .map_err(HttpError::Host)?;
        self.client.execute(request).await.map_err(told_apart)
    }
}

fn guarded(guard: &Guard, timeout: Duration) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .timeout(timeout)
        .dns_resolver(JudgedNames(guard.clone()))
        .redirect(redirect::Policy::custom(follow))
        .user_agent(concat!("halcyon/", env!("CARGO_PKG_VERSION")))
}

/// Follows what stays on its origin. `http` to `https` of the same host is the one step besides.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error(Stop::Redirects);
    }
    let to = attempt.url().clone();
    let same = attempt.previous().last().is_some_and(|from| {
        let upgrade =
            from.scheme() == "http" && to.scheme() == "https" && from.port().is_none() && to.port().is_none();
        from.host_str() == to.host_str() && (from.origin() == to.origin() || upgrade)
    });
    if same {
        attempt.follow()
    } else {
        attempt.error(Stop::Elsewhere(to.origin().ascii_serialization()))
    }
}

fn told_apart(error: reqwest::Error) -> HttpError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(Refusal(told)) = found.downcast_ref::<Refusal>() {
            return HttpError::Host(match told {
                Error::Refused { host, kind } => Error::Refused {
                    host: host.clone(),
                    kind: *kind,
                },
                Error::Unresolved { host, .. } | Error::Unreached { host, .. } => Error::Unresolved {
                    host: host.clone(),
                    source: None,
                },
            });
        }
        if let Some(stop) = found.downcast_ref::<Stop>() {
            return match stop {
                Stop::Elsewhere(origin) => HttpError::Elsewhere(origin.clone()),
                Stop::Redirects => HttpError::Redirects,
            };
        }
        cause = found.source();
    }
    HttpError::Failed(error.without_url())
}

/// What the resolver says through `reqwest`'s error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Refusal(Error);

/// `reqwest` asks this for the addresses it connects to.
struct JudgedNames(Guard);

impl Resolve for JudgedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = guard.resolve(name.as_str()).await.map_err(Refusal)?;
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
