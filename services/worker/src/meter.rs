//! How busy a partition keeps the worker.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use halcyon_domain::assignment::EVENT_COST;
use tokio::time::Instant;

/// Counts the work on a partition; sampled once a second.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Microseconds of work since the partition was taken.
    worked: AtomicU64,
    last: Mutex<Option<(Instant, u64)>>,
    /// Microseconds of work in the last second.
    busy: AtomicU64,
}

impl Meter {
    /// Adds events, and how long their mapping took.
    pub(crate) fn add(&self, events: usize, mapping: Duration) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        let mapping = u64::try_from(mapping.as_micros()).unwrap_or(u64::MAX);
        let cost = mapping.saturating_add(events.saturating_mul(EVENT_COST));
        self.worked.fetch_add(cost, Ordering::Relaxed);
    }

    /// Measures what was done since the last sample.
    pub(crate) fn sample(&self) {
        let (now, worked) = (Instant::now(), self.worked.load(Ordering::Relaxed));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, before)) = last.replace((now, worked)) {
            let seconds = (now - then).as_secs_f64().max(0.1);
            self.busy
                .store(((worked - before) as f64 / seconds) as u64, Ordering::Relaxed);
        }
    }

    /// Microseconds of work in each second.
    pub(crate) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_told_by_the_second() {
        let meter = Meter::default();
        meter.sample();
        meter.add(100, Duration::from_millis(6));
        tokio::time::advance(Duration::from_secs(2)).await;
        meter.sample();
        assert_eq!(meter.busy(), (6_000 + 100 * EVENT_COST) / 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        meter.sample();
        assert_eq!(meter.busy(), 0);
    }
}
