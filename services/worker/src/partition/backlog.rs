//! What of a partition is parked, by datasource. While anything of a datasource is parked its later events park,
//! too: nothing overtakes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use halcyon_domain::id::DatasourceId;
use tokio::{sync::Notify, time::Instant};

/// What is parked on a partition.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    parked: Mutex<HashMap<DatasourceId, Parked>>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Parked {
    /// How many events are parked, about: an overlap of two holders makes it inexact.
    count: u64,
    /// Groups that are being parked just now.
    parking: u32,
    /// Grows with every group that begins to park.
    arrivals: u64,
    draining: bool,
    /// It was parked when the partition was taken over: the holder before may have died of its first events.
    inherited: bool,
    /// Since when nobody tells this worker of the datasource.
    unknown_since: Option<Instant>,
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, HashMap<DatasourceId, Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was found parked.
    pub(crate) fn add(&self, datasource: DatasourceId, count: u64) {
        let mut all = self.lock();
        let parked = all.entry(datasource).or_default();
        parked.count += count;
        parked.inherited = true;
        drop(all);
        self.grown.notify_one();
    }

    /// Whether the holder before may have died of what is to be drained next.
    pub(crate) fn is_inherited(&self, datasource: DatasourceId) -> bool {
        self.lock()
            .get(&datasource)
            .is_some_and(|parked| parked.inherited)
    }

    /// Compares with what was found parked: what was not known is noted, and what was counted twice is put right.
    /// Whether anything was.
    pub(crate) fn find(&self, datasource: DatasourceId, count: u64) -> bool {
        let mut all = self.lock();
        let known = all.contains_key(&datasource);
        if count == 0 && !known {
            return false;
        }
        let parked = all.entry(datasource).or_default();
        let quiet = parked.parking == 0 && !parked.draining;
        let differs = quiet && parked.count != count;
        if differs {
            parked.count = count;
        }
        if !known {
            self.grown.notify_one();
        }
        differs
    }

    /// The datasource is not known now; for how long it has not been.
    pub(crate) fn unknown(&self, datasource: DatasourceId) -> Duration {
        let mut parked = self.lock();
        let Some(parked) = parked.get_mut(&datasource) else {
            return Duration::ZERO;
        };
        parked.unknown_since.get_or_insert_with(Instant::now).elapsed()
    }

    /// The datasource is known.
    pub(crate) fn known(&self, datasource: DatasourceId) {
        if let Some(parked) = self.lock().get_mut(&datasource) {
            parked.unknown_since = None;
        }
    }

    /// Whether the datasource's events must be parked because earlier ones are.
    pub(crate) fn holds(&self, datasource: DatasourceId) -> bool {
        self.lock().contains_key(&datasource)
    }

    /// A group begins to park: from now on the datasource's later events park, too.
    pub(crate) fn begin_park(&self, datasource: DatasourceId) -> Parking<'_> {
        let mut all = self.lock();
        let parked = all.entry(datasource).or_default();
        parked.parking += 1;
        parked.arrivals += 1;
        Parking {
            backlog: self,
            datasource,
            count: 0,
        }
    }

    fn end_park(&self, datasource: DatasourceId, count: u64) {
        if let Some(parked) = self.lock().get_mut(&datasource) {
            parked.parking = parked.parking.saturating_sub(1);
            parked.count += count;
        }
        self.grown.notify_one();
    }

    /// Waits until something was parked.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// The datasources that have something parked and are not being drained.
    pub(crate) fn waiting(&self) -> Vec<DatasourceId> {
        self.lock()
            .iter()
            .filter(|(_, parked)| !parked.draining)
            .map(|(datasource, _)| *datasource)
            .collect()
    }

    /// Takes the right to drain a datasource; false if somebody has it.
    pub(crate) fn begin_drain(&self, datasource: DatasourceId) -> bool {
        let mut parked = self.lock();
        let Some(parked) = parked.get_mut(&datasource) else {
            return false;
        };
        !std::mem::replace(&mut parked.draining, true)
    }

    pub(crate) fn end_drain(&self, datasource: DatasourceId) {
        if let Some(parked) = self.lock().get_mut(&datasource) {
            parked.draining = false;
        }
    }

    /// `count` events were drained.
    pub(crate) fn drained(&self, datasource: DatasourceId, count: u64) {
        if let Some(parked) = self.lock().get_mut(&datasource) {
            parked.count = parked.count.saturating_sub(count);
            parked.inherited = false;
        }
    }

    /// How many groups have begun to park so far; to be read before looking whether anything is left.
    pub(crate) fn arrivals(&self, datasource: DatasourceId) -> u64 {
        self.lock().get(&datasource).map_or(0, |parked| parked.arrivals)
    }

    /// Nothing was found parked after `arrivals` was read: the datasource goes on, unless something has begun to
    /// park since or is at it.
    pub(crate) fn clear(&self, datasource: DatasourceId, arrivals: u64) -> bool {
        let mut all = self.lock();
        let empty = all
            .get(&datasource)
            .is_none_or(|parked| parked.parking == 0 && parked.arrivals == arrivals);
        if empty {
            all.remove(&datasource);
        }
        empty
    }

    pub(crate) fn count(&self, datasource: DatasourceId) -> u64 {
        self.lock().get(&datasource).map_or(0, |parked| parked.count)
    }
}

