//! Group commit: while one publish is in flight the next batch is collected, so that one file sync of the server
//! serves many senders.

use std::{marker::PhantomData, panic::AssertUnwindSafe, sync::OnceLock, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    Bus, Error,
    codec::{self, BATCH_CONTENT_TYPE, FrameItem},
    publish::with_message_id,
    subjects::Subject,
    trace,
};
use halcyon_domain::event::{EventOutcome, IngestEvent};

/// Events in a frame.
const MAX_ITEMS: usize = 256;
/// Bytes in a frame; a larger item travels alone.
const MAX_BYTES: usize = 512 * 1024;
/// How long a batch is collected while another one is in flight.
const MAX_WAIT: Duration = Duration::from_millis(10);
/// Frames of one publisher in flight. More than one only when batches are full or have waited long enough.
const IN_FLIGHT: usize = 4;
/// So many frames may be in flight before one has to wait until it is full or due. With the second one under way
/// the server has its next frame when it has synced the first, which is worth more than the larger frames of a
/// single one (measured: `halcyon-load ingest`).
const AT_ONCE: usize = 2;
/// Items that wait for a frame.
const QUEUE: usize = 1_024;
/// What the server's `max_payload` must hold beside the items: headers and brackets.
const OVERHEAD: usize = 4 * 1024;

/// Publishes the items of one partition in frames. Clones share the frames.
pub struct FramePublisher<T> {
    bus: Bus,
    queue: mpsc::Sender<Submission>,
    item: PhantomData<fn(&T)>,
}

impl<T> Clone for FramePublisher<T> {
    fn clone(&self) -> Self {
        Self {
            bus: self.bus.clone(),
            queue: self.queue.clone(),
            item: PhantomData,
        }
    }
}

/// An encoded item that waits for the ack of its frame.
struct Submission {
    item: Bytes,
    traceparent: Option<Box<str>>,
    answer: oneshot::Sender<Result<(), Error>>,
    _room: OwnedSemaphorePermit,
}

impl Bus {
    /// Publishers of accepted events, one for each partition.
    #[must_use]
    pub fn ingest_publishers(&self) -> FramePublishers<IngestEvent> {
        FramePublishers::new(self, Subject::Ingest)
    }

    /// Publishers of outcomes, one for each partition.
    #[must_use]
    pub fn outcome_publishers(&self) -> FramePublishers<EventOutcome> {
        FramePublishers::new(self, Subject::Ontology)
    }
}

/// The publishers of all partitions; each begins with its first item.
pub struct FramePublishers<T> {
    bus: Bus,
    subject: fn(u16) -> Subject,
    partitions: Vec<OnceLock<FramePublisher<T>>>,
}

impl<T: FrameItem> FramePublishers<T> {
    fn new(bus: &Bus, subject: fn(u16) -> Subject) -> Self {
        let partitions = (0..bus.partitions().end()).map(|_| OnceLock::new()).collect();
        Self {
            bus: bus.clone(),
            subject,
            partitions,
        }
    }

    /// The publisher of a partition.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn partition(&self, partition: u16) -> Result<&FramePublisher<T>, Error> {
        let slot = self.partitions.get(usize::from(partition));
        let slot = slot.ok_or_else(|| Error::Setup(format!("there is no partition {partition}")))?;
        Ok(slot.get_or_init(|| FramePublisher::new(&self.bus, (self.subject)(partition))))
    }

    /// Publishes an item on a partition; see [`FramePublisher::submit`].
    ///
    /// # Errors
    /// As [`FramePublisher::submit`], and if there is no such partition.
    pub async fn submit(&self, partition: u16, item: &T, traceparent: Option<&str>) -> Result<(), Error> {
        self.partition(partition)?.submit(item, traceparent).await
    }
}

impl<T: FrameItem> FramePublisher<T> {
    fn new(bus: &Bus, subject: Subject) -> Self {
        let (queue, submissions) = mpsc::channel(QUEUE);
        let collector = Collector {
            bus: bus.clone(),
            subject: subject.to_string(),
            submissions,
            batch: Batch::default(),
        };
        tokio::spawn(collector.run());
        Self {
            bus: bus.clone(),
            queue,
            item: PhantomData,
        }
    }

