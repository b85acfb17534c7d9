//! Fetching the other issuer's keys, and keeping them while it does not answer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwapOption;
use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, Timestamp};
use reqwest::{StatusCode, Url, redirect::Policy};
use tokio::sync::Mutex;

use super::{
    ExternalError,
    keys::{self, PinnedKey},
};

/// How long the issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;
/// The least time between two requests, whatever tokens come in.
const PAUSE: TimeDelta = TimeDelta::seconds(10);
/// How long keys count although the issuer does not answer.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// The keys, as of a time.
struct Fetched {
    keys: HashMap<String, Arc<PinnedKey>>,
    at: Timestamp,
}

/// The other issuer's keys.
pub(super) struct Jwks {
    url: Url,
    http: reqwest::Client,
    refresh: TimeDelta,
    clock: Arc<dyn Clock>,
    fetched: ArcSwapOption<Fetched>,
    /// When they were last asked for.
    asked: Mutex<Option<Timestamp>>,
}

impl Jwks {
    /// Keys that are still to be fetched.
    pub(super) fn new(url: &str, refresh: Duration, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let url: Url = url.parse().context("`gateway.external_issuer.jwks_url`")?;
        let loopback = is_loopback(&url);
        ensure!(
            url.scheme() == "https" || (url.scheme() == "http" && loopback),
            "`gateway.external_issuer.jwks_url` is to be HTTPS: who can change the keys on their way can sign in"
        );
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT);
        let client = if loopback { client.no_proxy() } else { client };
        Ok(Self {
            url,
            http: client.build()?,
            refresh: TimeDelta::from_std(refresh).unwrap_or(TimeDelta::MAX),
            clock,
            fetched: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        })
    }

    /// A key by its name. They are fetched first if there are none, or none of this name; old ones are used while new
    /// ones are being fetched.
    pub(super) async fn key(self: &Arc<Self>, kid: &str) -> Result<Option<Arc<PinnedKey>>, ExternalError> {
        let now = self.clock.now();
        if let Some(fetched) = self.usable(now)
            && let Some(key) = fetched.keys.get(kid)
        {
            if fetched.at + self.refresh <= now {
                let this = self.clone();
                tokio::spawn(async move { this.refresh(None).await });
            }
            return Ok(Some(key.clone()));
        }
        // A task of its own: a sender who goes away does not break off what others wait for.
        let (this, wanted) = (self.clone(), kid.to_owned());
        let fetched = tokio::spawn(async move { this.refresh(Some(&wanted)).await });
        drop(fetched.await);
        let fetched = self.usable(now).ok_or(ExternalError::NoKeys)?;
        Ok(fetched.keys.get(kid).cloned())
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<Fetched>> {
        self.fetched.load_full().filter(|fetched| fetched.at + KEPT > now)
    }

    /// Fetches the keys, unless that was done just now. Whoever waits for a certain one looks first whether it came
    /// meanwhile.
    async fn refresh(&self, wanted: Option<&str>) {
        let mut asked = self.asked.lock().await;
        let now = self.clock.now();
        let came = wanted.is_some_and(|kid| {
            self.usable(now)
                .is_some_and(|fetched| fetched.keys.contains_key(kid))
        });
        if came || asked.is_some_and(|at| at + PAUSE > now) {
            return;
        }
        *asked = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys of the external issuer were fetched");
                let keys = keys.into_iter().map(|(kid, key)| (kid, Arc::new(key))).collect();
                self.fetched.store(Some(Arc::new(Fetched { keys, at: now })));
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the keys of the external issuer cannot be fetched"
                );
            }
        }
    }

    async fn fetch(&self) -> anyhow::Result<HashMap<String, PinnedKey>> {
        let mut response = self.http.get(self.url.clone()).send().await?;
        ensure!(
            response.status() == StatusCode::OK,
            "the answer is {}",
            response.status()
        );
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            ensure!(
                document.len() + chunk.len() <= MAX_DOCUMENT,
                "the document is too large"
            );
            document.extend_from_slice(&chunk);
        }
        let keys = keys::read(&document).map_err(anyhow::Error::msg)?;
        ensure!(!keys.is_empty(), "there is no key that can be used");
        Ok(keys)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
