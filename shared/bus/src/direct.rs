//! Reading stored messages without a consumer: by sequence and subject, a page in one round trip (direct get).

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use halcyon_domain::clock::Timestamp;
use serde::Serialize;

use crate::{Bus, Error};

/// Server's word for "nothing more in this batch".
const END_OF_BATCH: u16 = 204;
/// Bytes of a page; the rest comes with the next one.
pub(crate) const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// A message as it is stored.
pub(crate) struct Read {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// Where to begin to read.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// At a sequence.
    Sequence(u64),
    /// At a time.
    Time(Timestamp),
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    next_by_subj: &'a str,
    batch: usize,
    max_bytes: usize,
}

impl Bus {
    /// Up to `limit` messages of a subject filter, oldest first.
    pub(crate) async fn read(
        &self,
        stream: &str,
        filter: &str,
        from: From,
        limit: usize,
    ) -> Result<Vec<Read>, Error> {
        let (seq, start_time) = match from {
            From::Sequence(sequence) => (Some(sequence.max(1)), None),
            From::Time(time) => (
                None,
                Some(time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)),
            ),
        };
        let request = Request {
            seq,
            start_time,
            next_by_subj: filter,
            batch: limit,
            max_bytes: PAGE_BYTES,
        };
        let body = serde_json::to_vec(&request).map_err(Error::malformed)?;
        let inbox = self.client().new_inbox();
        let mut answers = self
            .client()
            .subscribe(inbox.clone())
            .await
            .map_err(Error::unavailable)?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        self.client()
            .publish_with_reply(subject, inbox, body.into())
            .await
            .map_err(Error::unavailable)?;
        let timeout = self.settings().request_timeout.get();
        let mut page = Vec::new();
        while page.len() < limit {
            match next_answer(&mut answers, timeout, stream).await? {
                Some(read) => page.push(read),
                None => break,
            }
        }
        Ok(page)
    }

    /// The last message of one subject.
    pub(crate) async fn read_last(&self, stream: &str, subject: &str) -> Result<Option<Read>, Error> {
        let timeout = self.settings().request_timeout.get();
        let request = async_nats::Request::new().timeout(Some(timeout));
        let answer = self
            .client()
            .send_request(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), request)
            .await;
        let message = answer.map_err(|error| match error.kind() {
            async_nats::client::RequestErrorKind::TimedOut => Error::Timeout(timeout),
            async_nats::client::RequestErrorKind::NoResponders => {
                Error::Unavailable(format!("there is no stream {stream}"))
            }
            _ => Error::unavailable(error),
        })?;
        read(message)
    }
}

async fn next_answer(
    answers: &mut async_nats::Subscriber,
    timeout: Duration,
    stream: &str,
) -> Result<Option<Read>, Error> {
    let message = tokio::time::timeout(timeout, answers.next())
        .await
        .map_err(|_| Error::Timeout(timeout))?;
    let message = message.ok_or_else(|| Error::unavailable("the connection closed"))?;
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Error::Unavailable(format!("there is no stream {stream}")));
    }
    read(message)
}

/// A direct get's answer; nothing where there is no such message or the batch has ended.
fn read(message: Message) -> Result<Option<Read>, Error> {
    if let Some(status) = message.status {
        return match status.as_u16() {
            END_OF_BATCH | 404 => Ok(None),
            200 => parse(message).map(Some),
            code => Err(Error::Refused(format!(
                "{code} {}",
                message.description.unwrap_or_default()
            ))),
        };
    }
    parse(message).map(Some)
}

fn parse(message: Message) -> Result<Read, Error> {
    let headers = message.headers.unwrap_or_default();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let sequence = header("Nats-Sequence").and_then(|text| text.parse().ok());
    let time = header("Nats-Time-Stamp").and_then(|text| text.parse().ok());
    match (sequence, time, header("Nats-Subject")) {
        (Some(sequence), Some(time), Some(subject)) => Ok(Read {
            subject,
            sequence,
            time,
            headers,
            payload: message.payload,
        }),
        _ => Err(Error::Malformed(
            "a stored message without subject, sequence or time".to_owned(),
        )),
    }
}
