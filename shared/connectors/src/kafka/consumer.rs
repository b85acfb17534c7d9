//! The thread that the library is driven by. It is polled also while the worker is busy for long, so the group does
//! not take the member for dead.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    message::{BorrowedMessage, Headers},
};
use tokio::sync::oneshot;

use super::{
    config::Connection,
    context::{Context, classified, commit, said},
    dial::uuid,
    manual::assign,
    relay::Relay,
    shared::{Item, Shared},
    starts::Known,
};
use crate::{Error, Share, TimeRange, endpoint::Endpoint};

/// How long the library is asked at a time.
const POLL: Duration = Duration::from_millis(50);
/// How long the worker may be busy before fetching is put on hold; what was fetched ahead is fetched again then.
const BUSY: Duration = Duration::from_secs(30);

/// What the thread does.
pub(super) struct Job {
    pub(super) connection: Connection,
    pub(super) share: Share,
    pub(super) range: Option<TimeRange>,
    pub(super) sample: bool,
    pub(super) known: Known,
    /// Where the library finds the brokers to begin with.
    pub(super) bootstrap: Vec<Endpoint>,
    pub(super) relay: Arc<Relay>,
    pub(super) shared: Arc<Shared>,
}

impl Job {
    fn config(&self) -> ClientConfig {
        let bootstrap: Vec<String> = self.bootstrap.iter().map(ToString::to_string).collect();
        let manual = self.sample || self.range.is_some();
        let group = if manual {
            format!("halcyon-{}", uuid())
        } else {
            self.connection.group.clone()
        };
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("bootstrap.servers", bootstrap.join(",").as_str()),
            ("client.id", &self.relay.word),
            ("broker.address.family", "v4"),
            ("group.id", &group),
            ("isolation.level", self.connection.isolation.word()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("allow.auto.create.topics", "false"),
            // Where what is committed is no longer there, the oldest record comes next, and none is left out.
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", "roundrobin"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
            ("statistics.interval.ms", "500"),
            ("topic.metadata.refresh.interval.ms", "30000"),
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.wait.max.ms", "200"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.queue.backoff.ms", "100"),
            ("check.crcs", "true"),
            ("enable.metrics.push", "false"),
            ("security.protocol", "plaintext"),
        ] {
            config.set(name, value);
        }
        config
    }

    fn consumer(&mut self) -> KafkaResult<BaseConsumer<Context>> {
        let manual = self.sample || self.range.is_some();
        let context = Context {
            shared: Arc::clone(&self.shared),
            known: Mutex::new(self.known.clone()),
            start: self.connection.start(),
        };
        let consumer: BaseConsumer<Context> = self.config().create_with_context(context)?;
        if manual {
            let (connection, known) = (&self.connection, &self.known);
            assign(&consumer, connection, self.share, self.range, known, &self.shared)?;
        } else {
            let topics = self.connection.subscription();
            consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(consumer)
    }

    /// Runs until it is stopped, or the range has been read, or the library cannot go on.
    fn run(mut self) {
        let consumer = match self.consumer() {
            Ok(consumer) => consumer,
            Err(error) => return self.shared.fail(self.failure(&error)),
        };
        let mut idle = 0_u32;
        let mut busy: Option<Instant> = None;
        let mut held = false;
        while !self.shared.is_stopped() {
            commit(&consumer, &self.shared.commits(), CommitMode::Async);
            let room = self.shared.wait_for_room(POLL);
            if room {
                busy = None;
            }
            let since = busy.get_or_insert_with(Instant::now).elapsed();
            if room == held && (room || since > BUSY) {
                held = hold(&consumer, !room);
            }
            if !room && !held {
                continue;
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    idle = 0;
                    self.take(&message);
                }
                Some(Err(error)) => {
                    if !self.got_over(&error) {
                        return self.leave(consumer);
                    }
                }
                None => {
                    idle += 1;
                    if let Some(refused) = self.relay.refusal() {
                        self.shared.fail(refused);
                        return self.leave(consumer);
                    }
                }
            }
            if idle >= 3 && self.range.is_some() && self.shared.is_fetched() {
                self.shared.finish();
                break;
            }
        }
        self.leave(consumer);
    }

    fn leave(&self, consumer: BaseConsumer<Context>) {
        commit(&consumer, &self.shared.commits(), CommitMode::Sync);
        drop(consumer);
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        self.shared.push(
            message.topic(),
            message.partition(),
            message.offset(),
            |topic, epoch| {
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                Item {
                    topic,
                    partition: message.partition(),
                    offset: message.offset(),
                    time: message.timestamp().to_millis(),
                    key: copy(message.key()),
                    value: copy(message.payload()),
                    headers: headers
                        .map(|header| (header.key.to_owned(), copy(header.value).unwrap_or_default()))
                        .collect(),
                    epoch,
                }
            },
        );
    }

    /// Whether the library goes on after an error.
    fn got_over(&self, error: &KafkaError) -> bool {
        let refused = self.relay.refusal();
        if let Some(refused) = refused {
            self.shared.fail(refused);
            return false;
        }
        if matches!(error.rdkafka_error_code(), Some(Code::AllBrokersDown)) {
            // The library keeps trying; that nothing comes meanwhile is to be seen.
            self.shared.warn(self.failure(error));
            return true;
        }
        match classified(error) {
            Some(error) => {
                self.shared.fail(error);
                false
            }
            None => true,
        }
    }

    fn failure(&self, error: &KafkaError) -> Error {
        self.relay
            .fault()
            .or_else(|| classified(error))
            .unwrap_or_else(|| Error::transient(format!("the brokers cannot be read: {}", said(error))))
    }
}

/// Puts fetching on hold or goes on with it. Whether it is on hold now.
fn hold(consumer: &BaseConsumer<Context>, hold: bool) -> bool {
    let changed = consumer.assignment().and_then(|assignment| {
        if hold {
            consumer.pause(&assignment)
        } else {
            consumer.resume(&assignment)
        }
    });
    hold && changed.is_ok()
}

/// Starts the thread. What is returned comes when it has ended.
pub(super) fn start(job: Job) -> Result<oneshot::Receiver<()>, Error> {
    let (ended, end) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || {
            job.run();
            let _ = ended.send(());
        });
    spawned.map_err(|error| Error::System(format!("no thread could be started: {error}")))?;
    Ok(end)
}
