//! An open feed: a connection and what messages come through.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{
    Client, Message, Subscriber,
    jetstream::{
        self, Context, ErrorCode,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::ConsumerErrorKind,
    },
};
use futures::{Stream, StreamExt};
use halcyon_domain::clock::Timestamp;
use halcyon_egress::Guard;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    config::{Connection, Mode, from_time},
    link::{Link, Lost, answered},
    message::{Taken, of_stream, of_subject},
    source::{Place, Position},
};
use crate::{Error, Secrets, Share, TimeRange};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the server is asked how much there is to read.
const LOOK: Duration = Duration::from_secs(2);
/// The most bytes that wait on this side, if a single message is not larger.
const BYTES: usize = 8 << 20;
/// How much of a plain subject waits on this side, in KiB; a message counts at least one.
const ROOM: u32 = 32 * 1024;
/// How far back a sample begins, and how far when most messages are of other subjects.
const RECENT: (u64, u64) = (100, 10_000);
/// After how long the server forgets a consumer of a sample or a backfill.
const FORGET: Duration = Duration::from_secs(60);

/// What a feed is opened by.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) connection: Connection,
    pub(super) secrets: Secrets,
    pub(super) guard: Guard,
    pub(super) range: Option<TimeRange>,
    pub(super) share: Share,
    pub(super) sample: bool,
    /// How many messages wait on this side.
    pub(super) ahead: usize,
}

/// What the feed's tasks and its source share.
#[derive(Default)]
pub(super) struct Shared {
    /// How many messages the consumer has not given out yet.
    pub(super) pending: AtomicU64,
    /// Everything up to this number is acknowledged.
    pub(super) floor: AtomicU64,
    /// Where acknowledgements of messages go that the worker has.
    in_work: Mutex<HashSet<String>>,
}

