//! The reader.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use halcyon_domain::clock::Clock;
use halcyon_egress::Guard;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::error::TryRecvError},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    config::Connection,
    packet::{self, Message},
    record::record,
    session::{self, Event, Session, Who},
};
use crate::{BatchLimits, Checkpoint, Error, Lag, Secrets, Source, SourceBatch, SourceContext};

/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the checkpoint holds. The broker remembers what was not acknowledged, so this does not say where to go on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Which connection the message came over; numbers of another one mean nothing.
    connection: String,
    /// The number of the last message.
    message: u64,
    /// What was subscribed to: the session keeps what nobody takes back.
    filters: Vec<String>,
}

/// A message that is not acknowledged: its number here, and what the broker knows it by.
struct Open {
    number: u64,
    qos: u8,
    id: u16,
}

/// A running reader of topics.
pub(crate) struct MqttSource {
    config: Connection,
    who: Who,
    secrets: Secrets,
    guard: Guard,
    clock: Arc<dyn Clock>,
    limits: BatchLimits,
    /// Subscriptions that an earlier configuration left behind.
    no_more: Vec<String>,
    /// The session that is being opened. In a task, so that a dropped call does not begin it anew.
    opening: JoinSet<Result<Session, Error>>,
    session: Option<Session>,
    /// The name of the connection, for checkpoints.
    name: String,
    /// Messages that came and are in no batch yet.
    came: VecDeque<(Message, OwnedSemaphorePermit)>,
    /// When the first of them came.
    since: Option<Instant>,
    /// How many messages of the connection were put into batches.
    handed: u64,
    open: VecDeque<Open>,
    window: Window,
    stopped: bool,
}

impl MqttSource {
    pub(crate) fn new(mut config: Connection, context: SourceContext) -> Result<Self, Error> {
        let mut no_more = Vec::new();
        if let Some(checkpoint) = &context.checkpoint {
            let now = config.filters();
            no_more = checkpoint.read::<Position>()?.filters;
            no_more.retain(|filter| !now.contains(filter));
        }
        // The first keeps the id, whatever the number of readers.
        let client_id = match context.share.index {
            0 => config.client_id.clone(),
            index => format!("{}-{index}", config.client_id),
        };
        let mut who = Who {
            client_id,
            clean: config.qos == 0,
        };
        if context.sample {
            // In a session of its own.
            who = Who {
                client_id: format!("{}-sample", config.client_id),
                clean: true,
            };
            config = config.guest();
            no_more.clear();
        }
        Ok(Self {
            config,
            who,
            secrets: context.secrets,
            guard: context.guard,
            clock: context.clock,
            limits: context.limits,
            no_more,
            opening: JoinSet::new(),
            session: None,
            name: String::new(),
            came: VecDeque::new(),
            since: None,
            handed: 0,
            open: VecDeque::new(),
            window: Window::default(),
            stopped: false,
        })
    }

    /// The session, opened if there is none.
    async fn session(&mut self) -> Result<&mut Session, Error> {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        if self.session.is_none() {
            if self.opening.is_empty() {
                let (config, who, no_more) = (self.config.clone(), self.who.clone(), self.no_more.clone());
                let (secrets, guard) = (self.secrets.clone(), self.guard.clone());
                self.opening
                    .spawn(async move { session::open(&config, &who, &no_more, &secrets, &guard).await });
            }
            let opened = match self.opening.join_next().await {
                Some(Ok(opened)) => opened?,
                _ => return Err(Error::System("a task of the reader is gone".to_owned())),
            };
            let count = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            self.name = format!("{:x}-{count}", self.clock.now().timestamp_micros());
            self.came.clear();
            self.open.clear();
            (self.since, self.handed, self.window) = (None, 0, Window::default());
            self.session = Some(opened);
        }
        self.session
            .as_mut()
            .ok_or_else(|| Error::System("a session was not kept".to_owned()))
    }

