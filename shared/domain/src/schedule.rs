//! When a source is fetched: at an interval, or at the times of a cron expression. Pure: nothing here asks for the
//! time.

use std::{collections::VecDeque, time::Duration};

use chrono::{TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp, duration::HumanDuration, error::InputError, id::DatasourceId, lifecycle::states,
};

/// The shortest and the longest interval.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
/// The largest jitter of a cron expression.
const MAX_JITTER: Duration = Duration::from_secs(3_600);
/// The most runs that are made up for.
pub const MAX_CATCH_UP: usize = 100;
/// A run that begins so much after its time is not late.
pub const ON_TIME: TimeDelta = TimeDelta::seconds(10);
/// The most times of a cron expression that are counted one by one.
const MAX_COUNTED: usize = 12_000;
/// Beyond that only the times of so long ago are looked at: each minute of it can be counted.
const WEEK: TimeDelta = TimeDelta::days(7);

states! {
    /// What becomes of runs whose time has passed, because no worker was there or the run before took longer.
    CatchUp {
        /// Nothing: the next run is at its own time.
        Skip = "skip",
        /// One run is made for all of them, at once.
        Once = "once",
        /// A run is made for each of them, one after the other; at most the last hundred.
        All = "all",
    }
}

impl CatchUp {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro that writes the type derives no default"
)]
impl Default for CatchUp {
    fn default() -> Self {
        Self::Once
    }
}

/// When to fetch: exactly one of `every` and `cron`. Without a schedule a source is fetched every minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// At a fixed interval, from 1 second to 366 days. The times are its multiples since 1970-01-01 00:00 UTC: those
    /// of `15m` are at :00, :15, :30 and :45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// At the times of an expression of five fields: minute, hour, day of month, month, day of week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The IANA time zone of `cron`, such as `Europe/Berlin`; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// All times are moved by one delay below this, which is the datasource's own: many with one schedule do not begin
    /// together. At most the interval, or 1 hour with `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<HumanDuration>,
    /// What becomes of runs whose time has passed.
    #[serde(skip_serializing_if = "CatchUp::is_default")]
    pub catch_up: CatchUp,
}

impl Schedule {
    /// The schedule of a source that has none: every minute, each at a second of its own.
    #[must_use]
    pub fn default_of_sources() -> Self {
        let minute = Some(HumanDuration::from_secs(60));
        Self {
            every: minute,
            jitter: minute,
            ..Self::default()
        }
    }

    /// Whether it can be kept.
    ///
    /// # Errors
    /// The first field that does not fit; its pointer is relative to the schedule.
    pub fn check(&self) -> Result<(), InputError> {
        self.timetable(DatasourceId(uuid::Uuid::nil())).map(drop)
    }

    /// The times at which a datasource is fetched.
    ///
    /// # Errors
    /// The first field that does not fit; its pointer is relative to the schedule.
    pub fn timetable(&self, datasource: DatasourceId) -> Result<Timetable, InputError> {
        let (when, most) = match (&self.every, &self.cron) {
            (Some(every), None) => (self.interval(every.get())?, every.get()),
            (None, Some(cron)) => (self.expression(cron)?, MAX_JITTER),
            _ => {
                let detail = "a schedule has exactly one of `every` and `cron`";
                return Err(InputError::new("", "invalid", detail));
            }
        };
        let jitter = self.jitter.unwrap_or_default().get();
        if jitter > most {
            let detail = format!("the jitter is at most {}", HumanDuration(most));
            return Err(InputError::new("/jitter", "out_of_range", detail));
        }
        Ok(Timetable {
            when,
            delay: delay(datasource, jitter),
            catch_up: self.catch_up,
        })
    }

    fn interval(&self, every: Duration) -> Result<When, InputError> {
        if every < EVERY.0 || every > EVERY.1 {
            let detail = "an interval is between 1 second and 366 days";
            return Err(InputError::new("/every", "out_of_range", detail));
        }
        if self.timezone.is_some() {
            let detail = "a time zone is for `cron`; an interval is the same everywhere";
            return Err(InputError::new("/timezone", "invalid", detail));
        }
        let micros = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        Ok(When::Every(micros))
    }

    fn expression(&self, cron: &str) -> Result<When, InputError> {
        let invalid = |detail: String| InputError::new("/cron", "invalid", detail);
        if cron.split_whitespace().count() != 5 {
            let detail = "five fields are needed: minute, hour, day of month, month, day of week";
            return Err(invalid(detail.to_owned()));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let parsed = parser.parse(cron);
        let parsed = parsed.map_err(|error| invalid(format!("it cannot be read: {error}")))?;
        let zone = self.timezone.as_deref().unwrap_or("UTC");
        let zone: Tz = zone.parse().map_err(|_| {
            let detail = format!("`{zone}` is no IANA time zone such as `Europe/Berlin`");
            InputError::new("/timezone", "unknown_value", detail)
        })?;
        let when = When::Cron(Box::new(parsed), zone);
        // Any leap year's day comes within eight years.
        if when.next(Timestamp::UNIX_EPOCH).is_none() {
            return Err(invalid("it names a time that never comes".to_owned()));
        }
        Ok(when)
    }
}

/// A datasource's own delay: the same wherever it is computed, below `jitter`.
fn delay(datasource: DatasourceId, jitter: Duration) -> TimeDelta {
    let micros = datasource.0.as_u128().checked_rem(jitter.as_micros());
    TimeDelta::microseconds(
        micros
            .and_then(|micros| i64::try_from(micros).ok())
            .unwrap_or_default(),
    )
}

#[derive(Clone, Debug)]
enum When {
    /// In microseconds.
    Every(i64),
    Cron(Box<Cron>, Tz),
}

impl When {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(step) => {
                let next = (after.timestamp_micros().div_euclid(*step) + 1).checked_mul(*step)?;
                Timestamp::from_timestamp_micros(next)
            }
            Self::Cron(cron, zone) => {
                let mut from = after.with_nanosecond(0)?;
                // Around the end of summer time local times come twice: what is found must be later, not only look so.
                for _ in 0..4 {
                    let found = cron.find_next_occurrence(&from.with_timezone(zone), false).ok()?;
                    let found = found.with_timezone(&Utc);
                    if found > after {
                        return Some(found);
                    }
                    from = from.checked_add_signed(TimeDelta::minutes(30))?;
                }
                None
            }
        }
    }
}

