//! A process's clocks: one that runs a little too fast or too slow, and one that shows a wrong time.

use std::time::Duration;

use chrono::TimeDelta;
use halcyon_domain::clock::Timestamp;

use super::{dice::Dice, world::Time};

/// How much too fast or slow a clock may run, in thousandths. Leases bear 111.
const DRIFT: u64 = 50;
/// How wrong the time may be that a clock shows, in milliseconds.
const OFFSET: u64 = 30_000;
/// When the world begins: 2026-01-01.
const BEGIN: i64 = 1_767_225_600;

#[derive(Clone, Copy, Debug)]
pub(super) struct LocalClock {
    /// Thousandths of a true millisecond that it counts for one.
    rate: u64,
    offset: i64,
}

impl LocalClock {
    pub(super) fn any(dice: &mut Dice) -> Self {
        Self {
            rate: 1_000 - DRIFT + dice.below(2 * DRIFT + 1),
            offset: dice.below(2 * OFFSET) as i64 - OFFSET as i64,
        }
    }

    /// What the clock for spans of time shows.
    pub(super) fn mono(self, now: Time) -> Duration {
        Duration::from_micros(now * self.rate)
    }

    /// When that clock shows a time.
    pub(super) fn truly(self, mono: Duration) -> Time {
        let micros = u64::try_from(mono.as_micros()).unwrap_or(u64::MAX);
        micros.div_ceil(self.rate)
    }

    /// The date and time that it shows.
    pub(super) fn wall(self, now: Time) -> Timestamp {
        let begin = Timestamp::from_timestamp(BEGIN, 0).unwrap_or_default();
        begin + TimeDelta::milliseconds(i64::try_from(now).unwrap_or_default() + self.offset)
    }
}
