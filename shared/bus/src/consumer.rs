//! Durable pull consumers: batches of deliveries that are given back unless they are acked.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
};
use futures::{FutureExt, StreamExt};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Bus, Delivery,
    connection::random_below,
    subjects::{Stream, Subject},
};

/// How long a delivery may stay without an ack or a sign of progress. It bounds how long the work of a process
/// that was killed waits.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// The server says at least this often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long making a consumer may take. A request that is lost with its connection is sent again soon.
const MAKE: Duration = Duration::from_secs(2);
/// How often a consumer that was dropped asks at most for what is still on its way. A stream that is busy would have
/// something for it each time.
const LINGER: usize = 5;

/// What a consumer reads, and how.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    stream: Stream,
    name: String,
    filter: Option<String>,
    max_ack_pending: i64,
    prefetch: usize,
}

/// A durable consumer. What it has fetched and not handed out is given back when it is dropped.
pub struct Consumer {
    bus: Bus,
    spec: ConsumerSpec,
    messages: Option<pull::Stream>,
    /// Fetched over an earlier connection, and still ours.
    buffered: VecDeque<jetstream::Message>,
    connections: watch::Receiver<u64>,
    /// The connection was made again: the consumer must be there before its deliveries are waited for.
    stale: bool,
    failures: u32,
}

impl Bus {
    /// The consumer of a partition of the ingest stream (worker). One process should hold it at a time.
    #[must_use]
    pub fn ingest_consumer(&self, partition: u16) -> Consumer {
        self.consumer(ConsumerSpec {
            stream: Stream::Ingest,
            name: format!("worker-{partition}"),
            filter: Some(Subject::Ingest(partition).to_string()),
            max_ack_pending: 64,
            prefetch: 16,
        })
    }

    /// The consumer of all outcomes (ontology).
    #[must_use]
    pub fn ontology_consumer(&self) -> Consumer {
        self.consumer(ConsumerSpec {
            stream: Stream::Ontology,
            name: "ontology".to_owned(),
            filter: None,
            max_ack_pending: 256,
            prefetch: 32,
        })
    }

    /// The consumer of configuration changes (registry). All registries share it.
    #[must_use]
    pub fn config_consumer(&self) -> Consumer {
        self.consumer(ConsumerSpec {
            stream: Stream::Config,
            name: "registry".to_owned(),
            filter: None,
            max_ack_pending: 1_024,
            prefetch: 256,
        })
    }

    /// The consumer of what was taken for captures (gateway). All gateways share it.
    #[must_use]
    pub fn captured_consumer(&self) -> Consumer {
        self.consumer(ConsumerSpec {
            stream: Stream::Captured,
            name: "gateway".to_owned(),
            filter: None,
            max_ack_pending: 64,
            prefetch: 8,
        })
    }

    /// The consumer of audit entries (audit). All audit processes share it.
    #[must_use]
    pub fn audit_consumer(&self) -> Consumer {
        self.consumer(ConsumerSpec {
            stream: Stream::Audit,
            name: "audit".to_owned(),
            filter: None,
            max_ack_pending: 1_024,
            prefetch: 256,
        })
    }

    fn consumer(&self, spec: ConsumerSpec) -> Consumer {
        Consumer {
            bus: self.clone(),
            spec,
            messages: None,
            buffered: VecDeque::new(),
            connections: self.connections(),
            stale: false,
            failures: 0,
        }
    }
}

impl Consumer {
    /// Waits for a delivery and returns it with those that are there already, `max` at most. It can be cancelled
    /// without losing anything. A connection that breaks, a server that falls silent and a consumer that is gone
    /// only make it wait longer: it is made again.
    pub async fn next_batch(&mut self, max: usize) -> Vec<Delivery> {
        let first = self.next_message().await;
        let mut batch = vec![self.delivery(first)];
        while batch.len() < max.max(1) {
            let message = match self.buffered.pop_front() {
                Some(message) => Some(message),
                None => self.ready_message(),
            };
            let Some(message) = message else { break };
            batch.push(self.delivery(message));
        }
        batch
    }

    /// As [`Consumer::next_batch`], for one delivery.
    pub async fn next(&mut self) -> Delivery {
        let message = self.next_message().await;
        self.delivery(message)
    }

