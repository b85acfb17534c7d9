//! The load: events at a rate over all gateways, and what was answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use halcyon_tests::client::TOKEN;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::{task::JoinSet, time::MissedTickBehavior};

/// How long a sender waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often the balancer looks which gateways are ready.
const HEALTH: Duration = Duration::from_millis(500);

/// An event that was answered with 202.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// `<feed>-<sequence>`, which is also the alert's external identifier.
    pub(super) key: String,
    /// The feed's place in the list.
    pub(super) feed: usize,
    /// When the answer was there.
    pub(super) at: SystemTime,
}

/// What the senders saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In the order of the answers.
    pub(super) accepted: Vec<Accepted>,
    /// How often each status was answered.
    pub(super) answers: BTreeMap<u16, u64>,
    /// Requests that were sent and not answered, by reason.
    pub(super) unanswered: BTreeMap<String, u64>,
    /// Refusals (429, 503) that do not say when to try again.
    pub(super) without_retry_after: u64,
}

impl Seen {
    /// How many answers had this status.
    pub(super) fn answered(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or(0)
    }

    /// Requests without an answer.
    pub(super) fn lost_requests(&self) -> u64 {
        self.unanswered.values().sum()
    }

    /// Answers whose status is none of `expected`.
    pub(super) fn other_than(&self, expected: &[u16]) -> u64 {
        let others = self
            .answers
            .iter()
            .filter(|(status, _)| !expected.contains(status));
        others.map(|(_, count)| count).sum()
    }
}

/// Feeds and where to send to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where the gateways are.
    pub(super) gateways: Vec<String>,
    /// The datasources.
    pub(super) feeds: Vec<String>,
    /// Bytes that each event is filled up with.
    pub(super) padding: usize,
}

/// Senders that run until they are stopped.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

struct Shared {
    target: Target,
    http: Client,
    stop: AtomicBool,
    next: AtomicU64,
    seen: Mutex<Seen>,
    /// Whether each gateway said that it is ready when it was asked last.
    ready: Vec<AtomicBool>,
}

impl Traffic {
    /// Starts senders that together send about `rate` events a second, each once, `from` being the first number.
    pub(super) fn start(target: Target, rate: u64, from: u64) -> Result<Self> {
        let senders = (rate / 8).clamp(4, 64);
        let shared = Arc::new(Shared::new(target, from)?);
        let mut tasks = JoinSet::new();
        let watched = shared.clone();
        tasks.spawn(async move { watched.watch().await });
        for _ in 0..senders {
            let shared = shared.clone();
            let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 * senders / rate.max(1)));
            beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
            tasks.spawn(async move {
                while !shared.stop.load(Ordering::Relaxed) {
                    beat.tick().await;
                    let number = shared.next.fetch_add(1, Ordering::Relaxed);
                    shared.send(number).await;
                }
            });
        }
        Ok(Self {
            shared,
            senders: tasks,
        })
    }

    /// How many events were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.shared.seen().accepted.len()
    }

    /// What was accepted so far.
    pub(super) fn accepted_now(&self) -> Vec<Accepted> {
        self.shared.seen().accepted.clone()
    }

    /// How often a status was answered so far.
    pub(super) fn answered(&self, status: u16) -> u64 {
        self.shared.seen().answered(status)
    }

    /// Waits until so many more are accepted.
    ///
    /// # Errors
    /// They are not within a minute.
    pub(super) async fn more(&self, count: usize) -> Result<()> {
        let wanted = self.accepted() + count;
        let reached = || async { self.accepted() >= wanted };
        halcyon_tests::wait::eventually(Duration::from_secs(60), reached)
            .await
            .context("no events are accepted any more")
    }

    /// Stops the senders and tells what they saw.
    pub(super) async fn stop(mut self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended?;
        }
        Ok(std::mem::take(&mut *self.shared.seen()))
    }
}

