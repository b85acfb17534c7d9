//! Where time comes from. Nothing else in the workspace asks the system for the date.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use crate::error::InputError;

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// Checks a time that somebody wrote: those of the years 1 to 9999 can be stored, written and reckoned with everywhere.
///
/// # Errors
/// It lies outside of them; the error is the field's at `pointer`.
pub fn check_year(pointer: &str, time: Timestamp) -> Result<(), InputError> {
    if (1..=9_999).contains(&time.year()) {
        return Ok(());
    }
    let detail = "a time between the years 1 and 9999";
    Err(InputError::new(pointer, "out_of_range", detail))
}

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time, truncated to microseconds: the precision both databases keep.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now(&self) -> Timestamp {
        truncate(Utc::now())
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.timestamp_micros())))
    }

    /// Moves the clock (and all its clones) forward.
    pub fn advance(&self, by: TimeDelta) {
        self.0
            .fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

/// `time` without what is finer than a microsecond.
#[must_use]
pub fn truncate(time: Timestamp) -> Timestamp {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}
