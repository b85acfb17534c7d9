//! The pace of a datasource: a bucket that fills at the wanted rate and holds one second's worth.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The pace of a datasource; without a rate there is no bound.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Bucket>>);

#[derive(Debug)]
struct Bucket {
    rate: f64,
    /// Negative after more was taken than was there.
    level: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.rate);
        self.at = now;
    }
}

impl Throttle {
    /// Sets the rate in records a second. A rate that stays keeps its level.
    pub(crate) fn set_rate(&self, rate: Option<u32>) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = rate.map(|rate| f64::from(rate.max(1)));
        if bucket.as_ref().map(|bucket| bucket.rate) != rate {
            *bucket = rate.map(|rate| Bucket {
                rate,
                level: rate,
                at: Instant::now(),
            });
        }
    }

    /// Takes up to `wanted`; returns how many may go now.
    pub(crate) fn take(&self, wanted: usize) -> usize {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = bucket.as_mut() else {
            return wanted;
        };
        bucket.fill(Instant::now());
        let granted = wanted.min(bucket.level.max(0.0) as usize);
        bucket.level -= granted as f64;
        granted
    }

    /// Takes `count` more, afterwards: an event was more than one record.
    pub(crate) fn charge(&self, count: usize) {
        if let Some(bucket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            bucket.level -= count as f64;
        }
    }

    /// How long until one may go.
    pub(crate) fn wait(&self) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = bucket.as_mut() else {
            return Duration::ZERO;
        };
        bucket.fill(Instant::now());
        Duration::from_secs_f64(((1.0 - bucket.level) / bucket.rate).clamp(0.0, 60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_lets_through_the_rate() {
        let throttle = Throttle::default();
        assert_eq!(throttle.take(1_000), 1_000);
        throttle.set_rate(Some(10));
        assert_eq!(throttle.take(25), 10);
        assert_eq!(throttle.take(1), 0);
        assert!(throttle.wait() <= Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(500)).await;
        throttle.set_rate(Some(10));
        assert_eq!(throttle.take(25), 5);
        throttle.charge(10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(throttle.take(1), 0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(throttle.take(25), 10);
    }
}