    /// Takes note of what came. After an error the next call opens another session.
    fn note(&mut self, event: Option<Result<Event, Error>>) -> Result<(), Error> {
        let noted = match event {
            Some(Ok(Event::Message(message, room))) => {
                self.since.get_or_insert_with(Instant::now);
                self.came.push_back((message, room));
                self.window.grow_to(self.open.len() + self.came.len());
                Ok(())
            }
            Some(Ok(Event::Subscribed(codes))) => session::granted(&self.config, &codes),
            Some(Err(error)) => Err(error),
            None => Err(Error::transient("the connection to the broker broke")),
        };
        if noted.is_err() {
            self.session = None;
        }
        noted
    }

    /// Waits until there is a batch in `came`.
    async fn gather(&mut self) -> Result<(), Error> {
        let most = self.limits.max_records.max(1);
        loop {
            while self.came.len() < most {
                match self.session().await?.events.try_recv() {
                    Ok(event) => self.note(Some(event))?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => self.note(None)?,
                }
            }
            let out = self.open.len() + self.came.len();
            if self.came.len() >= most || !self.came.is_empty() && self.window.is_full(out) {
                return Ok(());
            }
            let last_call = self.since.map(|since| since + self.limits.max_wait);
            let next = self.session().await?.events.recv();
            let event = match last_call {
                None => next.await,
                Some(last_call) => match timeout_at(last_call, next).await {
                    Ok(event) => event,
                    Err(_) => {
                        self.window.fell_quiet(out);
                        return Ok(());
                    }
                },
            };
            self.note(event)?;
        }
    }

    /// The batch that was gathered.
    fn take(&mut self) -> Option<SourceBatch> {
        let (now, most) = (self.clock.now(), self.limits.max_records.max(1));
        let count = self.came.len().min(most);
        let mut records = Vec::with_capacity(count);
        for (message, _room) in self.came.drain(..count) {
            self.handed += 1;
            if message.qos > 0 {
                let (number, qos, id) = (self.handed, message.qos, message.id);
                self.open.push_back(Open { number, qos, id });
            }
            records.push(record(message, self.config.identity, now));
        }
        self.since = (!self.came.is_empty()).then(Instant::now);
        let checkpoint = Checkpoint(json!(Position {
            connection: self.name.clone(),
            message: self.handed,
            filters: self.config.filters(),
        }));
        (!records.is_empty()).then_some(SourceBatch { records, checkpoint })
    }
}

/// How many messages the broker hands out before it waits for an acknowledgement, which it does not tell: Mosquitto's
/// 20, for example. Once it fell quiet twice with as many out, there is no use in waiting for more.
#[derive(Default)]
struct Window {
    quiet_at: usize,
    size: Option<usize>,
}

impl Window {
    fn fell_quiet(&mut self, out: usize) {
        if self.quiet_at == out {
            self.size = Some(out);
        }
        self.quiet_at = out;
    }

    fn is_full(&self, out: usize) -> bool {
        self.size.is_some_and(|size| out >= size)
    }

    fn grow_to(&mut self, out: usize) {
        if self.size.is_some_and(|size| out > size) {
            self.size = None;
        }
    }
}

#[async_trait]
impl Source for MqttSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        loop {
            if self.stopped {
                return Ok(None);
            }
            self.gather().await?;
            if let Some(batch) = self.take() {
                return Ok(Some(batch));
            }
        }
    }

    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let position: Position = checkpoint.read()?;
        // What came over another connection and was not acknowledged there comes again.
        if position.connection != self.name {
            return Ok(());
        }
        let Some(session) = &self.session else {
            return Ok(());
        };
        let mut packets = BytesMut::new();
        let done = self.open.partition_point(|open| open.number <= position.message);
        for open in self.open.range(..done) {
            packet::acknowledge(&mut packets, open.qos, open.id);
        }
        if !packets.is_empty()
            && let Err(error) = session.write(packets.freeze()).await
        {
            self.session = None;
            return Err(error);
        }
        self.open.drain(..done);
        Ok(())
    }

    fn lag(&self) -> Lag {
        // The protocol has no word for what waits at the broker.
        Lag::default()
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.opening.abort_all();
        self.came.clear();
        if let Some(session) = self.session.take() {
            let _ = timeout(GOODBYE, session.close()).await;
        }
    }
}
