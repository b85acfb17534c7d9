//! A datasource's numbers: counted without locks, sampled once a second for the rates.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use halcyon_domain::{clock::Timestamp, datasource::DatasourceMetrics, event::Verdict};
use tokio::time::Instant;

/// How far back rates look.
const RATE: Duration = Duration::from_secs(10);
const ERRORS: Duration = Duration::from_secs(60);

/// What was done with some events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) delivered: u64,
    pub(crate) filtered: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) objects: u64,
    pub(crate) mapping: Duration,
    /// The acceptance of the newest of them.
    pub(crate) newest: Option<Timestamp>,
}

impl Tally {
    pub(crate) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Delivered => self.delivered += 1,
            Verdict::Filtered => self.filtered += 1,
            Verdict::DeadLettered => self.dead_lettered += 1,
        }
    }

    pub(crate) const fn records(&self) -> u64 {
        self.delivered + self.filtered + self.dead_lettered
    }
}

/// A datasource's numbers.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    events: AtomicU64,
    bytes: AtomicU64,
    delivered: AtomicU64,
    filtered: AtomicU64,
    dead_lettered: AtomicU64,
    objects: AtomicU64,
    errors: AtomicU64,
    runs: AtomicU64,
    failed_runs: AtomicU64,
    missed_runs: AtomicU64,
    /// How long the last run took.
    run_ms: AtomicU64,
    mapping_nanos: AtomicU64,
    /// Microseconds since 1970; 0 before the first.
    last_event: AtomicI64,
    lag_ms: AtomicU64,
    samples: Mutex<VecDeque<Snapshot>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    pub(crate) events: u64,
    pub(crate) delivered: u64,
    pub(crate) filtered: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) errors: u64,
    pub(crate) runs: u64,
    pub(crate) failed_runs: u64,
    pub(crate) missed_runs: u64,
}

impl Stats {
    /// Adds what was done with events, at `now`.
    pub(crate) fn add(&self, tally: &Tally, now: Timestamp) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.events, tally.events);
        add(&self.bytes, tally.bytes);
        add(&self.delivered, tally.delivered);
        add(&self.filtered, tally.filtered);
        add(&self.dead_lettered, tally.dead_lettered);
        add(&self.objects, tally.objects);
        add(
            &self.mapping_nanos,
            u64::try_from(tally.mapping.as_nanos()).unwrap_or(u64::MAX),
        );
        if let Some(newest) = tally.newest {
            self.last_event.store(now.timestamp_micros(), Ordering::Relaxed);
            let lag = (now - newest).num_milliseconds();
            self.lag_ms
                .store(u64::try_from(lag).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Counts a failure other than a dead letter.
    pub(crate) fn add_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a run by the schedule that was made to its end.
    pub(crate) fn add_run(&self, lasted: chrono::TimeDelta) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let lasted = u64::try_from(lasted.num_milliseconds()).unwrap_or_default();
        self.run_ms.store(lasted, Ordering::Relaxed);
    }

    /// Counts a run by the schedule that failed; it is tried again.
    pub(crate) fn add_failed_run(&self) {
        self.failed_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts runs that did not begin at their time.
    pub(crate) fn add_missed_runs(&self, count: u64) {
        self.missed_runs.fetch_add(count, Ordering::Relaxed);
    }

    /// How long the last run took, in seconds.
    pub(crate) fn last_run_seconds(&self) -> f64 {
        self.run_ms.load(Ordering::Relaxed) as f64 / 1_000.0
    }

    pub(crate) fn last_event_at(&self) -> Option<Timestamp> {
        match self.last_event.load(Ordering::Relaxed) {
            0 => None,
            micros => Timestamp::from_timestamp_micros(micros),
        }
    }

    /// Takes a sample for the rates, and returns it with the one before. To be called once a second.
    pub(crate) fn sample(&self) -> (Option<Snapshot>, Snapshot) {
        let now = self.snapshot();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let before = samples.back().copied();
        samples.push_back(now);
        while samples.front().is_some_and(|sample| now.at - sample.at > ERRORS) {
            samples.pop_front();
        }
        (before, now)
    }

    fn snapshot(&self) -> Snapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            at: Instant::now(),
            events: load(&self.events),
            delivered: load(&self.delivered),
            filtered: load(&self.filtered),
            dead_lettered: load(&self.dead_lettered),
            errors: load(&self.errors),
            runs: load(&self.runs),
            failed_runs: load(&self.failed_runs),
            missed_runs: load(&self.missed_runs),
        }
    }

    /// The numbers as the heartbeat tells them.
    pub(crate) fn metrics(&self, parked: u64) -> DatasourceMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = self.snapshot();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |span: Duration| samples.iter().find(|sample| now.at - sample.at <= span);
        let rate = |count: fn(&Snapshot) -> u64, span: Duration| {
            let Some(first) = since(span) else { return 0.0 };
            let seconds = (now.at - first.at).as_secs_f64();
            if seconds < 0.5 {
                0.0
            } else {
                (count(&now) - count(first)) as f64 / seconds
            }
        };
        let mapping_us = load(&self.mapping_nanos) as f64 / 1_000.0 / now.events.max(1) as f64;
        DatasourceMetrics {
            events: now.events,
            bytes: load(&self.bytes),
            records: now.delivered + now.filtered + now.dead_lettered,
            delivered: now.delivered,
            filtered: now.filtered,
            dead_lettered: now.dead_lettered,
            objects: load(&self.objects),
            errors: now.errors,
            parked,
            events_per_second: rate(|sample| sample.events, RATE),
            errors_per_minute: rate(|sample| sample.errors + sample.dead_lettered, ERRORS) * 60.0,
            lag_ms: load(&self.lag_ms),
            mapping_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_look_back_ten_seconds() {
        let (stats, now) = (Stats::default(), Timestamp::default());
        let tally = Tally {
            events: 100,
            delivered: 90,
            dead_lettered: 10,
            ..Tally::default()
        };
        for _ in 0..30 {
            stats.sample();
            stats.add(&tally, now);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let metrics = stats.metrics(3);
        assert_eq!(
            (metrics.events, metrics.records, metrics.parked),
            (3_000, 3_000, 3)
        );
        assert!((metrics.events_per_second - 100.0).abs() < 1.0, "{metrics:?}");
        assert!((metrics.errors_per_minute - 600.0).abs() < 10.0, "{metrics:?}");
        tokio::time::advance(Duration::from_secs(20)).await;
        stats.sample();
        assert!(stats.metrics(0).events_per_second < 1.0);
    }
}
