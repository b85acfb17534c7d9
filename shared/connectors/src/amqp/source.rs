//! The reader.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use halcyon_domain::clock::Clock;
use halcyon_egress::Guard;
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    config::Connection,
    record::record,
    session::{self, Session, of_broker, short},
};
use crate::{BatchLimits, Checkpoint, Error, Lag, Secrets, Source, SourceBatch, SourceContext, SourceRecord};

/// The most bytes of a batch, unless one message alone has more.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often a test run looks at an empty queue.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the checkpoint holds. The broker remembers what was not acknowledged, so this says nothing about where to go
/// on: it says which messages an acknowledgement is for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The reader's name at the broker. The numbers of another reader mean nothing.
    consumer: String,
    /// The number of the last message.
    delivery: u64,
}

/// A running reader of a queue.
pub(crate) struct AmqpSource {
    config: Connection,
    secrets: Secrets,
    guard: Guard,
    clock: Arc<dyn Clock>,
    limits: BatchLimits,
    sample: bool,
    /// The session that is being opened. In a task, so that a dropped call does not begin it anew.
    opening: JoinSet<Result<Session, Error>>,
    /// What a test run looks at.
    looking: JoinSet<Result<Vec<Delivery>, Error>>,
    session: Option<Session>,
    /// Messages that came and are in no batch yet.
    came: VecDeque<Delivery>,
    /// When the first of them came.
    since: Option<Instant>,
    stopped: bool,
}

impl AmqpSource {
    pub(crate) fn new(config: Connection, context: SourceContext) -> Result<Self, Error> {
        if let Some(checkpoint) = &context.checkpoint {
            checkpoint.read::<Position>()?;
        }
        Ok(Self {
            config,
            secrets: context.secrets,
            guard: context.guard,
            clock: context.clock,
            limits: context.limits,
            sample: context.sample,
            opening: JoinSet::new(),
            looking: JoinSet::new(),
            session: None,
            came: VecDeque::new(),
            since: None,
            stopped: false,
        })
    }

    /// The session, opened if there is none.
    async fn session(&mut self) -> Result<&mut Session, Error> {
        if self.session.is_none() {
            if self.opening.is_empty() {
                let (config, secrets, guard) =
                    (self.config.clone(), self.secrets.clone(), self.guard.clone());
                self.opening
                    .spawn(async move { session::open(&config, &secrets, &guard).await });
            }
            let opened = ended(self.opening.join_next().await)?;
            self.came.clear();
            self.since = None;
            self.session = Some(opened);
        }
        self.session
            .as_mut()
            .ok_or_else(|| Error::System("a session was not kept".to_owned()))
    }

    /// How many messages a full batch has: more than the prefetch cannot come.
    fn most(&self) -> usize {
        self.limits
            .max_records
            .min(usize::from(self.config.prefetch))
            .max(1)
    }

    /// Takes note of what the reader gave; `false` if it gives no more.
    fn note(&mut self, given: Option<lapin::Result<Delivery>>) -> Result<bool, Error> {
        match given {
            Some(Ok(delivery)) => {
                self.since.get_or_insert_with(Instant::now);
                self.came.push_back(delivery);
                Ok(true)
            }
            Some(Err(error)) => {
                self.session = None;
                Err(of_broker(&error, &self.config))
            }
            // The broker took the queue from its readers: it was deleted, or moved. A new session finds out.
            None => {
                self.session = None;
                Ok(false)
            }
        }
    }

    /// Waits until there is a batch in `came`; `false` if the session ended.
    async fn gather(&mut self) -> Result<bool, Error> {
        let most = self.most();
        loop {
            // What is there already. The broker sends no more than the prefetch.
            while let Some(given) = self.session().await?.consumer.next().now_or_never() {
                if !self.note(given)? {
                    return Ok(false);
                }
            }
            let bytes: usize = self.came.iter().map(|delivery| delivery.data.len()).sum();
            if self.came.len() >= most || bytes >= BATCH_BYTES {
                return Ok(true);
            }
            let last_call = self.since.map(|since| since + self.limits.max_wait);
            let next = self.session().await?.consumer.next();
            let given = match last_call {
                None => next.await,
                Some(last_call) => match timeout_at(last_call, next).await {
                    Ok(given) => given,
                    Err(_) => return Ok(true),
                },
            };
            if !self.note(given)? {
                return Ok(false);
            }
        }
    }

