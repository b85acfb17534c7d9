//! The reader: batches of messages, acknowledged once they are durable.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use halcyon_domain::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    config::{Connection, Mode},
    feed::{Feed, Plan, Shared},
    link::{State, trouble},
    message::Taken,
};
use crate::{
    BatchLimits, Checkpoint, Error, Lag, Source, SourceBatch, SourceContext, SourceRecord, endpoint::Endpoint,
};

/// How long the server may take to confirm acknowledgements.
const CONFIRM: Duration = Duration::from_secs(5);
/// The most messages that wait on this side.
const AHEAD: usize = 256;

/// What the checkpoint holds. The durable consumer keeps the place; this says where to go on if it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The highest number in the stream that was read.
    pub(super) sequence: u64,
    /// Everything up to this number was acknowledged.
    #[serde(default)]
    pub(super) floor: u64,
    /// What the numbers are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
}

/// A consumer that was read through. Numbers of another stream mean nothing in its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) servers: Vec<String>,
    pub(super) stream: String,
    pub(super) consumer: String,
    /// When the consumer was made, in microseconds since 1970. A stream that is younger was made anew, and counts
    /// from 1 again.
    pub(super) made: i64,
}

impl Place {
    /// Whether the connection still names it. The servers are those of one cluster, so one that is left will do.
    pub(super) fn is_of(&self, connection: &Connection) -> bool {
        let known = |endpoint: &Endpoint| self.servers.contains(&endpoint.to_string());
        Some(&self.stream) == connection.stream.as_ref()
            && Some(&self.consumer) == connection.consumer.as_ref()
            && connection.endpoints().iter().any(known)
    }
}

