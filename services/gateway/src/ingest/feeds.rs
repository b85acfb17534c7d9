//! The feeds as requests find them: looked up by datasource, replaced as a whole when something changes.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
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
use tokio::{sync::Notify, time::timeout};

/// How long a request may wait for its feed's signing secrets, which are on their way after the first publish.
const PATIENCE: Duration = Duration::from_secs(1);

/// All feeds.
#[derive(Default)]
pub(super) struct Feeds {
    feeds: RwLock<HashMap<DatasourceId, Arc<Feed>>>,
    changed: Notify,
}

/// A feed.
pub(super) struct Feed {
    pub(super) organization: OrganizationId,
    pub(super) status: DatasourceStatus,
    pub(super) published: bool,
    pub(super) parallelism: u16,
    /// The pool of workers that processes its events.
    pub(super) pool: Option<String>,
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

impl Feed {
    /// Whether it takes events and lacks only what judges them.
    fn waits_for_gate(&self) -> bool {
        self.published && self.status.accepts_events() && self.gate.is_none()
    }
}

impl Feeds {
    /// The feed, as soon as its requests can be judged; as it is, if that takes too long.
    pub(super) async fn awaited(&self, datasource: DatasourceId) -> Option<Arc<Feed>> {
        let ready = async {
            loop {
                let changed = self.changed.notified();
                let feed = self.get(datasource);
                if !feed.as_ref().is_some_and(|feed| feed.waits_for_gate()) {
                    return feed;
                }
                changed.await;
            }
        };
        match timeout(PATIENCE, ready).await {
            Ok(feed) => feed,
            Err(_) => self.get(datasource),
        }
    }

    fn get(&self, datasource: DatasourceId) -> Option<Arc<Feed>> {
        self.feeds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&datasource)
            .cloned()
    }

    pub(super) fn set(&self, datasource: DatasourceId, feed: Feed) {
        self.feeds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(datasource, Arc::new(feed));
        self.changed.notify_waiters();
    }

    pub(super) fn remove(&self, datasource: DatasourceId) {
        self.feeds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&datasource);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn feed(judged: bool) -> Feed {
        let open = json!({"auth": {"type": "none"}});
        let webhook = Arc::new(CompiledWebhook::compile(&open).unwrap());
        Feed {
            organization: OrganizationId::generate(),
            status: DatasourceStatus::Active,
            published: true,
            parallelism: 1,
            pool: None,
            backlog_full: false,
            gate: judged.then(|| Arc::new(Gate::new(webhook, Secrets::none(), None))),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_what_judges_it_but_not_for_long() {
        let feeds = Arc::new(Feeds::default());
        let id = DatasourceId::generate();
        assert!(feeds.awaited(id).await.is_none());
        feeds.set(id, feed(false));
        let waiting = tokio::spawn({
            let feeds = Arc::clone(&feeds);
            async move { feeds.awaited(id).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        feeds.set(id, feed(true));
        assert!(waiting.await.unwrap().unwrap().gate.is_some());

        feeds.set(id, feed(false));
        assert!(feeds.awaited(id).await.unwrap().gate.is_none());
    }
}
