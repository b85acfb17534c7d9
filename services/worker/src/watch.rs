//! What happens when a datasource's records are not what its version expects.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halcyon_bus::Error;
use halcyon_domain::{
    assignment::LogLevel,
    event::IngestEvent,
    lifecycle::{Reason, RuntimeStatus},
    shape::Drift,
};

use crate::{
    board::Board,
    feed::{Drifts, Feed, FeedState, Version},
};

/// Somebody who knows of it has accepted what records have come to be like: what was seen is expected from now on.
pub(crate) fn accept(feed: &Feed, before: &FeedState, after: &FeedState) {
    let number = |state: &FeedState| state.version.as_ref().map(|version| version.number);
    if let Some(version) = number(after)
        && after.accepted > before.accepted
        && number(before) == Some(version)
    {
        feed.drifts.accept(version);
    }
}

/// Events that were looked at before they are mapped.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Those that may go on.
    pub(crate) events: Vec<IngestEvent>,
    /// Those behind them that may not: the first differs, or there was no time for it.
    pub(crate) held: Vec<IngestEvent>,
    /// Whether the first that is held differs; the datasource has stopped then.
    pub(crate) differs: bool,
}

impl Watched {
    /// Events that nobody has looked at.
    pub(crate) fn unseen(events: Vec<IngestEvent>) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }
}

impl Board {
    /// Looks at events before they are mapped, for about `slice` and at one at least. Where the policy is to stop, the
    /// datasource stops at the first event that differs. As mapping it, this takes a thread that may block.
    ///
    /// # Errors
    /// The process is ending: nothing is known of the events.
    pub(crate) async fn watch(
        &self,
        feed: &Feed,
        version: &Arc<Version>,
        events: Vec<IngestEvent>,
        slice: Duration,
    ) -> Result<Watched, Error> {
        let Some(watch) = &version.watch else {
            return Ok(Watched::unseen(events));
        };
        let most = feed.drifts.time_for(version.number, watch, events.len());
        if most == 0 {
            return Ok(Watched::unseen(events));
        }
        let stops = watch.stops();
        // Neither semaphore is ever closed.
        let _share = feed.share.acquire().await.ok();
        let _processor = self.processors.acquire().await.ok();
        let (of, drifts) = (version.clone(), feed.drifts.clone());
        let job = tokio::task::spawn_blocking(move || {
            let (looked, first) = look(&of, &drifts, &events, most, slice);
            (events, looked, first)
        });
        let (mut events, looked, first) = job
            .await
            .map_err(|error| Error::Unavailable(format!("the look at events was cut off: {error}")))?;
        let first = first.filter(|_| stops);
        if let Some((_, drift)) = &first {
            self.stop_for(feed, version, drift);
        }
        let held = match &first {
            Some((place, _)) => events.split_off(*place),
            None if stops => events.split_off(looked),
            None => Vec::new(),
        };
        Ok(Watched {
            events,
            held,
            differs: first.is_some(),
        })
    }

    /// Stops a datasource before a record that differs, unless that was accepted while it was found.
    pub(crate) fn stop_for(&self, feed: &Feed, version: &Arc<Version>, drift: &Drift) {
        let message = format!(
            "version {} stops because {}: publish what is expected now, or accept it",
            version.number, drift
        );
        let mut changed = false;
        feed.change(|state| {
            // Another version may have taken its place meanwhile.
            let runs = state
                .version
                .as_ref()
                .is_some_and(|running| running.number == version.number);
            let stops = runs && !feed.drifts.is_accepted(version.number, drift);
            changed = stops && state.reason != Reason::SchemaDrift;
            if stops {
                state.status = RuntimeStatus::Error;
                state.reason = Reason::SchemaDrift;
                state.message = Some(message.clone());
            }
        });
        if changed {
            let place = (feed.organization, feed.id);
            self.logs.say(place, LogLevel::Error, "schema", message, None);
            self.changed();
        }
    }
}

/// Looks at up to `most` events, and ends after `slice`: how many were looked at, and the place of the first that
/// differs in a way that nobody has accepted. Those behind it are looked at, too, so that whoever accepts what was seen
/// need not do so again for the next event.
fn look(
    version: &Version,
    drifts: &Drifts,
    events: &[IngestEvent],
    most: usize,
    slice: Duration,
) -> (usize, Option<(usize, Drift)>) {
    let started = Instant::now();
    let (mut looked, mut first) = (0, None);
    let Some(watch) = &version.watch else {
        return (events.len(), None);
    };
    for event in events.iter().take(most) {
        // The differences are locked while they are counted, not while the event is read.
        let found = drifts.add(version.number, watch.look(event));
        first = first.or_else(|| Some((looked, found?)));
        looked += 1;
        if started.elapsed() >= slice {
            break;
        }
    }
    (looked, first)
}

#[cfg(test)]
mod tests {
    use halcyon_domain::id::DatasourceId;
    use serde_json::json;

    use super::*;
    use crate::tests::{event, version};

    #[test]
    fn a_look_takes_no_longer_than_its_slice_and_one_event() {
        let datasource = DatasourceId::generate();
        let mut expecting = version(1, "t");
        expecting.config["schema"] = json!({"drift": "stop", "expected": {"required": ["id"]}});
        let version = Version::compile(&expecting, "http_webhook", datasource, None).unwrap();
        let events = [r#"{"id": 1}"#, r#"{"x": 1}"#, r#"{"y": 1}"#].map(|body| event(datasource, "e", body));
        let drifts = Drifts::default();
        assert_eq!(look(&version, &drifts, &events, 3, Duration::ZERO), (1, None));
        let (looked, first) = look(&version, &drifts, &events, 3, Duration::MAX);
        assert_eq!((looked, first.unwrap().0), (3, 1));
        assert_eq!(look(&version, &drifts, &events, 1, Duration::MAX), (1, None));
    }
}
