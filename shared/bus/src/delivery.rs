//! A delivery: a message that comes again unless it is acked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{self, AckKind, message::Acker};
use bytes::Bytes;
use halcyon_domain::{
    clock::Timestamp,
    event::{EventOutcome, IngestEvent},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::{Error, codec, trace};

/// Deliveries that were dropped without an ack, on their way back to the server.
pub(crate) type NakQueue = mpsc::UnboundedSender<(Acker, Duration)>;

/// A message that is given back to its consumer when this is dropped without an ack.
pub struct Delivery {
    message: async_nats::Message,
    acker: Option<Acker>,
    naks: NakQueue,
    sequence: u64,
    delivered: u32,
    published_at: Timestamp,
}

impl Delivery {
    pub(crate) fn new(message: jetstream::Message, naks: NakQueue) -> Self {
        let (sequence, delivered, published_at) = match message.info() {
            Ok(info) => (
                info.stream_sequence,
                u32::try_from(info.delivered).unwrap_or(u32::MAX),
                Timestamp::from_timestamp_nanos(info.published.unix_timestamp_nanos() as i64),
            ),
            Err(_) => (0, 1, Timestamp::default()),
        };
        let (message, acker) = message.split();
        Self {
            message,
            acker: Some(acker),
            naks,
            sequence,
            delivered,
            published_at,
        }
    }

    /// The message's bytes.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Its sequence in the stream.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How often it was delivered, this time included: 1 for the first time.
    #[must_use]
    pub const fn delivered(&self) -> u32 {
        self.delivered
    }

    /// When it was stored.
    #[must_use]
    pub const fn published_at(&self) -> Timestamp {
        self.published_at
    }

    /// The identifier that its publisher gave it (`Nats-Msg-Id`): the same if it was published twice.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        let headers = self.message.headers.as_ref()?;
        headers
            .get(async_nats::header::NATS_MESSAGE_ID)
            .map(async_nats::HeaderValue::as_str)
    }

    /// Its W3C trace context.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        trace::extract(self.message.headers.as_ref())
    }

    /// Its events, if it is a frame of the ingest stream.
    ///
    /// # Errors
    /// It is none.
    pub fn events(&self) -> Result<Vec<IngestEvent>, Error> {
        codec::decode_events(self.payload())
    }

    /// Its outcomes, if it is a frame of the ontology stream.
    ///
    /// # Errors
    /// It is none.
    pub fn outcomes(&self) -> Result<Vec<EventOutcome>, Error> {
        codec::decode_outcomes(self.payload())
    }

    /// Its body as JSON.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.payload()).map_err(Error::malformed)
    }

    /// Done with. An ack that gets lost makes the message come again.
    ///
    /// # Errors
    /// The ack could not be sent.
    pub async fn ack(mut self) -> Result<(), Error> {
        let Some(acker) = self.acker.take() else {
            return Ok(());
        };
        acker.ack().await.map_err(Error::unavailable)
    }

    /// Still being worked on: starts the wait for the ack anew (10 seconds). To be called every few seconds.
    ///
    /// # Errors
    /// It could not be sent.
    pub async fn in_progress(&self) -> Result<(), Error> {
        let Some(acker) = &self.acker else { return Ok(()) };
        acker
            .ack_with(AckKind::Progress)
            .await
            .map_err(Error::unavailable)
    }

    /// Given back, to come again after `delay`.
    pub fn give_back(mut self, delay: Duration) {
        self.nak(delay);
    }

    fn nak(&mut self, delay: Duration) {
        if let Some(acker) = self.acker.take() {
            // Without a receiver the connection is gone, and the wait for the ack runs out by itself.
            let _ = self.naks.send((acker, delay));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let delay = Duration::from_millis(50_u64 << self.delivered.saturating_sub(1).min(6));
        self.nak(delay);
    }
}

/// Gives dropped deliveries back, for as long as the connection lives.
pub(crate) async fn nak_task(mut queue: mpsc::UnboundedReceiver<(Acker, Duration)>, counter: Arc<AtomicU64>) {
    while let Some((acker, delay)) = queue.recv().await {
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = acker.ack_with(AckKind::Nak(Some(delay))).await {
            tracing::debug!(error = %error, "a delivery could not be given back");
        }
    }
}
