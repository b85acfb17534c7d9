//! Suspends scripts that do nothing but run out of time or memory: each such record costs a processor its deadline.

use std::time::{Duration, Instant};

/// No pause is longer than so many times the first.
const LONGEST: u32 = 32;

/// The recent failures of a datasource's script. A record that went well forgets them.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    pauses: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Notes a failure. True if the script is suspended now because of it: on the `after`-th in a row, and after each
    /// pause on the first.
    pub(crate) fn failed(&mut self, after: u32, pause: Duration, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.is_open(now) || (self.pauses == 0 && self.failures < after) {
            return false;
        }
        let times = 1_u32.checked_shl(self.pauses).unwrap_or(LONGEST).min(LONGEST);
        self.pauses = self.pauses.saturating_add(1);
        self.open_until = Some(now + pause * times);
        true
    }

    /// Whether the script is suspended.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_record_goes_well() {
        let (pause, start) = (Duration::from_secs(10), Instant::now());
        let mut breaker = Breaker::default();
        let opened: Vec<bool> = (0..4).map(|_| breaker.failed(3, pause, start)).collect();
        assert_eq!(opened, [false, false, true, false]);
        assert!(breaker.is_open(start + Duration::from_secs(9)));
        let later = start + Duration::from_secs(10);
        assert!(!breaker.is_open(later));
        assert!(breaker.failed(3, pause, later), "one more try, and it failed");
        assert!(breaker.is_open(later + Duration::from_secs(19)));
        for _ in 0..100 {
            let again = breaker.open_until.unwrap();
            breaker.failed(3, pause, again);
            assert!(breaker.open_until.unwrap() <= again + pause * LONGEST);
        }
    }
}