    /// Publishes an item and returns once JetStream has acked the frame that holds it.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] says whether the answer to a client is 503. After `Timeout` and `Unavailable` the
    /// item may be stored all the same. `TooLarge`: it does not fit a message.
    pub async fn submit(&self, item: &T, traceparent: Option<&str>) -> Result<(), Error> {
        let limit = self.bus.max_payload().saturating_sub(OVERHEAD);
        let mut answers = Vec::with_capacity(1);
        for part in item.encode(limit)? {
            answers.push(self.enqueue(part, traceparent).await?);
        }
        for answer in answers {
            answer
                .await
                .map_err(|_| Error::unavailable("the publisher ended"))??;
        }
        Ok(())
    }

    async fn enqueue(
        &self,
        item: Bytes,
        traceparent: Option<&str>,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let wait = self.bus.settings().publish_deadline.get();
        let size = u32::try_from(item.len()).unwrap_or(u32::MAX);
        let queued = async {
            let room = self.bus.queue().clone().acquire_many_owned(size).await;
            let room = room.map_err(|_| Error::unavailable("the queue is closed"))?;
            let (answer, answered) = oneshot::channel();
            let submission = Submission {
                item,
                traceparent: traceparent.map(Into::into),
                answer,
                _room: room,
            };
            self.queue
                .send(submission)
                .await
                .map_err(|_| Error::unavailable("the publisher ended"))?;
            Ok(answered)
        };
        tokio::time::timeout(wait, queued)
            .await
            .map_err(|_| Error::Timeout(wait))?
    }
}

/// What is collected while frames are in flight.
#[derive(Default)]
struct Batch {
    items: Vec<Submission>,
    bytes: usize,
    /// An item that did not fit; it begins the next batch.
    next: Option<Submission>,
    due: Option<Instant>,
}

impl Batch {
    fn push(&mut self, submission: Submission) {
        if !self.items.is_empty() && self.bytes + submission.item.len() > MAX_BYTES {
            self.next = Some(submission);
            return;
        }
        self.due.get_or_insert_with(|| Instant::now() + MAX_WAIT);
        self.bytes += submission.item.len() + 1;
        self.items.push(submission);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= MAX_ITEMS || self.next.is_some() || self.bytes >= MAX_BYTES
    }

    fn take(&mut self) -> (Vec<Submission>, usize) {
        let bytes = std::mem::take(&mut self.bytes);
        let items = std::mem::take(&mut self.items);
        self.due = None;
        if let Some(next) = self.next.take() {
            self.push(next);
        }
        (items, bytes)
    }
}

/// The task behind a publisher.
struct Collector {
    bus: Bus,
    subject: String,
    submissions: mpsc::Receiver<Submission>,
    batch: Batch,
}

impl Collector {
    async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while !self.batch.is_full() {
                let Ok(submission) = self.submissions.try_recv() else {
                    break;
                };
                self.batch.push(submission);
            }
            let due = self.batch.due.is_some_and(|due| due <= Instant::now());
            let ready =
                in_flight.len() < AT_ONCE || (in_flight.len() < IN_FLIGHT && (self.batch.is_full() || due));
            if ready && !self.batch.items.is_empty() {
                let (items, bytes) = self.batch.take();
                let publish = publish(self.bus.clone(), self.subject.clone(), items, bytes);
                // A panic costs the senders of its frame their ack, and not the partition its publisher.
                in_flight.push(AssertUnwindSafe(publish).catch_unwind().map(drop));
                continue;
            }
            let wake = self.batch.due.filter(|_| in_flight.len() < IN_FLIGHT);
            tokio::select! {
                biased;
                Some(()) = in_flight.next() => {}
                submission = self.submissions.recv(), if !self.batch.is_full() => match submission {
                    Some(submission) => self.batch.push(submission),
                    // All senders are gone, and nobody waits for the answers of what may be in flight.
                    None => return while in_flight.next().await.is_some() {},
                },
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

async fn publish(bus: Bus, subject: String, items: Vec<Submission>, bytes: usize) {
    let mut headers = with_message_id(&Uuid::now_v7().to_string());
    headers.insert("Content-Type", BATCH_CONTENT_TYPE);
    trace::inject(
        &mut headers,
        items.iter().find_map(|item| item.traceparent.as_deref()),
    );
    let frame = codec::frame(items.iter().map(|submission| &submission.item), bytes);
    let result = bus
        .publish_until_stored(subject, headers, frame)
        .await
        .map(|_| ());
    if result.is_ok() {
        let counters = bus.counters();
        counters.frames.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        counters
            .frame_items
            .fetch_add(items.len() as u64, std::sync::atomic::Ordering::Relaxed);
    }
    for submission in items {
        // A sender that gave up does not listen.
        let _ = submission.answer.send(result.clone());
    }
}
