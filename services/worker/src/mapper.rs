//! Mapping events off the async threads: bounded in number and time, and a mapping that panics hurts only its event.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use halcyon_bus::Error;
use halcyon_domain::{
    error::InputError,
    event::{EventOutcome, IngestEvent, RecordOutcome},
};
use halcyon_mapping::{CompiledMapping, EventResult, MappingContext, Outcome, ScriptMapping};
use halcyon_sandbox::{Mapping, Pool, Script};

use crate::{
    board::Board,
    feed::{Feed, Tally, Version},
};

/// An event and what it became.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    pub(crate) event: IngestEvent,
    pub(crate) outcome: EventOutcome,
}

/// What became of a group of events.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) mapped: Vec<Mapped>,
    /// Those there was no time for.
    pub(crate) rest: Vec<IngestEvent>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Board {
    /// Maps a group of one datasource's events with one version. Events that are not begun after `slice` are
    /// handed back; at least one is mapped.
    ///
    /// # Errors
    /// The process is ending, or no process for a script could be had: nothing is known of the events.
    pub(crate) async fn map(
        &self,
        feed: &Feed,
        version: &Arc<Version>,
        events: Vec<IngestEvent>,
        slice: Duration,
    ) -> Result<Batch, Error> {
        if events.is_empty() {
            return Ok(Batch::default());
        }
        // Neither semaphore is ever closed.
        let _share = feed.share.acquire().await.ok();
        let _processor = self.processors.acquire().await.ok();
        let (version, scripts) = (version.clone(), self.scripts.clone());
        let job = tokio::task::spawn_blocking(move || {
            let batch = match &version.mapping {
                Mapping::Outputs(mapping) => map_all(mapping, version.number, events, slice),
                Mapping::Script(mapping, script) => {
                    map_by_script(scripts.as_ref(), (mapping, script), version.number, events, slice)?
                }
            };
            Ok(confined(&version, batch))
        });
        // Panics are caught for each event; what is left is a runtime that ends.
        job.await
            .map_err(|error| Error::Unavailable(format!("the mapping was cut off: {error}")))?
    }
}

impl Board {
    /// As [`Board::watch`] and [`Board::map`], in a process of the events' own: the processes that had them before have
    /// died. However long it takes; handed back is what is behind an event that differs where the policy is to stop,
    /// and of a script's events those there is no memory for. All before it is mapped, or nothing is known of it.
    ///
    /// # Errors
    /// No process can be started, or it was asked to end.
    pub(crate) async fn map_apart(
        &self,
        feed: &Feed,
        version: &Arc<Version>,
        events: Vec<IngestEvent>,
    ) -> Result<Batch, Error> {
        // A script is never in this process.
        let here = events.is_empty() || version.mapping.script().is_some();
        let Some(apart) = self.apart.as_ref().filter(|_| !here) else {
            let watched = self.watch(feed, version, events, Duration::MAX).await?;
            let mut batch = self.map(feed, version, watched.events, Duration::MAX).await?;
            batch.rest.extend(watched.held);
            return Ok(batch);
        };
        let _share = feed.share.acquire().await.ok();
        let _processor = self.processors.acquire().await.ok();
        let (batch, drift) = apart.map(version, events, &feed.drifts).await?;
        if let Some(drift) = drift {
            self.stop_for(feed, version, &drift);
        }
        Ok(confined(version, batch))
    }
}

/// Leaves of replayed events what their replay asked for.
fn confined(version: &Version, mut batch: Batch) -> Batch {
    let replayed = batch
        .mapped
        .iter_mut()
        .filter(|mapped| mapped.event.replay.is_some());
    for Mapped { event, outcome } in replayed {
        if let Some(replay) = &event.replay {
            outcome.confine(replay, &version.config.mapping.cut());
        }
    }
    batch
}

fn map_all(mapping: &CompiledMapping, version: u32, events: Vec<IngestEvent>, slice: Duration) -> Batch {
    let started = Instant::now();
    let mut batch = Batch {
        mapped: Vec::with_capacity(events.len()),
        ..Batch::default()
    };
    let mut events = events.into_iter();
    for event in events.by_ref() {
        batch.mapped.push(map_one(mapping, version, event));
        if started.elapsed() >= slice {
            break;
        }
    }
    batch.rest = events.collect();
    batch.took = started.elapsed();
    batch
}

