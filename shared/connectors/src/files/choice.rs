//! Which files of a listing a run reads.

use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use halcyon_domain::clock::{Clock, Timestamp};
use regex::Regex;

use super::{
    Chosen, Object, Pattern,
    config::OnChange,
    position::{Place, Position},
    window::Window,
};
use crate::TimeRange;

/// Whether a name is one that is read.
pub(crate) fn is_named(names: &Pattern, below: &str) -> bool {
    // What ends in a slash stands for a folder.
    !below.ends_with('/') && names.fits(below)
}

/// What to do about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Read it from this row on.
    Read(u64),
    /// It was read before, and must stay remembered.
    Known,
    /// Nothing.
    Pass,
}

/// What decides over the files of one run.
pub(crate) struct Choice {
    glob: Pattern,
    date: Option<Regex>,
    chosen: Chosen,
    range: Option<TimeRange>,
    clock: Arc<dyn Clock>,
    horizon: Option<i64>,
    before: Window,
    place: Option<Place>,
}

impl Choice {
    pub(crate) fn new(
        chosen: &Chosen,
        glob: Pattern,
        range: Option<TimeRange>,
        clock: Arc<dyn Clock>,
        position: &Position,
    ) -> Self {
        Self {
            glob,
            date: chosen.date(),
            chosen: chosen.clone(),
            range,
            clock,
            horizon: position.horizon.max(chosen.not_before()),
            before: position.before.clone(),
            place: position.run.as_ref().and_then(|run| run.object.clone()),
        }
    }

    /// What to do about a file.
    pub(crate) fn judge(&self, object: &Object, below: &str) -> Verdict {
        if !is_named(&self.glob, below) {
            return Verdict::Pass;
        }
        if let Some(place) = self.place.as_ref().filter(|place| place.key == object.key) {
            return Verdict::Read(if place.etag == object.etag { place.rows } else { 0 });
        }
        if let Some(range) = self.range {
            let (from, to) = self.span(object, below);
            return if from < range.to && to > range.from {
                Verdict::Read(0)
            } else {
                Verdict::Pass
            };
        }
        let modified = object.modified.timestamp();
        let old_enough = self
            .clock
            .now()
            .timestamp()
            .saturating_sub(self.chosen.min_age_seconds);
        let too_young = self.chosen.min_age_seconds > 0 && modified > old_enough;
        if too_young || self.horizon.is_some_and(|horizon| modified < horizon) {
            return Verdict::Pass;
        }
        match self.before.find(&object.key) {
            Some(known) if self.chosen.on_change == OnChange::Ignore || known.same(object) => Verdict::Known,
            _ => Verdict::Read(0),
        }
    }

    /// Of which time a file is, for a backfill: of the day or hour in its name, or of the moment when it was written.
    fn span(&self, object: &Object, below: &str) -> (Timestamp, Timestamp) {
        let written = (object.modified, object.modified + TimeDelta::microseconds(1));
        self.date
            .as_ref()
            .and_then(|date| named_span(date, below))
            .unwrap_or(written)
    }
}

fn named_span(date: &Regex, below: &str) -> Option<(Timestamp, Timestamp)> {
    let found = date.captures(below)?;
    let part = |name: &str| found.name(name)?.as_str().parse::<u32>().ok();
    let year = i32::try_from(part("year")?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, part("month")?, part("day")?)?;
    let (hour, length) = match part("hour") {
        Some(hour) => (hour, TimeDelta::hours(1)),
        None => (0, TimeDelta::days(1)),
    };
    let from = day.and_hms_opt(hour, 0, 0)?.and_utc();
    Some((from, from + length))
}