/// The times at which a datasource is fetched.
#[derive(Clone, Debug)]
pub struct Timetable {
    when: When,
    delay: TimeDelta,
    catch_up: CatchUp,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Of which time the next run is: one that is not after now is to be begun now. None comes any more if absent.
    pub due: Option<Timestamp>,
    /// How many runs did not begin at their time, besides those that were noted before.
    pub missed: u64,
    /// Up to which time missed runs are noted now.
    pub noted: Option<Timestamp>,
}

/// The times within a span.
#[derive(Debug, Default)]
struct Span {
    count: u64,
    /// The last ones, at most [`MAX_CATCH_UP`].
    last: VecDeque<Timestamp>,
}

impl Span {
    fn push(&mut self, time: Timestamp) {
        self.count += 1;
        self.last.push_back(time);
        if self.last.len() > MAX_CATCH_UP {
            self.last.pop_front();
        }
    }
}

impl Timetable {
    /// The first time after `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let shifted = after.checked_sub_signed(self.delay)?;
        self.when.next(shifted)?.checked_add_signed(self.delay)
    }

    /// The next times.
    #[must_use]
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let times = std::iter::successors(self.next_after(after), |time| self.next_after(*time));
        times.take(count).collect()
    }

    /// What is to be done next. `last_due` is the time of the last run that was made, `noted` that up to which missed
    /// runs are noted already.
    #[must_use]
    pub fn next(&self, last_due: Timestamp, noted: Option<Timestamp>, now: Timestamp) -> Next {
        // A clock that was ahead must not stop a source until then.
        let base = last_due.min(now);
        let passed = self.between(base, now);
        let (Some(latest), Some(first)) = (passed.last.back().copied(), passed.last.front().copied()) else {
            return Next {
                due: self.next_after(base),
                missed: 0,
                noted,
            };
        };
        let is_on_time = now - latest <= ON_TIME;
        let known = noted.map_or(base, |noted| noted.clamp(base, now));
        let unnoted = self.between(known, now).count;
        let missed = unnoted.saturating_sub(u64::from(is_on_time && latest > known));
        let due = match self.catch_up {
            CatchUp::All => Some(first),
            CatchUp::Skip if !is_on_time => self.next_after(now),
            CatchUp::Once | CatchUp::Skip => Some(latest),
        };
        Next {
            due,
            missed,
            noted: Some(latest),
        }
    }

    /// The times after `from`, up to and with `to`.
    fn between(&self, from: Timestamp, to: Timestamp) -> Span {
        let mut span = Span::default();
        if let When::Every(step) = self.when {
            let place = |time: Timestamp| (time - self.delay).timestamp_micros().div_euclid(step);
            let (before, last) = (place(from), place(to));
            let kept = i64::try_from(MAX_CATCH_UP).unwrap_or(i64::MAX);
            for number in before.max(last - kept) + 1..=last {
                let time = number
                    .checked_mul(step)
                    .and_then(Timestamp::from_timestamp_micros);
                span.last.extend(time.map(|time| time + self.delay));
            }
            span.count = u64::try_from(last - before).unwrap_or_default();
            return span;
        }
        let within = |from| {
            std::iter::successors(self.next_after(from), |time| self.next_after(*time))
                .take_while(|time| *time <= to)
        };
        within(from).take(MAX_COUNTED).for_each(|time| span.push(time));
        if span.count >= MAX_COUNTED as u64 {
            within(from.max(to - WEEK)).for_each(|time| span.push(time));
            span.count = MAX_COUNTED as u64;
        }
        span
    }
}

/// What is remembered of a source's runs, beside its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunMemory {
    /// The time of the last run that was made to its end.
    pub last_due: Option<Timestamp>,
    /// The time of the run that was begun and has not ended.
    pub current: Option<Timestamp>,
    /// Up to which time missed runs are noted.
    pub noted: Option<Timestamp>,
    /// How many runs did not begin at their time.
    pub missed: u64,
    /// The generation of the datasource when a run was last begun.
    pub generation: i64,
    /// The version that it was begun with.
    pub version: u32,
    /// The last run that was made to its end.
    pub last_run: Option<LastRun>,
}

/// A run that was made to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastRun {
    /// Its time by the schedule; when it was asked for, of one that a start or restart began.
    pub due: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How many records it read.
    pub records: u64,
}

/// What is known of the runs of a datasource that is fetched by a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScheduleState {
    /// When the next run begins; nothing while one is under way.
    pub next_run_at: Option<Timestamp>,
    /// The last run that was made to its end.
    pub last_run: Option<LastRun>,
    /// How many runs did not begin at their time, since the place in the source was kept first.
    pub missed_runs: u64,
}

impl ScheduleState {
    /// What several instances of one source say together.
    #[must_use]
    pub fn together(self, other: Self) -> Self {
        let earliest = [self.next_run_at, other.next_run_at].into_iter().flatten().min();
        let ended = |run: &LastRun| run.ended_at;
        Self {
            next_run_at: earliest,
            last_run: [self.last_run, other.last_run]
                .into_iter()
                .flatten()
                .max_by_key(ended),
            missed_runs: self.missed_runs + other.missed_runs,
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