/// Maps events by a script. Those that it had no time for are handed back.
fn map_by_script(
    scripts: Option<&Pool>,
    (mapping, script): (&ScriptMapping, &Script),
    version: u32,
    mut events: Vec<IngestEvent>,
    slice: Duration,
) -> Result<Batch, Error> {
    let started = Instant::now();
    let Some(scripts) = scripts else {
        return Err(Error::Unavailable("scripts cannot be run here".to_owned()));
    };
    let inputs = events
        .iter()
        .map(|event| (&event.payload[..], MappingContext::from(event)));
    let mapped = scripts.map(script, mapping, inputs, started.checked_add(slice));
    let results = mapped
        .map_err(|error| Error::Unavailable(error.to_string()))?
        .results;
    let rest = events.split_off(results.len());
    let mapped = events.into_iter().zip(results).map(|(event, result)| {
        let outcome = outcome_of(&event, version, result);
        Mapped { event, outcome }
    });
    Ok(Batch {
        mapped: mapped.collect(),
        rest,
        took: started.elapsed(),
    })
}

/// Maps one event. A panic is a dead letter.
pub(crate) fn map_one(mapping: &CompiledMapping, version: u32, event: IngestEvent) -> Mapped {
    let result = caught(|| mapping.map(&event.payload, &MappingContext::from(&event)));
    let outcome = outcome_of(&event, version, result);
    Mapped { event, outcome }
}

/// What an event became; a dead letter if that panicked.
fn caught(map: impl FnOnce() -> EventResult) -> EventResult {
    // The mapping is not changed by being used, so nothing half done can be seen after a panic.
    catch_unwind(AssertUnwindSafe(map)).unwrap_or_else(|_| {
        let detail = "the mapping failed in a way that it must not; this is a fault of the system";
        EventResult::dead_lettered(InputError::new("", "mapping_panicked", detail))
    })
}

fn outcome_of(event: &IngestEvent, version: u32, result: EventResult) -> EventOutcome {
    let record = |record: halcyon_mapping::RecordResult| {
        let verdict = record.outcome.verdict();
        let (objects, failure) = match record.outcome {
            Outcome::Delivered(objects) => (objects, None),
            Outcome::Filtered => (Vec::new(), None),
            Outcome::DeadLettered(failure) => (Vec::new(), Some(failure)),
        };
        RecordOutcome {
            index: record.index,
            verdict,
            objects,
            failure,
        }
    };
    EventOutcome {
        event: event.id.clone(),
        organization: event.organization,
        datasource: event.datasource,
        version,
        attempt: event.attempt,
        received_at: event.received_at,
        replay: event.replay.as_ref().map(|replay| replay.mark.clone()),
        records: result.records.into_iter().map(record).collect(),
    }
}

/// An event that is dead-lettered without being mapped.
pub(crate) fn dead(event: IngestEvent, version: u32, failure: InputError) -> Mapped {
    let outcome = outcome_of(&event, version, EventResult::dead_lettered(failure));
    Mapped { event, outcome }
}

/// What mapped events count.
pub(crate) fn tally(mapped: &[Mapped], took: Duration) -> Tally {
    let mut tally = Tally {
        events: mapped.len() as u64,
        mapping: took,
        ..Tally::default()
    };
    for Mapped { event, outcome } in mapped {
        tally.bytes += event.payload.len() as u64;
        tally.newest = tally.newest.max(Some(event.received_at));
        for record in &outcome.records {
            tally.count(record.verdict);
            tally.objects += record.objects.len() as u64;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{event::Verdict, id::DatasourceId};

    use super::*;
    use crate::tests::{event, version};

    #[test]
    fn a_panic_is_a_dead_letter_and_the_next_event_is_mapped() {
        let panicked = caught(|| panic!("a fault"));
        let event = event(DatasourceId::generate(), "one", "{\"id\": 1}");
        let outcome = outcome_of(&event, 4, panicked);
        let [record] = &outcome.records[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!(record.verdict, Verdict::DeadLettered);
        assert_eq!(record.failure.as_ref().unwrap().code, "mapping_panicked");
        let compiled =
            Version::compile(&version(4, "t"), "http_webhook", DatasourceId::generate(), None).unwrap();
        let Mapping::Outputs(mapping) = &compiled.mapping else {
            panic!("{compiled:?}")
        };
        let mapped = map_one(mapping, 4, event);
        assert_eq!(mapped.outcome.records[0].verdict, Verdict::Delivered);
    }

    #[test]
    fn what_there_is_no_time_for_is_handed_back_in_its_order() {
        let compiled =
            Version::compile(&version(4, "t"), "http_webhook", DatasourceId::generate(), None).unwrap();
        let datasource = DatasourceId::generate();
        let events = ["1", "2", "3"].map(|id| event(datasource, id, "{\"id\": 1}"));
        let Mapping::Outputs(mapping) = &compiled.mapping else {
            panic!("{compiled:?}")
        };
        let batch = map_all(mapping, 4, events.to_vec(), Duration::ZERO);
        assert_eq!(batch.mapped.len(), 1, "at least one, or it would never end");
        let rest: Vec<_> = batch.rest.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(rest, ["2", "3"]);
    }
}
