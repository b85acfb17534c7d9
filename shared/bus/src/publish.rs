//! Publishing with an ack from JetStream.

use std::time::Duration;

use async_nats::{HeaderMap, client::RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;

use crate::{Bus, Error};

/// Where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its sequence in the stream.
    pub(crate) sequence: u64,
    /// Whether it was there already, by its `Nats-Msg-Id`.
    pub(crate) duplicate: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    /// As of HTTP.
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Error codes of nats-server (`server/errors.json`).
mod code {
    /// The stream could not store it: one of its limits.
    pub(super) const STORE_FAILED: u64 = 10_077;
    /// The account's or server's storage is used up.
    pub(super) const RESOURCES: [u64; 3] = [10_002, 10_023, 10_047];
    /// A message with the same `Nats-Msg-Id` is on its way through a cluster: the one that was sent before, whose ack
    /// did not come in time. It may still come to nothing.
    pub(super) const IN_PROCESS: u64 = 10_158;
    /// The message is larger than the stream's limit.
    pub(super) const MESSAGE_SIZE: u64 = 10_054;
    /// Another message is the last on the subject (the second one: without saying which).
    pub(super) const WRONG_LAST: [u64; 2] = [10_071, 10_164];
}

impl Bus {
    /// Publishes one message and waits for JetStream's ack.
    ///
    /// # Errors
    /// `Timeout` leaves open whether it was stored.
    pub(crate) async fn publish_stored(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Stored, Error> {
        let size = payload.len();
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(Some(timeout));
        let answer = self.client().send_request(subject.clone(), request).await;
        let message = answer.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => Error::Timeout(timeout),
            RequestErrorKind::NoResponders => Error::Unavailable(format!("no stream takes {subject}")),
            RequestErrorKind::MaxPayloadExceeded => Error::TooLarge {
                size,
                limit: self.max_payload(),
            },
            _ => Error::unavailable(error),
        })?;
        // What is no ack says nothing about the message: it is sent again.
        let answer: Answer = serde_json::from_slice(&message.payload).map_err(Error::unavailable)?;
        match answer.error {
            None if answer.seq == 0 => Err(Error::Unavailable(format!("the answer on {subject} is no ack"))),
            None => Ok(Stored {
                sequence: answer.seq,
                duplicate: answer.duplicate,
            }),
            Some(error) => Err(refusal(&subject, size, self.max_payload(), error)),
        }
    }

    /// As [`Self::publish_stored`], sent again with the same headers (and so the same `Nats-Msg-Id`) until it
    /// is acked or `publish_deadline` has passed.
    pub(crate) async fn publish_until_stored(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Stored, Error> {
        let deadline = tokio::time::Instant::now() + self.settings().publish_deadline.get();
        let mut connections = self.connections();
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let wait = self
                .settings()
                .ack_timeout
                .get()
                .min(left)
                .max(Duration::from_millis(1));
            let publish = self.publish_stored(subject.clone(), headers.clone(), payload.clone(), wait);
            let result = tokio::select! {
                result = publish => result,
                // The ack of what was sent over the old connection never comes.
                Ok(()) = connections.changed() => Err(Error::unavailable("the connection broke")),
            };
            let retry = matches!(result, Err(Error::Timeout(_) | Error::Unavailable(_)));
            if !retry || tokio::time::Instant::now() >= deadline {
                return result;
            }
            self.counters()
                .frames_retried
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20).min(left)).await;
        }
    }
}

fn refusal(subject: &str, size: usize, limit: usize, error: ApiError) -> Error {
    let told = || format!("{subject}: {}", error.description);
    match error.err_code {
        code if code::WRONG_LAST.contains(&code) => Error::Conflict,
        code if code == code::STORE_FAILED || code::RESOURCES.contains(&code) => Error::Full(told()),
        code::MESSAGE_SIZE => Error::TooLarge { size, limit },
        code::IN_PROCESS => Error::Unavailable(told()),
        // A stream without a leader, a server that is still starting, and the like.
        _ if error.code == 503 => Error::Unavailable(told()),
        _ => Error::Refused(told()),
    }
}

/// Headers with a `Nats-Msg-Id`, by which the server drops a message that comes twice.
pub(crate) fn with_message_id(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, err_code: u64) -> Error {
        let description = "a reason".to_owned();
        refusal(
            "hc.ingest.1",
            10,
            5,
            ApiError {
                code,
                err_code,
                description,
            },
        )
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        assert!(matches!(told(400, 10_071), Error::Conflict));
        assert!(matches!(told(503, 10_077), Error::Full(_)));
        assert!(matches!(told(503, 10_047), Error::Full(_)));
        assert!(matches!(
            told(400, 10_054),
            Error::TooLarge { size: 10, limit: 5 }
        ));
        // Sent again while the first is under way in the cluster, and a cluster without a leader: both pass.
        assert!(matches!(told(409, 10_158), Error::Unavailable(_)));
        assert!(matches!(told(503, 10_008), Error::Unavailable(_)));
        assert!(matches!(told(400, 10_060), Error::Refused(_)));
    }
}
