//! How a frame is processed, by how often it was delivered (invariant 3).

use std::time::Duration;

/// From this delivery on a frame's events are processed one at a time.
const ONE_BY_ONE: u32 = 3;

/// How a frame is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All events of a datasource at once.
    Together,
    /// One event at a time, so that the others of the frame get through.
    OneByOne,
    /// One event at a time, in a process of their own: the worker may have died of one. One that cannot be processed
    /// is dead-lettered.
    Last,
}

impl Mode {
    /// `delivered` counts from 1.
    pub(crate) fn of(delivered: u32, max_attempts: u32) -> Self {
        if delivered >= max_attempts.max(ONE_BY_ONE) {
            Self::Last
        } else if delivered >= ONE_BY_ONE {
            Self::OneByOne
        } else {
            Self::Together
        }
    }
}

/// How long a frame waits before it comes again: 100 ms, doubled with each delivery, at most 10 s.
pub(crate) fn pause(delivered: u32) -> Duration {
    Duration::from_millis(100_u64 << delivered.saturating_sub(1).min(7)).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fifth_delivery_dead_letters() {
        let modes = [1, 2, 3, 4, 5, 9].map(|delivered| Mode::of(delivered, 5));
        use Mode::{Last, OneByOne, Together};
        assert_eq!(modes, [Together, Together, OneByOne, OneByOne, Last, Last]);
        assert_eq!(Mode::of(2, 1), Together);
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause(1), Duration::from_millis(100));
        assert_eq!(pause(3), Duration::from_millis(400));
        assert_eq!(pause(u32::MAX), Duration::from_secs(10));
    }
}
