//! Outcomes to the ontology stream and dead letters to theirs; done once both are stored.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use halcyon_bus::{Bus, Error, FramePublishers};
use halcyon_domain::{
    clock::Clock,
    error::InputError,
    event::{DeadLetter, EventOutcome, IngestEvent, RecordOutcome, Verdict},
};
use halcyon_infra::telemetry::current_traceparent;

use crate::mapper::Mapped;

/// Dead letters that are under way at a time, of one group of events.
const DEAD_LETTERS: usize = 32;
/// What of a dead letter's payload is kept when the whole does not fit a message.
const KEPT_BYTES: usize = 256 * 1_024;
/// What the dead letters of one event hold in all, about.
const LETTER_BYTES: usize = 4 * 1_024 * 1_024;
/// Room that a message leaves for what is not the record itself.
const MARGIN: usize = 16 * 1_024;

/// Where outcomes go.
pub(crate) struct Sink {
    bus: Bus,
    clock: Arc<dyn Clock>,
    outcomes: FramePublishers<EventOutcome>,
}

impl Sink {
    pub(crate) fn new(bus: &Bus, clock: Arc<dyn Clock>) -> Self {
        Self {
            bus: bus.clone(),
            clock,
            outcomes: bus.outcome_publishers(),
        }
    }

    /// Publishes what events became, and waits until all of it is stored. A record that does not fit a message
    /// becomes a dead letter. Returns what could not be published: the event's place in `mapped`, and why.
    pub(crate) async fn deliver(&self, partition: u16, mapped: &mut [Mapped]) -> Vec<(usize, Error)> {
        let dead: Vec<(usize, DeadLetter)> = mapped
            .iter()
            .enumerate()
            .flat_map(|(place, mapped)| self.dead_letters(place, mapped))
            .collect();
        let dead = stream::iter(dead)
            .map(|(place, letter)| async move { (place, self.publish_dead_letter(letter).await) })
            .buffer_unordered(DEAD_LETTERS);
        let dead: Vec<(usize, Result<(), Error>)> = dead.collect().await;
        let submit = mapped.iter_mut().map(|mapped| self.submit(partition, mapped));
        let submitted = join_all(submit).await;
        let results = dead.into_iter().chain(submitted.into_iter().enumerate());
        results
            .filter_map(|(place, result)| Some((place, result.err()?)))
            .collect()
    }

    async fn submit(&self, partition: u16, mapped: &mut Mapped) -> Result<(), Error> {
        let trace = current_traceparent();
        match self
            .outcomes
            .submit(partition, &mapped.outcome, trace.as_deref())
            .await
        {
            Err(Error::TooLarge { limit, .. }) => self.without_large_records(partition, mapped, limit).await,
            result => result,
        }
    }

    /// The dead letters of an event. Each holds the event's bytes, unless that would multiply a large event that
    /// many records of fail: then the first ones do.
    fn dead_letters(&self, place: usize, mapped: &Mapped) -> impl Iterator<Item = (usize, DeadLetter)> {
        let failed_at = self.clock.now();
        let size = mapped.event.payload.len();
        let failed = mapped
            .outcome
            .records
            .iter()
            .filter(|record| record.failure.is_some());
        failed.enumerate().filter_map(move |(nth, record)| {
            let mut failure = record.failure.clone()?;
            let mut event = mapped.event.clone();
            let mut complete = true;
            if nth > 0 && nth.saturating_mul(size) > LETTER_BYTES {
                event.payload = Bytes::new();
                complete = false;
                failure
                    .detail
                    .push_str(" (the event's bytes are kept with its first dead letter)");
            }
            let version = mapped.outcome.version;
            Some((
                place,
                DeadLetter {
                    event,
                    index: record.index,
                    version,
                    failure,
                    failed_at,
                    complete,
                },
            ))
        })
    }

    async fn publish_dead_letter(&self, mut letter: DeadLetter) -> Result<(), Error> {
        match self.bus.publish_dead_letter(&letter).await {
            Err(Error::TooLarge { .. }) => {}
            result => return result,
        }
        let length = letter.event.payload.len();
        letter.event.payload.truncate(KEPT_BYTES);
        letter.complete = false;
        letter
            .failure
            .detail
            .push_str(&format!(" (of {length} bytes the first {KEPT_BYTES} are kept)"));
        match self.bus.publish_dead_letter(&letter).await {
            Err(Error::TooLarge { .. }) => {}
            result => return result,
        }
        // What is left that has no bound of its own.
        letter.event.headers.clear();
        let detail = &mut letter.failure.detail;
        detail.truncate(detail.floor_char_boundary(KEPT_BYTES));
        detail.push_str(" (the headers are too large and are left out)");
        self.bus.publish_dead_letter(&letter).await
    }

    /// Turns the records that do not fit a message into dead letters, and publishes the rest.
    async fn without_large_records(
        &self,
        partition: u16,
        mapped: &mut Mapped,
        limit: usize,
    ) -> Result<(), Error> {
        let limit = limit.saturating_sub(MARGIN);
        for record in &mut mapped.outcome.records {
            if !is_too_large(record, limit) {
                continue;
            }
            let detail = format!("the record's objects are larger than a message of {limit} bytes");
            let failure = InputError::new("/outputs", "record_too_large", detail);
            let letter = DeadLetter {
                event: mapped.event.clone(),
                index: record.index,
                version: mapped.outcome.version,
                failure: failure.clone(),
                failed_at: self.clock.now(),
                complete: true,
            };
            self.publish_dead_letter(letter).await?;
            let index = record.index;
            *record = RecordOutcome {
                index,
                verdict: Verdict::DeadLettered,
                objects: Vec::new(),
                failure: Some(failure),
            };
        }
        let trace = current_traceparent();
        self.outcomes
            .submit(partition, &mapped.outcome, trace.as_deref())
            .await
    }

    /// Parks an event and waits until that is durable.
    pub(crate) async fn park(&self, partition: u16, event: &IngestEvent) -> Result<(), Error> {
        self.bus.park(partition, event).await
    }
}

fn is_too_large(record: &RecordOutcome, limit: usize) -> bool {
    serde_json::to_vec(record).is_ok_and(|bytes| bytes.len() > limit)
}

/// Whether the event, not the bus, is at fault: trying again will not help.
pub(crate) const fn is_permanent(error: &Error) -> bool {
    matches!(error, Error::TooLarge { .. } | Error::Malformed(_))
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{clock::SystemClock, id::DatasourceId};

    use super::*;
    use crate::{
        mapper::dead,
        tests::{Rig, event},
    };

    #[tokio::test]
    async fn a_dead_letter_with_huge_headers_is_stored_without_them() {
        let rig = Rig::new().await;
        let sink = Sink::new(&rig.bus, Arc::new(SystemClock));
        let mut huge = event(DatasourceId::generate(), "huge", "{}");
        let value = "v".repeat(rig.bus.max_payload());
        huge.headers.insert("subject".to_owned(), value);
        let (organization, datasource) = (huge.organization, huge.datasource);
        let failed = dead(huge, 1, InputError::new("", "invalid", "no good"));
        assert!(sink.deliver(0, &mut [failed]).await.is_empty());
        let letters = rig
            .bus
            .dead_letters(organization, datasource, 0, 10)
            .await
            .unwrap();
        let [stored] = &letters[..] else {
            panic!("{}", letters.len())
        };
        assert!(stored.dead_letter.event.headers.is_empty());
        assert!(!stored.dead_letter.complete);
        assert_eq!(&stored.dead_letter.event.payload[..], b"{}");
    }
}
