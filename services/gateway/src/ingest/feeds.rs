//! The feeds as requests find them: looked up by datasource, replaced as a whole when something changes.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use halcyon_connectors::{
    Secrets,
    http_webhook::{CompiledWebhook, RateLimit},
};
use halcyon_domain::{
    id::{DatasourceId, OrganizationId},
    lifecycle::DatasourceStatus,
};

/// All feeds.
#[derive(Default)]
pub(super) struct Feeds(RwLock<HashMap<DatasourceId, Arc<Feed>>>);

/// A feed.
pub(super) struct Feed {
    pub(super) organization: OrganizationId,
    pub(super) status: DatasourceStatus,
    pub(super) published: bool,
    pub(super) parallelism: u16,
    /// Whether so many of its events wait that no more are taken.
    pub(super) backlog_full: bool,
    /// What judges its requests; nothing while its signing secrets are not there.
    pub(super) gate: Option<Arc<Gate>>,
}

/// What judges a feed's requests.
pub(super) struct Gate {
    pub(super) webhook: Arc<CompiledWebhook>,
    pub(super) secrets: Secrets,
    pub(super) limiter: Option<Arc<Limiter>>,
}

/// A rate limit and how much of it is used.
pub(super) struct Limiter {
    limit: RateLimit,
    pub(super) limiter: DefaultDirectRateLimiter,
}

impl Limiter {
    fn new(limit: RateLimit) -> Self {
        let rate = NonZeroU32::new(limit.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = limit.burst.and_then(NonZeroU32::new).unwrap_or(rate);
        Self {
            limit,
            limiter: RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)),
        }
    }
}

impl Gate {
    /// A gate that goes on with what `before` has used of the same rate limit.
    pub(super) fn new(webhook: Arc<CompiledWebhook>, secrets: Secrets, before: Option<&Self>) -> Self {
        let limiter = webhook.rate_limit().map(|limit| {
            let used = before
                .and_then(|gate| gate.limiter.clone())
                .filter(|used| used.limit == limit);
            used.unwrap_or_else(|| Arc::new(Limiter::new(limit)))
        });
        Self {
            webhook,
            secrets,
            limiter,
        }
    }
}

impl Feeds {
    pub(super) fn get(&self, datasource: DatasourceId) -> Option<Arc<Feed>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&datasource)
            .cloned()
    }

    pub(super) fn set(&self, datasource: DatasourceId, feed: Feed) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(datasource, Arc::new(feed));
    }

    pub(super) fn remove(&self, datasource: DatasourceId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&datasource);
    }
}