/// Sends these events again, a few at a time, and tells how many were accepted.
pub(super) async fn send_again(target: &Target, keys: &[Accepted]) -> Result<u64> {
    use futures::{StreamExt, stream};
    let shared = &Shared::new(target.clone(), 0)?;
    stream::iter(keys)
        .for_each_concurrent(16, |event| async move {
            shared.send_event(&event.key, event.feed, 0).await;
        })
        .await;
    let seen = shared.seen();
    Ok(seen.answered(202))
}

impl Shared {
    fn new(target: Target, from: u64) -> Result<Self> {
        Ok(Self {
            ready: target.gateways.iter().map(|_| AtomicBool::new(true)).collect(),
            target,
            http: Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(Duration::from_secs(2))
                .build()?,
            stop: AtomicBool::new(false),
            next: AtomicU64::new(from),
            seen: Mutex::default(),
        })
    }

    /// Asks the gateways whether they are ready, as a balancer does.
    async fn watch(&self) {
        let mut beat = tokio::time::interval(HEALTH);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            beat.tick().await;
            for (gateway, ready) in self.target.gateways.iter().zip(&self.ready) {
                let ask = self.http.get(format!("{gateway}/readyz")).timeout(HEALTH * 2);
                let answered = ask.send().await;
                let is_ready = answered.is_ok_and(|answer| answer.status().is_success());
                ready.store(is_ready, Ordering::Relaxed);
            }
        }
    }

    /// The gateways in the order in which a request tries them: those that are ready in turn, then the others.
    fn order(&self, turn: usize) -> Vec<&str> {
        let count = self.target.gateways.len();
        let mut order: Vec<_> = (0..count)
            .map(|step| (turn + step) % count)
            .filter_map(|place| Some((self.ready.get(place)?, self.target.gateways.get(place)?)))
            .collect();
        order.sort_by_key(|(ready, _)| !ready.load(Ordering::Relaxed));
        order.into_iter().map(|(_, gateway)| gateway.as_str()).collect()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, number: u64) {
        let feeds = self.target.feeds.len().max(1) as u64;
        let feed = (number % feeds) as usize;
        let key = format!("{feed}-{}", number / feeds);
        self.send_event(&key, feed, number as usize).await;
    }

    async fn send_event(&self, key: &str, feed: usize, turn: usize) {
        match self.post(key, feed, turn).await {
            Ok(answer) => self.note(key, feed, &answer),
            Err(error) => {
                let kind = kind(&error);
                *self.seen().unanswered.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }

    fn note(&self, key: &str, feed: usize, answer: &Response) {
        let status = answer.status();
        let refused = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let mut seen = self.seen();
        *seen.answers.entry(status.as_u16()).or_default() += 1;
        if refused && !answer.headers().contains_key("retry-after") {
            seen.without_retry_after += 1;
        }
        if status == StatusCode::ACCEPTED {
            seen.accepted.push(Accepted {
                key: key.to_owned(),
                feed,
                at: SystemTime::now(),
            });
        }
    }

    /// Posts an event to one gateway, and to the next one where none listens: a balancer does the same, for such a
    /// request was never sent.
    async fn post(&self, key: &str, feed: usize, turn: usize) -> reqwest::Result<Response> {
        let host = format!("host-{}", turn % 20);
        let mut body = json!({"seq": key, "host": host, "at": "2026-01-02T03:04:05Z"});
        if self.target.padding > 0 {
            body["padding"] = "x".repeat(self.target.padding).into();
        }
        let id = self.target.feeds.get(feed).map_or("", String::as_str);
        let order = self.order(turn);
        let mut tries = order.iter().peekable();
        loop {
            let gateway = tries.next().copied().unwrap_or_default();
            let url = format!("{gateway}/ingest/{id}");
            let request = self
                .http
                .post(url)
                .bearer_auth(TOKEN)
                .header("idempotency-key", key);
            match request.json(&body).send().await {
                Err(error) if error.is_connect() && tries.peek().is_some() => {}
                answer => return answer,
            }
        }
    }
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "no gateway listens"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "cut off"
    }
}
