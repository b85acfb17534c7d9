//! Pauses between attempts: doubled each time, with jitter, at most the configured maximum.

use std::time::Duration;

use halcyon_domain::config::RetryOptions;
use rand::RngExt;

/// After so long without a failure the next one counts as the first.
pub(super) const HEALTHY: Duration = Duration::from_secs(60);

/// The pauses of one source.
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

    /// The pause after another failure. After `max_attempts` of them the circuit is open: the longest pause.
    pub(super) fn next(&mut self) -> Duration {
        let (initial, max) = (self.options.initial.get(), self.options.max.get());
        let open = self.failures >= self.options.max_attempts;
        let full = if open {
            max
        } else {
            initial.saturating_mul(1 << self.failures.min(20)).min(max)
        };
        self.failures = self.failures.saturating_add(1);
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
}
