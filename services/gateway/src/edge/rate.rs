//! How many requests one caller may send: a bucket of requests for each subject, and for each address that sends
//! none that hold.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halcyon_domain::clock::{Clock, Timestamp};
use halcyon_infra::{Metric, Metrics};
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use uuid::Uuid;

use super::{
    identity,
    settings::{LimitSettings, Quota},
};
use crate::{auth::network_of, context::RequestInfo, problem::Problem};

/// What is left (draft-ietf-httpapi-ratelimit-headers).
pub(crate) const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// What is allowed (draft-ietf-httpapi-ratelimit-headers).
pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Callers that are remembered at most; beyond it those whose bucket is full again are forgotten.
const MAX_KEYS: usize = 20_000;
/// Here nobody is signed in yet.
const SIGNING_IN: &str = "/api/v1/auth/";

/// What a caller has left.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    quota: Quota,
    /// Requests that may be sent at once.
    requests: f64,
}

impl Left {
    fn until(self, requests: f64) -> Duration {
        let missing = (requests - self.requests).max(0.0);
        self.quota
            .window
            .get()
            .mul_f64(missing / f64::from(self.quota.requests.max(1)))
    }

    fn write(self, name: &str, headers: &mut HeaderMap) {
        let full = f64::from(self.quota.requests);
        let seconds = self.until(full).as_secs_f64().ceil();
        let left = format!(
            "\"{name}\";r={:.0};t={seconds:.0}",
            self.requests.floor().max(0.0)
        );
        let window = self.quota.window.get().as_secs().max(1);
        let policy = format!("\"{name}\";q={};w={window}", self.quota.requests);
        for (header, text) in [(LEFT, left), (POLICY, policy)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.entry(header).or_insert(value);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    requests: f64,
    at: Timestamp,
}

/// A bucket for each key.
struct Buckets<K> {
    quota: Quota,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(quota: Quota) -> Self {
        Self {
            quota,
            buckets: Mutex::default(),
        }
    }

    /// Takes one request out of the key's bucket: what is left, and whether there was one.
    fn take(&self, key: K, now: Timestamp) -> (Left, bool) {
        let full = f64::from(self.quota.requests);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS {
            buckets.retain(|_, bucket| self.level(*bucket, now) < full);
        }
        let level = buckets.get(&key).map_or(full, |bucket| self.level(*bucket, now));
        let taken = level >= 1.0;
        let requests = if taken { level - 1.0 } else { level };
        if taken {
            buckets.insert(key, Bucket { requests, at: now });
        }
        let left = Left {
            quota: self.quota,
            requests,
        };
        (left, taken)
    }

    fn level(&self, bucket: Bucket, now: Timestamp) -> f64 {
        let passed = (now - bucket.at).to_std().unwrap_or_default().as_secs_f64();
        let window = self
            .quota
            .window
            .get()
            .max(Duration::from_millis(1))
            .as_secs_f64();
        let full = f64::from(self.quota.requests);
        (bucket.requests + full * passed / window).min(full)
    }
}

/// Counts the requests of each caller and turns away what is too much.
#[derive(Clone)]
pub(crate) struct RateLimit(Arc<Counters>);

struct Counters {
    subjects: Buckets<Uuid>,
    addresses: Buckets<Option<IpAddr>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl RateLimit {
    /// Nobody has sent anything.
    pub(crate) fn new(settings: &LimitSettings, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self(Arc::new(Counters {
            subjects: Buckets::new(settings.subject),
            addresses: Buckets::new(settings.address),
            clock,
            metrics,
        }))
    }

    /// Counts what a caller asks for over a connection that is open.
    ///
    /// # Errors
    /// It is too much.
    pub(crate) fn admit(&self, subject: Uuid) -> Result<(), Problem> {
        let (left, taken) = self.0.subjects.take(subject, self.0.clock.now());
        if taken || left.quota.requests == 0 {
            return Ok(());
        }
        Err(self.refusal("subject", left))
    }

    fn refusal(&self, name: &'static str, left: Left) -> Problem {
        self.0.metrics.add(Metric::HttpLimited, 1, &[("by", name)]);
        Problem::too_many("too many requests; slow down", left.until(1.0))
    }

    /// Whose bucket it was, what is left in it, and whether it held the request.
    async fn take(&self, req: &Request, depot: &mut Depot) -> (&'static str, Left, bool) {
        let subject = if req.uri().path().starts_with(SIGNING_IN) {
            None
        } else {
            let caller = identity::caller(req, depot).await.ok();
            caller.and_then(|caller| caller.actor().id)
        };
        let now = self.0.clock.now();
        match subject {
            Some(subject) => {
                let (left, taken) = self.0.subjects.take(subject, now);
                ("subject", left, taken)
            }
            None => {
                let address = RequestInfo::of(req, depot).remote_ip.map(network_of);
                let (left, taken) = self.0.addresses.take(address, now);
                ("address", left, taken)
            }
        }
    }
}

#[async_trait]
impl Handler for RateLimit {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let (name, left, taken) = self.take(req, depot).await;
        depot.insert_typed(self.clone());
        if left.quota.requests == 0 {
            ctrl.call_next(req, depot, res).await;
            return;
        }
        if taken {
            ctrl.call_next(req, depot, res).await;
        } else {
            self.refusal(name, left).render(req, depot, res);
            ctrl.skip_rest();
        }
        left.write(name, res.headers_mut());
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use halcyon_domain::duration::HumanDuration;

    use super::*;

    #[test]
    fn a_bucket_runs_dry_and_fills_up_again() {
        let quota = Quota {
            requests: 3,
            window: HumanDuration::from_secs(30),
        };
        let buckets = Buckets::new(quota);
        let now = Timestamp::default();
        assert!((0..3).all(|_| buckets.take("a", now).1));
        let (left, taken) = buckets.take("a", now);
        assert!(!taken);
        assert_eq!(left.until(1.0), Duration::from_secs(10));
        assert!(buckets.take("b", now).1, "others are not held up");
        let mut headers = HeaderMap::new();
        left.write("subject", &mut headers);
        assert_eq!(headers[LEFT], "\"subject\";r=0;t=30");
        assert_eq!(headers[POLICY], "\"subject\";q=3;w=30");
        assert!(buckets.take("a", now + TimeDelta::seconds(10)).1);
        assert!(!buckets.take("a", now + TimeDelta::seconds(10)).1);
    }
}