    async fn next_message(&mut self) -> jetstream::Message {
        loop {
            if let Some(message) = self.buffered.pop_front() {
                return message;
            }
            if self.stale {
                self.revive().await;
            }
            let Some(messages) = &mut self.messages else {
                self.open().await;
                continue;
            };
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) => {
                        self.failures = 0;
                        return message;
                    }
                    Some(Err(error)) => self.broken(&error.to_string()),
                    None => self.broken("the subscription ended"),
                },
                Ok(()) = self.connections.changed() => self.stale = true,
            }
        }
    }

    fn ready_message(&mut self) -> Option<jetstream::Message> {
        match self.messages.as_mut()?.next().now_or_never()?? {
            Ok(message) => Some(message),
            Err(error) => {
                self.broken(&error.to_string());
                None
            }
        }
    }

    /// Leaves the subscription, keeping what was fetched.
    fn broken(&mut self, why: &str) {
        self.failures += 1;
        self.stale = false;
        self.bus
            .counters()
            .consumers_recreated
            .fetch_add(1, Ordering::Relaxed);
        let (stream, consumer) = (self.spec.stream.as_str(), &self.spec.name);
        if self.failures > 1 {
            tracing::warn!(stream, consumer, reason = why, "a consumer is made again");
        } else {
            tracing::info!(stream, consumer, reason = why, "a consumer is made again");
        }
        if let Some(mut messages) = self.messages.take() {
            drain(&mut messages, &mut self.buffered);
        }
    }

    /// After a reconnect: makes the consumer again if it is gone. The subscription and its open request for
    /// deliveries stay, for what is on its way to them would be waited for until its ack is overdue.
    async fn revive(&mut self) {
        match self.make().await {
            Ok(_) => {
                self.bus
                    .counters()
                    .consumers_recreated
                    .fetch_add(1, Ordering::Relaxed);
                self.stale = false;
            }
            Err(error) => self.broken(&error),
        }
    }

    async fn open(&mut self) {
        if self.failures > 0 {
            let full = 50_u64 << self.failures.min(6);
            tokio::time::sleep(Duration::from_millis(full / 2 + random_below(full / 2))).await;
        }
        self.connections.mark_unchanged();
        self.stale = false;
        match self.try_open().await {
            Ok(messages) => self.messages = Some(messages),
            Err(error) => self.broken(&error),
        }
    }

    /// Makes the consumer, or finds it as it should be.
    async fn make(&self) -> Result<PullConsumer, String> {
        let spec = &self.spec;
        let config = pull::Config {
            durable_name: Some(spec.name.clone()),
            name: Some(spec.name.clone()),
            filter_subject: spec.filter.clone().unwrap_or_default(),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: ACK_WAIT,
            // Attempts are counted by us: a message that the server gives up on would stay for ever.
            max_deliver: -1,
            max_ack_pending: spec.max_ack_pending,
            ..pull::Config::default()
        };
        let made = self
            .bus
            .jetstream()
            .create_consumer_on_stream(config, spec.stream.as_str());
        let made = tokio::time::timeout(MAKE, made)
            .await
            .map_err(|_| "no answer from the server".to_owned())?;
        made.map_err(|error| error.to_string())
    }

    async fn try_open(&self) -> Result<pull::Stream, String> {
        self.make()
            .await?
            .stream()
            .max_messages_per_batch(self.spec.prefetch)
            .heartbeat(HEARTBEAT)
            .expires(Duration::from_secs(20))
            .messages()
            .await
            .map_err(|error| error.to_string())
    }

    fn delivery(&self, message: jetstream::Message) -> Delivery {
        Delivery::new(message, self.bus.naks().clone())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Some(mut messages) = self.messages.take() else {
            give_back(&self.bus, &mut self.buffered);
            return;
        };
        drain(&mut messages, &mut self.buffered);
        give_back(&self.bus, &mut self.buffered);
        // Without a runtime nothing more arrives either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(linger(self.bus.clone(), messages));
        }
    }
}

/// Gives back what the server had sent before it learnt that nobody reads any more: else that would wait until its ack
/// is overdue. What the server sent before it answers has arrived when the answer does.
async fn linger(bus: Bus, mut messages: pull::Stream) {
    let mut late = VecDeque::new();
    for _ in 0..LINGER {
        let answered = bus.rtt().await.is_ok();
        drain(&mut messages, &mut late);
        if late.is_empty() || !answered {
            break;
        }
        give_back(&bus, &mut late);
    }
    give_back(&bus, &mut late);
}

fn give_back(bus: &Bus, messages: &mut VecDeque<jetstream::Message>) {
    for message in messages.drain(..) {
        drop(Delivery::new(message, bus.naks().clone()));
    }
}

fn drain(messages: &mut pull::Stream, buffered: &mut VecDeque<jetstream::Message>) {
    while let Some(Some(message)) = messages.next().now_or_never() {
        match message {
            Ok(message) => buffered.push_back(message),
            Err(_) => break,
        }
    }
}
