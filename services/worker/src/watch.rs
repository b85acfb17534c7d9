//! What happens when a datasource's records are not what its version expects.

use std::sync::Arc;

use halcyon_domain::{
    assignment::LogLevel,
    event::IngestEvent,
    lifecycle::{Reason, RuntimeStatus},
    shape::Drift,
};

use crate::{
    board::Board,
    feed::{Feed, FeedState, Version},
};

/// A new generation of the version that has stopped for its records was asked for by somebody who knows of it: what
/// was seen is expected from now on.
pub(crate) fn accept(feed: &Feed, before: &FeedState, after: &FeedState) {
    let number = |state: &FeedState| state.version.as_ref().map(|version| version.number);
    if before.reason == Reason::SchemaDrift
        && after.generation > before.generation
        && number(before) == number(after)
    {
        feed.drifts.accept();
    }
}

impl Board {
    /// Looks at events before they are mapped. Where the policy is to stop, the datasource stops at the first event that
    /// differs: that and all behind it are taken out of `events` and given back.
    pub(crate) fn watch(
        &self,
        feed: &Feed,
        version: &Arc<Version>,
        events: &mut Vec<IngestEvent>,
    ) -> Vec<IngestEvent> {
        let Some(watch) = &version.watch else {
            return Vec::new();
        };
        if !watch.stops() {
            feed.drifts.look(version.number, watch, events.iter());
            return Vec::new();
        }
        match feed.drifts.first(version.number, watch, events.iter()) {
            None => Vec::new(),
            Some((place, drift)) => {
                self.stop_for(feed, version, &drift);
                events.split_off(place)
            }
        }
    }

    fn stop_for(&self, feed: &Feed, version: &Arc<Version>, drift: &Drift) {
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
            changed = runs && state.reason != Reason::SchemaDrift;
            if runs {
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