/// A task that ends with its owner.
struct Opening(JoinHandle<Result<Feed, Error>>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Stage {
    Closed,
    Opening(Opening),
    Open(Box<Feed>),
}

/// A batch that the worker has.
struct Given {
    position: Position,
    replies: Vec<String>,
}

/// A running reader.
pub(super) struct NatsSource {
    plan: Plan,
    limits: BatchLimits,
    clock: Arc<dyn Clock>,
    stage: Stage,
    shared: Arc<Shared>,
    position: Position,
    /// What the next batch has so far, and when it goes.
    records: Vec<SourceRecord>,
    replies: Vec<String>,
    due: Option<Instant>,
    given: VecDeque<Given>,
    /// Acknowledgements that have not been sent.
    unsent: Vec<String>,
    /// There is no more of the range.
    ended: bool,
    stopped: bool,
}

impl NatsSource {
    pub(super) fn new(connection: Connection, context: SourceContext) -> Result<Self, Error> {
        let position = match &context.checkpoint {
            None => Position::default(),
            Some(checkpoint) => checkpoint.read()?,
        };
        let plan = Plan {
            connection,
            secrets: context.secrets,
            guard: context.guard,
            range: context.range,
            share: context.share,
            sample: context.sample,
            ahead: context.limits.max_records.clamp(1, AHEAD),
        };
        Ok(Self {
            plan,
            limits: context.limits,
            clock: context.clock,
            stage: Stage::Closed,
            shared: Arc::default(),
            position,
            records: Vec::new(),
            replies: Vec::new(),
            due: None,
            given: VecDeque::new(),
            unsent: Vec::new(),
            ended: false,
            stopped: false,
        })
    }

    /// Sees to it that the feed is open. Cancel safe: a task opens it.
    async fn open(&mut self) -> Result<(), Error> {
        loop {
            match &mut self.stage {
                Stage::Open(_) => return Ok(()),
                Stage::Closed => {
                    let shared = Arc::clone(&self.shared);
                    let opening = Feed::open(self.plan.clone(), self.position.clone(), shared);
                    self.stage = Stage::Opening(Opening(tokio::spawn(opening)));
                }
                Stage::Opening(opening) => {
                    let opened = (&mut opening.0).await;
                    self.stage = Stage::Closed;
                    let feed = opened.map_err(|error| Error::System(error.to_string()))??;
                    self.ended |= feed.ended;
                    self.position = feed.position.clone();
                    self.stage = Stage::Open(Box::new(feed));
                    self.send_acks().await?;
                }
            }
        }
    }

    /// Gathers a batch; what was gathered stays when the call is dropped.
    async fn gather(&mut self) -> Result<(), Error> {
        let Stage::Open(feed) = &mut self.stage else {
            return Ok(());
        };
        let most = self.limits.max_records.max(1);
        let mut state = feed.link.state.clone();
        while self.records.len() < most && !self.ended {
            let due = self.due;
            let taken = tokio::select! {
                biased;
                taken = feed.next(&self.plan, || self.clock.now()) => taken,
                state = state.wait_for(|state| *state != State::Up) => {
                    Err(trouble(state.map_or(State::Lost, |state| *state)))
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => break,
            };
            match taken {
                Ok(taken) => {
                    if self.due.is_none() {
                        self.due = Some(Instant::now() + self.limits.max_wait);
                    }
                    let range = self.plan.range;
                    self.ended = range.is_some_and(|range| {
                        let to = i128::from(range.to.timestamp_micros()) * 1_000;
                        taken.pending == 0 || taken.published >= to
                    });
                    take(
                        &mut self.records,
                        &mut self.replies,
                        &mut self.position,
                        &self.plan,
                        taken,
                    );
                }
                Err(error) => {
                    self.stage = Stage::Closed;
                    // What was gathered is as good as it was; the next call tells of the trouble if it lasts.
                    return if self.records.is_empty() {
                        Err(error)
                    } else {
                        Ok(())
                    };
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self) -> SourceBatch {
        self.due = None;
        self.position.floor = self.position.floor.max(self.shared.floor.load(Relaxed));
        let replies = std::mem::take(&mut self.replies);
        self.shared.working(|all| all.extend(replies.iter().cloned()));
        let position = self.position.clone();
        let checkpoint = Checkpoint(json!(position));
        self.given.push_back(Given { position, replies });
        SourceBatch {
            records: std::mem::take(&mut self.records),
            checkpoint,
        }
    }

    /// Sends what is to be acknowledged; the server confirms the last, and has taken those before it by then.
    async fn send_acks(&mut self) -> Result<(), Error> {
        let Stage::Open(feed) = &self.stage else {
            // They go once there is a connection.
            return Ok(());
        };
        let client = &feed.link.client;
        let Some((last, others)) = self.unsent.split_last() else {
            return Ok(());
        };
        let lost = |why: String| Error::transient(format!("the server did not take acknowledgements: {why}"));
        for reply in others {
            let sent = client.publish(reply.clone(), "+ACK".into()).await;
            sent.map_err(|error| lost(error.to_string()))?;
        }
        let confirmed = timeout(CONFIRM, client.request(last.clone(), "+ACK".into())).await;
        let confirmed = confirmed.map_err(|_| lost("no answer in time".to_owned()))?;
        match confirmed {
            Ok(_) => {}
            // The consumer is not there any more: what it gave was delivered, and the next one begins after it.
            Err(error) if error.kind() == async_nats::client::RequestErrorKind::NoResponders => {}
            Err(error) => return Err(lost(error.kind().to_string())),
        }
        let sent = std::mem::take(&mut self.unsent);
        self.shared.working(|all| {
            for reply in &sent {
                all.remove(reply);
            }
        });
        Ok(())
    }
}

/// Adds a message to the batch, unless it is outside of the range or another source's.
fn take(
    records: &mut Vec<SourceRecord>,
    replies: &mut Vec<String>,
    position: &mut Position,
    plan: &Plan,
    taken: Taken,
) {
    position.sequence = position.sequence.max(taken.sequence);
    if let Some(range) = &plan.range {
        let nanos = i128::from(range.to.timestamp_micros()) * 1_000;
        let (index, of) = (u64::from(plan.share.index), u64::from(plan.share.of.max(1)));
        if taken.published >= nanos || taken.sequence % of != index {
            return;
        }
    } else if !plan.sample {
        replies.extend(taken.reply);
    }
    records.push(taken.record);
}

#[async_trait]
impl Source for NatsSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        loop {
            if self.stopped || (self.ended && self.records.is_empty()) {
                return Ok(None);
            }
            if self.records.is_empty() || !self.ended {
                self.open().await?;
                self.gather().await?;
            }
            if !self.records.is_empty() {
                return Ok(Some(self.batch()));
            }
            self.due = None;
        }
    }

    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Ok(position) = Position::deserialize(&checkpoint.0) else {
            return Ok(());
        };
        let Some(place) = self.given.iter().position(|given| given.position == position) else {
            return Ok(());
        };
        let durable = self.given.drain(..=place).flat_map(|given| given.replies);
        self.unsent.extend(durable);
        self.send_acks().await
    }

    fn lag(&self) -> Lag {
        let told = self.plan.connection.mode == Mode::Jetstream && matches!(self.stage, Stage::Open(_));
        Lag {
            records: told.then(|| self.shared.pending.load(Relaxed)),
            age: None,
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.records.clear();
        self.stage = Stage::Closed;
    }
}
