//! A load with an oracle: every accepted event is written down, and compared with what arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;

/// A mapping that makes one alert and one entity of `{"seq": n}`.
pub fn sequence_mapping(title: &str) -> Value {
    json!({"outputs": [
        {"kind": "alert", "fields": {
            "external_id": {"expr": "seq", "as": "string"},
            "title": {"value": title},
            "severity": {"value": "low"},
            "time": {"expr": "at", "as": "timestamp"},
        }},
        {"kind": "entity", "fields": {"type": {"value": "host"}, "key": "host"}},
    ]})
}

/// Senders that run until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    senders: JoinSet<()>,
    accepted: Arc<Mutex<BTreeSet<u64>>>,
    answers: Arc<Mutex<BTreeMap<u16, u64>>>,
}

/// What a load saw.
#[derive(Debug)]
pub struct Sent {
    /// The sequence numbers that were answered with 202.
    pub accepted: BTreeSet<u64>,
    /// How often each status was answered; 502 stands for no answer.
    pub answers: BTreeMap<u16, u64>,
}

impl Load {
    /// Starts `senders` tasks that together send about `rate` events per second to datasource `id`.
    pub fn start(client: &Client, id: &str, senders: u64, rate: u64) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            senders: JoinSet::new(),
            accepted: Arc::default(),
            answers: Arc::default(),
        };
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..senders {
            let (client, id, next) = (client.clone(), id.to_owned(), next.clone());
            let (stop, accepted, answers) = (load.stop.clone(), load.accepted.clone(), load.answers.clone());
            let pause = Duration::from_micros(1_000_000 * senders / rate);
            load.senders.spawn(async move {
                let mut beat = tokio::time::interval(pause);
                while !stop.load(Ordering::Relaxed) {
                    beat.tick().await;
                    let seq = next.fetch_add(1, Ordering::Relaxed);
                    send(&client, &id, seq, &accepted, &answers).await;
                }
            });
        }
        load
    }

    /// How many events were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Stops the senders and tells what they saw.
    pub async fn stop(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap());
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        Sent { accepted, answers }
    }
}

/// Sends one event, once. What is not accepted is not sent again: it counts for nothing.
async fn send(
    client: &Client,
    id: &str,
    seq: u64,
    accepted: &Mutex<BTreeSet<u64>>,
    answers: &Mutex<BTreeMap<u16, u64>>,
) {
    let event = json!({"seq": seq, "host": format!("host-{}", seq % 20), "at": "2026-01-02T03:04:05Z"});
    let answer = client.ingest(id, event.to_string().into_bytes()).await;
    if answer.status.as_u16() == 202 {
        accepted.lock().unwrap().insert(seq);
    }
    *answers.lock().unwrap().entry(answer.status.as_u16()).or_default() += 1;
}

/// What arrived of a load, compared with what was accepted.
#[derive(Debug)]
pub struct Verdict {
    /// Accepted events that made no alert.
    pub lost: Vec<u64>,
    /// Effects beyond one for each alert.
    pub duplicates: i64,
    /// The number of alerts.
    pub alerts: usize,
}

impl Verdict {
    /// Nothing lost, nothing twice.
    ///
    /// # Panics
    /// Otherwise.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(
            self.lost.is_empty(),
            "lost {} events: {:?}",
            self.lost.len(),
            &self.lost[..self.lost.len().min(20)]
        );
        assert_eq!(self.duplicates, 0, "duplicate effects");
    }
}

/// Waits until every accepted event has its alert (or a minute went by without progress) and compares. An alert's
/// `revision` counts the events that took effect on it, so revision - 1 of them are duplicates.
pub async fn judge(client: &Client, id: &str, accepted: &BTreeSet<u64>) -> Verdict {
    let mut quiet = 0;
    let mut before = 0;
    loop {
        let alerts = client.all(&format!("/alerts?datasource={id}")).await;
        let seqs: BTreeMap<u64, i64> = alerts
            .iter()
            .map(|alert| {
                let seq = alert["external_id"].as_str().unwrap().parse().unwrap();
                (seq, alert["revision"].as_i64().unwrap())
            })
            .collect();
        let lost: Vec<_> = accepted
            .iter()
            .filter(|seq| !seqs.contains_key(seq))
            .copied()
            .collect();
        quiet = if seqs.len() == before { quiet + 1 } else { 0 };
        before = seqs.len();
        if lost.is_empty() || quiet >= 60 {
            let duplicates = seqs.values().map(|revision| revision - 1).sum();
            return Verdict {
                lost,
                duplicates,
                alerts: seqs.len(),
            };
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
