//! Events of dead letters that are processed anew: a lane of their own, in frames of one datasource each, so that live
//! events neither wait for them nor stand in their way.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use halcyon_domain::{event::IngestEvent, id::DatasourceId};
use uuid::Uuid;

use crate::{
    Bus, Error,
    codec::{self, BATCH_CONTENT_TYPE},
    direct,
    publish::with_message_id,
    subjects::{Stream, Subject},
    trace,
};

/// Events of one frame, and their bytes, at most; a larger event has a frame of its own.
const FRAME_EVENTS: usize = 64;
const FRAME_BYTES: usize = 512 * 1_024;

/// A frame of events to process anew.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayFrame {
    /// Its place in the stream.
    pub sequence: u64,
    /// The events.
    pub events: Vec<IngestEvent>,
    /// The W3C trace context of the request that asked for it.
    pub traceparent: Option<String>,
}

/// Not all of the events were sent.
#[derive(Debug, thiserror::Error)]
#[error("a replay broke off")]
pub struct ReplayBrokeOff {
    /// How many of them, from the first on, are on their way or may be: those behind them are surely not.
    pub reached: usize,
    /// Why.
    #[source]
    pub error: Error,
}

/// Hints that a partition has events to process anew. They may get lost: look from time to time.
pub struct ReplayPokes {
    pokes: async_nats::Subscriber,
}

impl ReplayPokes {
    /// Waits for the next hint.
    pub async fn next(&mut self) {
        if self.pokes.next().await.is_none() {
            // The connection was closed for good: there will be no more.
            std::future::pending::<()>().await;
        }
    }
}

impl Bus {
    /// Sends a datasource's events on their way through a partition's lane of replays; done when all are stored.
    ///
    /// # Errors
    /// `Full` when the datasource's quota is used up; and how many events are on their way all the same.
    pub async fn replay(
        &self,
        partition: u16,
        datasource: DatasourceId,
        events: &[IngestEvent],
        traceparent: Option<&str>,
    ) -> Result<(), ReplayBrokeOff> {
        let subject = Subject::Replay(partition, datasource).to_string();
        let limit = self.max_payload();
        let mut items: VecDeque<Bytes> = events.iter().map(codec::encode_event).collect();
        if let Some(large) = items.iter().find(|item| item.len() + 1_024 > limit) {
            let size = large.len();
            let error = Error::TooLarge { size, limit };
            return Err(ReplayBrokeOff { reached: 0, error });
        }
        let mut stored = 0;
        while !items.is_empty() {
            let (mut frame, mut bytes) = (Vec::new(), 0);
            while let Some(item) = items.front() {
                if !frame.is_empty() && (frame.len() >= FRAME_EVENTS || bytes + item.len() > FRAME_BYTES) {
                    break;
                }
                bytes += item.len() + 1;
                frame.extend(items.pop_front());
            }
            let mut headers = with_message_id(&Uuid::now_v7().to_string());
            headers.insert("Content-Type", BATCH_CONTENT_TYPE);
            trace::inject(&mut headers, traceparent);
            let payload = codec::frame(frame.iter(), bytes);
            let published = self.publish_until_stored(subject.clone(), headers, payload).await;
            if let Err(error) = published {
                // What nobody answered to may have been stored.
                let in_doubt = matches!(error, Error::Timeout(_) | Error::Unavailable(_));
                let reached = stored + if in_doubt { frame.len() } else { 0 };
                return Err(ReplayBrokeOff { reached, error });
            }
            stored += frame.len();
        }
        let poke = Subject::ReplayPoke(partition).to_string();
        if let Err(error) = self.client().publish(poke, Bytes::new()).await {
            tracing::debug!(error = %error, "a partition could not be told of a replay");
        }
        Ok(())
    }

    /// The hints that a partition has events to process anew.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn replay_pokes(&self, partition: u16) -> Result<ReplayPokes, Error> {
        let pokes = self
            .client()
            .subscribe(Subject::ReplayPoke(partition).to_string())
            .await;
        Ok(ReplayPokes {
            pokes: pokes.map_err(Error::unavailable)?,
        })
    }

    /// The datasources that have events to process anew on a partition.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn replaying(&self, partition: u16) -> Result<Vec<DatasourceId>, Error> {
        let filter = format!("hc.replay.{partition}.*");
        let counts = self.subject_counts(Stream::Replay.as_str(), &filter).await?;
        let waiting = counts.into_iter().filter(|(_, count)| *count > 0);
        Ok(waiting
            .filter_map(|(subject, _)| subject.rsplit('.').next()?.parse().ok())
            .collect())
    }

    /// The oldest frame of a datasource on a partition, from a sequence on.
    ///
    /// # Errors
    /// The bus cannot be reached, or the frame cannot be read.
    pub async fn next_replay(
        &self,
        partition: u16,
        datasource: DatasourceId,
        from: u64,
    ) -> Result<Option<ReplayFrame>, Error> {
        let subject = Subject::Replay(partition, datasource).to_string();
        let from = direct::From::Sequence(from);
        let page = self.read(Stream::Replay.as_str(), &subject, from, 1).await?;
        let frame = page.into_iter().next().map(|read| {
            Ok(ReplayFrame {
                sequence: read.sequence,
                events: codec::decode_events(&read.payload)?,
                traceparent: trace::extract(Some(&read.headers)),
            })
        });
        frame.transpose()
    }

    /// Removes a datasource's frames up to and with `sequence`, once what they became is durable.
    ///
    /// # Errors
    /// The bus cannot be reached; they may be removed all the same.
    pub async fn replayed_through(
        &self,
        partition: u16,
        datasource: DatasourceId,
        sequence: u64,
    ) -> Result<(), Error> {
        let subject = Subject::Replay(partition, datasource).to_string();
        self.purge_below(Stream::Replay, &subject, sequence + 1)
            .await
            .map(|_| ())
    }
}