    /// The batch that was gathered.
    fn take(&mut self) -> Option<SourceBatch> {
        let consumer = self.session.as_ref()?.name().to_string();
        let (now, most) = (self.clock.now(), self.most());
        let (mut records, mut bytes, mut last) = (Vec::new(), 0, 0);
        while let Some(next) = self.came.front() {
            let fits = records.len() < most && (records.is_empty() || bytes + next.data.len() <= BATCH_BYTES);
            if !fits {
                break;
            }
            let Some(delivery) = self.came.pop_front() else {
                break;
            };
            bytes += delivery.data.len();
            last = delivery.delivery_tag;
            records.push(record(delivery, self.config.identity, now));
        }
        self.since = (!self.came.is_empty()).then(Instant::now);
        let delivery = last;
        let checkpoint = Checkpoint(json!(Position { consumer, delivery }));
        (!records.is_empty()).then_some(SourceBatch { records, checkpoint })
    }

    /// For a test run: some messages, which go back at once to where they were.
    async fn look(&mut self) -> Result<Option<SourceBatch>, Error> {
        if self.looking.is_empty() {
            let (config, secrets, guard) = (self.config.clone(), self.secrets.clone(), self.guard.clone());
            let most = self.most();
            self.looking.spawn(async move {
                let connection = session::connect(&config, &secrets, &guard).await?;
                let channel = connection.create_channel().await;
                let channel = channel.map_err(|error| of_broker(&error, &config))?;
                glance(&channel, &config, most).await
            });
        }
        let found = ended(self.looking.join_next().await)?;
        self.stopped = true;
        let now = self.clock.now();
        let identity = self.config.identity;
        let records: Vec<SourceRecord> = found
            .into_iter()
            .map(|delivery| record(delivery, identity, now))
            .collect();
        let (consumer, delivery) = (String::new(), 0);
        let checkpoint = Checkpoint(json!(Position { consumer, delivery }));
        Ok(Some(SourceBatch { records, checkpoint }))
    }
}

/// What a task of ours came to.
fn ended<T>(outcome: Option<Result<Result<T, Error>, tokio::task::JoinError>>) -> Result<T, Error> {
    match outcome {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::System(format!("a task of the reader failed: {error}"))),
        None => Err(Error::System("a task of the reader is gone".to_owned())),
    }
}

/// Gets up to `most` messages, at least one, and gives them back.
async fn glance(channel: &Channel, config: &Connection, most: usize) -> Result<Vec<Delivery>, Error> {
    let broken = |error: lapin::Error| of_broker(&error, config);
    let mut found = Vec::new();
    loop {
        while found.len() < most {
            let got = channel.basic_get(short(&config.queue)?, BasicGetOptions::default());
            match got.await.map_err(broken)? {
                Some(message) => found.push(message.delivery),
                None => break,
            }
        }
        if let Some(last) = found.last() {
            let back = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            let nack = channel.basic_nack(last.delivery_tag, back);
            nack.await.map_err(broken)?;
            // The answer to another question says that the broker has read this far.
            session::look(channel, config).await?;
            return Ok(found);
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[async_trait]
impl Source for AmqpSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        loop {
            if self.stopped {
                return Ok(None);
            }
            if self.sample {
                return self.look().await;
            }
            if self.gather().await?
                && let Some(batch) = self.take()
            {
                return Ok(Some(batch));
            }
        }
    }

    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let position: Position = checkpoint.read()?;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        // What another session handed out has gone back to the queue, and comes again.
        if session.name().as_str() != position.consumer || position.delivery <= session.acknowledged {
            return Ok(());
        }
        let all = BasicAckOptions { multiple: true };
        match session.channel.basic_ack(position.delivery, all).await {
            Ok(()) => {
                session.acknowledged = position.delivery;
                Ok(())
            }
            Err(error) => {
                self.session = None;
                Err(of_broker(&error, &self.config))
            }
        }
    }

    fn lag(&self) -> Lag {
        let waiting = self
            .session
            .as_ref()
            .map(|session| session.waiting.load(Ordering::Relaxed));
        Lag {
            records: waiting.map(|waiting| u64::from(waiting) + self.came.len() as u64),
            age: None,
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.opening.abort_all();
        self.looking.abort_all();
        self.came.clear();
        if let Some(session) = self.session.take() {
            // The broker notices anyhow, so its answer is not waited for long.
            let _ = timeout(GOODBYE, session.connection.close(200, "stopped".into())).await;
        }
    }
}
