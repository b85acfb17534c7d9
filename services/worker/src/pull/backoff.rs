//! Pauses between attempts: doubled each time, with jitter, at most the configured maximum; and the circuit, which
//! opens when attempts fail again and again.

use std::time::Duration;

use halcyon_domain::config::RetryOptions;
use rand::RngExt;

/// After so long without a failure the next one counts as the first.
const HEALTHY: Duration = Duration::from_secs(60);

/// The pauses of one source. Its circuit is closed while it fails seldom. From `max_attempts` failures on it is open:
/// one attempt, a probe, is made after each longest pause. It closes when a run has lasted for a healthy while.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    options: RetryOptions,
    failures: u32,
}

impl Backoff {
    pub(super) fn configure(&mut self, options: &RetryOptions) {
        self.options = options.clone();
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// A run has lasted so long. Tells whether that has closed an open circuit.
    pub(super) fn has_run(&mut self, time: Duration) -> bool {
        let closes = time >= HEALTHY && self.is_open();
        if time >= HEALTHY {
            self.reset();
        }
        closes
    }

    /// How many attempts have failed in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether so many attempts have failed that only probes are made.
    pub(super) const fn is_open(&self) -> bool {
        self.failures > self.options.max_attempts
    }

    /// The pause after another failure.
    pub(super) fn next(&mut self) -> Duration {
        let (initial, max) = (self.options.initial.get(), self.options.max.get());
        let doubled = initial.saturating_mul(1 << self.failures.min(20)).min(max);
        self.failures = self.failures.saturating_add(1);
        let full = if self.is_open() { max } else { doubled };
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_begin_anew() {
        let mut backoff = Backoff::default();
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 300, 300] {
            let pause = backoff.next();
            let full = Duration::from_secs(expected);
            assert!(pause >= full / 2 && pause <= full, "{pause:?} is not {full:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }

    #[test]
    fn pauses_differ_so_that_sources_do_not_come_back_together() {
        let pauses: std::collections::BTreeSet<_> = (0..20).map(|_| Backoff::default().next()).collect();
        assert!(pauses.len() > 1);
    }

    #[test]
    fn the_circuit_opens_stays_open_for_a_failed_probe_and_closes_after_a_healthy_while() {
        let mut backoff = Backoff::default();
        let most = RetryOptions::default().max_attempts;
        for _ in 0..most {
            backoff.next();
            assert!(!backoff.is_open());
        }
        backoff.next();
        assert!(backoff.is_open());
        // A probe that ran for a moment.
        assert!(!backoff.has_run(Duration::from_secs(59)));
        backoff.next();
        assert!(backoff.is_open());
        assert!(backoff.has_run(HEALTHY));
        assert!(!backoff.is_open());
        assert!(!backoff.has_run(HEALTHY), "it was closed already");
    }
}