/// A group that parks, until this is dropped.
pub(crate) struct Parking<'b> {
    backlog: &'b Backlog,
    pub(crate) datasource: DatasourceId,
    /// How many events it has parked.
    pub(crate) count: u64,
}

impl Drop for Parking<'_> {
    fn drop(&mut self) {
        self.backlog.end_park(self.datasource, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_events_park_until_the_last_is_drained() {
        let (backlog, datasource) = (Backlog::default(), DatasourceId::generate());
        assert!(!backlog.holds(datasource) && !backlog.begin_drain(datasource));
        let mut parking = backlog.begin_park(datasource);
        assert!(backlog.holds(datasource));
        parking.count = 2;
        drop(parking);
        assert_eq!(
            (backlog.waiting(), backlog.count(datasource)),
            (vec![datasource], 2)
        );
        assert!(backlog.begin_drain(datasource) && !backlog.begin_drain(datasource));
        assert!(backlog.waiting().is_empty());
        backlog.drained(datasource, 2);
        let arrivals = backlog.arrivals(datasource);
        assert!(backlog.clear(datasource, arrivals));
        assert!(!backlog.holds(datasource));
    }

    #[test]
    fn what_is_found_is_noted_and_puts_the_count_right() {
        let (backlog, datasource) = (Backlog::default(), DatasourceId::generate());
        assert!(!backlog.find(datasource, 0) && !backlog.holds(datasource));
        assert!(backlog.find(datasource, 3) && backlog.holds(datasource));
        let parking = backlog.begin_park(datasource);
        assert!(!backlog.find(datasource, 5), "it is being counted");
        drop(parking);
        assert!(backlog.find(datasource, 5) && !backlog.find(datasource, 5));
        assert_eq!(backlog.count(datasource), 5);
    }

    #[test]
    fn what_parks_while_the_rest_is_drained_is_not_forgotten() {
        let (backlog, datasource) = (Backlog::default(), DatasourceId::generate());
        backlog.add(datasource, 1);
        let arrivals = backlog.arrivals(datasource);
        let mut parking = backlog.begin_park(datasource);
        assert!(!backlog.clear(datasource, arrivals), "a group is being parked");
        parking.count = 1;
        drop(parking);
        assert!(
            !backlog.clear(datasource, arrivals),
            "a group was parked after the look"
        );
        assert!(backlog.clear(datasource, backlog.arrivals(datasource)));
    }
}