impl Shared {
    pub(super) fn working<T>(&self, change: impl FnOnce(&mut HashSet<String>) -> T) -> T {
        change(&mut self.in_work.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Messages {
    Stream(Box<pull::Stream>),
    Subject(mpsc::UnboundedReceiver<Waiting>),
}

/// A message of a plain subject, and its place in memory, which is free when this is dropped.
struct Waiting(Message, OwnedSemaphorePermit);

/// An open feed.
pub(super) struct Feed {
    pub(super) link: Link,
    pub(super) shared: Arc<Shared>,
    /// There is nothing (more) of the wanted range.
    pub(super) ended: bool,
    /// What was known of the place, as far as it is of this feed.
    pub(super) position: Position,
    messages: Messages,
    /// End with the feed.
    _tasks: JoinSet<()>,
}

impl Feed {
    pub(super) async fn open(plan: Plan, position: Position, shared: Arc<Shared>) -> Result<Self, Error> {
        let link = Link::make(&plan.connection, &plan.secrets, &plan.guard, PATIENCE).await?;
        let mut tasks = JoinSet::new();
        if plan.connection.mode == Mode::Core {
            let subscriber = subscribe(&link, &plan).await?;
            let (arrived, messages) = mpsc::unbounded_channel();
            tasks.spawn(take_in(subscriber, arrived, Arc::clone(&link.lost)));
            let messages = Messages::Subject(messages);
            return Ok(Self {
                link,
                shared,
                ended: false,
                position: Position::default(),
                messages,
                _tasks: tasks,
            });
        }
        let context = jetstream::new(link.client.clone());
        let (consumer, mut position) = link.heed(consumer(&context, &plan, position)).await?;
        let info = consumer.cached_info();
        position.place = Some(place(&plan.connection, &consumer));
        shared.pending.store(info.num_pending, Relaxed);
        shared.floor.store(info.ack_floor.stream_sequence, Relaxed);
        let ended = plan.range.is_some() && info.num_pending == 0;
        let ack_wait = info.config.ack_wait;
        let messages = messages(&link, &consumer, plan.ahead).await?;
        tasks.spawn(look(consumer, Arc::clone(&shared)));
        if plan.range.is_none() && !plan.sample {
            tasks.spawn(keep(link.client.clone(), ack_wait, Arc::clone(&shared)));
        }
        Ok(Self {
            link,
            shared,
            ended,
            position,
            messages,
            _tasks: tasks,
        })
    }

    /// The next message. Cancel safe.
    pub(super) async fn next(&mut self, plan: &Plan, now: impl Fn() -> Timestamp) -> Result<Taken, Error> {
        let dedupe = plan.connection.dedupe;
        match &mut self.messages {
            Messages::Subject(messages) => match messages.recv().await {
                Some(Waiting(message, _room)) => Ok(of_subject(&message, dedupe, now())),
                None => Err(Error::transient("the subscription has ended")),
            },
            Messages::Stream(messages) => match messages.next().await {
                Some(Ok(message)) => {
                    let taken = of_stream(&message, dedupe, now())?;
                    self.shared.pending.store(taken.pending, Relaxed);
                    Ok(taken)
                }
                Some(Err(error)) => Err(Error::transient(format!(
                    "the consumer gives no messages: {}",
                    error.kind()
                ))),
                None => Err(Error::transient("the consumer gives no more messages")),
            },
        }
    }
}

async fn subscribe(link: &Link, plan: &Plan) -> Result<Subscriber, Error> {
    let subject = plan.connection.subject.clone().unwrap_or_default();
    let made = match plan.connection.queue_group.clone().filter(|_| !plan.sample) {
        Some(group) => link.client.queue_subscribe(subject, group).await,
        None => link.client.subscribe(subject).await,
    };
    let subscriber =
        made.map_err(|error| Error::transient(format!("no subscription came about: {error}")))?;
    let flushed = link.client.flush().await;
    flushed.map_err(|error| Error::transient(format!("no subscription came about: {error}")))?;
    Ok(subscriber)
}

/// Takes messages out of the library, whose buffer is bounded by their number only. Those for which there is no room
/// are lost, as the server's promise of plain subjects has it.
async fn take_in(
    mut messages: impl Stream<Item = Message> + Unpin,
    arrived: mpsc::UnboundedSender<Waiting>,
    lost: Arc<Lost>,
) {
    let room = Arc::new(Semaphore::new(ROOM as usize));
    while let Some(message) = messages.next().await {
        let size = u32::try_from(message.length / 1024 + 1).unwrap_or(ROOM);
        match Arc::clone(&room).try_acquire_many_owned(size.min(ROOM)) {
            Ok(room) => {
                if arrived.send(Waiting(message, room)).is_err() {
                    return;
                }
            }
            Err(_) => lost.count(),
        }
    }
}

async fn messages(link: &Link, consumer: &PullConsumer, ahead: usize) -> Result<Messages, Error> {
    let largest = link.client.server_info().max_payload;
    let limits = &consumer.cached_info().config;
    let most = usize::try_from(limits.max_batch).ok().filter(|most| *most > 0);
    let stream = consumer
        .stream()
        .max_messages_per_batch(most.map_or(ahead, |most| most.min(ahead)))
        .max_bytes_per_batch(BYTES.max(largest.saturating_mul(2)))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await;
    let stream = stream.map_err(|error| Error::transient(format!("the consumer cannot be read: {error}")))?;
    Ok(Messages::Stream(Box::new(stream)))
}

/// The consumer to read through: the durable one, or one of its own that acknowledges nothing. And what is left of
/// `position`: nothing, if it is of something else.
async fn consumer(
    context: &Context,
    plan: &Plan,
    position: Position,
) -> Result<(PullConsumer, Position), Error> {
    let connection = &plan.connection;
    let stream = connection.stream.clone().unwrap_or_default();
    let mut config = pull::Config {
        filter_subjects: connection.filter.clone(),
        ..Default::default()
    };
    if plan.sample || plan.range.is_some() {
        config.ack_policy = AckPolicy::None;
        config.inactive_threshold = FORGET;
        let position = known(context, connection, position).await?;
        config.deliver_policy = match &plan.range {
            Some(_) if position.sequence > 0 => after(position.sequence),
            Some(range) => from_time(range.from)
                .ok_or_else(|| Error::System("the range begins at no time that NATS knows".to_owned()))?,
            None => recent(context, &stream, connection.filter.is_empty()).await?,
        };
        return Ok((create(context, config, &stream).await?, position));
    }
    let name = connection.consumer.clone().unwrap_or_default();
    match context
        .get_consumer_from_stream::<pull::Config, _, _>(&name, &stream)
        .await
    {
        Ok(found) => {
            let found = adopt(found, connection)?;
            let same = position.place.as_ref() == Some(&place(connection, &found));
            Ok((found, if same { position } else { Position::default() }))
        }
        Err(error) if is_missing(&error.kind()) => {
            config.durable_name = Some(name);
            config.ack_policy = AckPolicy::Explicit;
            config.ack_wait = connection.ack_wait();
            // Whoever has read before and finds the consumer gone does not begin anew.
            let position = known(context, connection, position).await?;
            config.deliver_policy = match position.floor {
                0 => connection.start(),
                floor => after(floor),
            };
            Ok((create(context, config, &stream).await?, position))
        }
        Err(error) => Err(not_had(error.kind())),
    }
}

fn place(connection: &Connection, consumer: &PullConsumer) -> Place {
    let info = consumer.cached_info();
    let servers = connection.endpoints();
    Place {
        servers: servers.iter().map(ToString::to_string).collect(),
        stream: connection.stream.clone().unwrap_or_default(),
        consumer: connection.consumer.clone().unwrap_or_default(),
        made: micros(info.created.unix_timestamp_nanos()),
    }
}

fn micros(nanos: i128) -> i64 {
    i64::try_from(nanos / 1_000).unwrap_or_default()
}

/// What a position says of a stream whose consumer is gone: nothing, if it was of another stream, of another
/// consumer, or of a stream of this name that was deleted meanwhile. One that does not say of which, as somebody may write
/// it, is taken for one of this stream.
async fn known(context: &Context, connection: &Connection, position: Position) -> Result<Position, Error> {
    let Some(place) = &position.place else {
        return Ok(position);
    };
    if !place.is_of(connection) {
        return Ok(Position::default());
    }
    let stream = stream(context, &place.stream).await?;
    let created = micros(stream.cached_info().created.unix_timestamp_nanos());
    Ok(if created <= place.made {
        position
    } else {
        Position::default()
    })
}

async fn stream(context: &Context, name: &str) -> Result<jetstream::stream::Stream, Error> {
    use jetstream::context::GetStreamErrorKind as Kind;
    let stream = context.get_stream(name).await;
    stream.map_err(|error| match error.kind() {
        Kind::JetStream(error) => answered(&error),
        kind => Error::transient(format!("JetStream does not tell of the stream: {kind}")),
    })
}

fn adopt(found: PullConsumer, connection: &Connection) -> Result<PullConsumer, Error> {
    let config = &found.cached_info().config;
    if config.ack_policy == AckPolicy::None {
        return Err(Error::Refused {
            message:
                "the consumer takes no acknowledgements: name another one, or make it with `--ack explicit`"
                    .to_owned(),
        });
    }
    let mut has = config.filter_subjects.clone();
    if !config.filter_subject.is_empty() {
        has.push(config.filter_subject.clone());
    }
    let mut wanted = connection.filter.clone();
    has.sort();
    wanted.sort();
    if !wanted.is_empty() && has != wanted {
        return Err(Error::Refused {
            message:
                "the consumer is of other subjects than `filter` says: name another consumer, or edit it \
                      at the server"
                    .to_owned(),
        });
    }
    Ok(found)
}

async fn create(context: &Context, config: pull::Config, stream: &str) -> Result<PullConsumer, Error> {
    let made = context.create_consumer_strict_on_stream(config, stream).await;
    made.map_err(|error| {
        use jetstream::stream::ConsumerCreateStrictErrorKind as Kind;
        match error.kind() {
            Kind::JetStream(error) => answered(&error),
            // Another instance was quicker.
            Kind::AlreadyExists => Error::transient("the consumer was made by someone else meanwhile"),
            kind => Error::transient(format!("the consumer cannot be made: {kind}")),
        }
    })
}

pub(super) fn is_missing(kind: &ConsumerErrorKind) -> bool {
    matches!(kind, ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

pub(super) fn not_had(kind: ConsumerErrorKind) -> Error {
    match kind {
        ConsumerErrorKind::JetStream(error) => answered(&error),
        ConsumerErrorKind::InvalidConsumerType => Error::Refused {
            message: "the consumer pushes; a pull consumer is needed: name another one".to_owned(),
        },
        kind => Error::transient(format!("JetStream does not tell of the consumer: {kind}")),
    }
}

const fn after(sequence: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence {
        start_sequence: sequence.saturating_add(1),
    }
}

/// A little before the stream's end.
async fn recent(context: &Context, name: &str, all_subjects: bool) -> Result<DeliverPolicy, Error> {
    let stream = stream(context, name).await?;
    let back = if all_subjects { RECENT.0 } else { RECENT.1 };
    let last = stream.cached_info().state.last_sequence;
    Ok(after(last.saturating_sub(back)))
}

/// Asks now and then how much there is to read.
async fn look(consumer: PullConsumer, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(info) = consumer.get_info().await {
            shared.pending.store(info.num_pending, Relaxed);
            shared.floor.store(info.ack_floor.stream_sequence, Relaxed);
        }
    }
}

/// Tells the server that messages are being worked on, so that it does not give them to others.
async fn keep(client: Client, ack_wait: Duration, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval((ack_wait / 3).max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let replies: Vec<String> = shared.working(|replies| replies.iter().cloned().collect());
        for reply in replies {
            // A connection that is gone ends this task together with the feed.
            let _ = client.publish(reply, "+WPI".into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_plain_subject_has_so_much_room_and_what_is_lost_is_counted() {
        let message = |_| Message {
            subject: "a".into(),
            reply: None,
            payload: vec![0; (1 << 20) - 1].into(),
            headers: None,
            status: None,
            description: None,
            length: (1 << 20) - 1,
        };
        let lost = Arc::new(Lost::default());
        let (arrived, mut messages) = mpsc::unbounded_channel();
        let sent = futures::stream::iter((0..50).map(message));
        take_in(sent, arrived, Arc::clone(&lost)).await;
        let mut count = 0;
        while messages.recv().await.is_some() {
            count += 1;
        }
        assert_eq!((count, lost.so_far()), (32, 18));
    }
}
