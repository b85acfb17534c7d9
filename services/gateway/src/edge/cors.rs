//! Calls from web pages of other origins (the Fetch standard's CORS protocol): only of those that are listed.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
            VARY,
        },
    },
};

use super::settings::CorsSettings;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const HEADERS: &str =
    "authorization, content-type, accept, if-match, idempotency-key, x-request-id, traceparent";
const EXPOSED: &str =
    "etag, location, retry-after, ratelimit, ratelimit-policy, x-request-id, idempotency-replayed";
/// Who sends events is no web page.
const NOT_FOR_PAGES: &str = "/ingest/";

/// Lets the listed origins in. The session cookie is never theirs to use: they send bearer tokens.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    max_age: Duration,
}

impl Cors {
    /// Checks the settings.
    ///
    /// # Errors
    /// An origin is none.
    pub(crate) fn new(settings: &CorsSettings) -> anyhow::Result<Self> {
        let origins = settings.origins.iter().map(|origin| {
            check(origin).with_context(|| format!("`gateway.cors.origins`: `{origin}`"))?;
            Ok(HeaderValue::from_str(origin)?)
        });
        Ok(Self {
            origins: origins.collect::<anyhow::Result<_>>()?,
            max_age: settings.max_age.get(),
        })
    }

    /// Says what the page may do; true if its question is answered with that.
    fn allow(&self, req: &Request, headers: &mut HeaderMap) -> bool {
        if self.origins.is_empty() || req.uri().path().starts_with(NOT_FOR_PAGES) {
            return false;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = req
            .headers()
            .get(ORIGIN)
            .filter(|origin| self.origins.contains(origin))
        else {
            return false;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        let asks =
            req.method() == Method::OPTIONS && req.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if asks {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        }
        asks
    }
}

/// Whether it is an origin as browsers write it: scheme, host and a port that is not the scheme's own.
fn check(origin: &str) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(origin)?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "an origin begins with `http://` or `https://`"
    );
    ensure!(
        url.origin().ascii_serialization() == origin,
        "an origin is no more than scheme, host and port: `{}`",
        url.origin().ascii_serialization()
    );
    Ok(())
}

#[async_trait]
impl Handler for Cors {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        if self.allow(req, res.headers_mut()) {
            res.status_code(StatusCode::NO_CONTENT);
            ctrl.skip_rest();
        } else {
            ctrl.call_next(req, depot, res).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_exact() {
        for good in [
            "https://console.example.org",
            "http://localhost:3000",
            "https://[::1]:8443",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://*.example.org/",
            "https://a.example/",
            "https://a:443",
            "ftp://a",
            "a.example",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
