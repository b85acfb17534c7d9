//! What workers say of their work, as far as a plan depends on it: how busy it keeps them, and what they have let
//! go of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{EVENT_COST, Heartbeat, HeldSource},
    clock::Timestamp,
    id::{DatasourceId, WorkerId},
};

use super::{placement::Work, plan::CurrentAssignments};

/// How busy work counts that does nothing: idle work is spread by its number.
pub const IDLE: u64 = 20_000;
/// The weight of a new measurement in the smoothed one, in hundredths: at one a second, what was ten seconds ago
/// still counts a third.
const NEW: u64 = 10;
/// A measurement within so much (and a quarter) of the one in use changes nothing.
const NOISE: u64 = 5_000;
/// Measurements of one worker are at least so far apart.
const APART: TimeDelta = TimeDelta::milliseconds(900);

/// What workers say of their work.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    said: BTreeMap<WorkerId, Said>,
    loads: BTreeMap<Work, Load>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    measured_at: Option<Timestamp>,
    reached: u64,
    draining: bool,
    sources: Vec<HeldSource>,
}

/// Microseconds of work in each second.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    smoothed: u64,
    used: u64,
}

impl Observed {
    /// Takes in what a worker says.
    pub fn hear(&mut self, heartbeat: &Heartbeat) {
        let said = self.said.entry(heartbeat.worker).or_default();
        said.reached = heartbeat.reached;
        said.draining = heartbeat.draining;
        said.sources.clone_from(&heartbeat.sources);
        if said.measured_at.is_some_and(|last| heartbeat.at - last < APART) {
            return;
        }
        said.measured_at = Some(heartbeat.at);
        for load in &heartbeat.partitions {
            self.measure(Work::Partition(load.partition), load.busy);
        }
        for held in &heartbeat.sources {
            let mut tasks = heartbeat.tasks.iter();
            if let Some(task) = tasks.find(|task| task.datasource == held.datasource) {
                let each = task.metrics.mapping_us + EVENT_COST as f64;
                let busy = task.metrics.events_per_second * each;
                self.measure(Work::Source(held.datasource, held.instance), busy as u64);
            }
        }
    }

    fn measure(&mut self, work: Work, busy: u64) {
        let load = self.loads.entry(work).or_default();
        load.smoothed = (load.smoothed * (100 - NEW) + busy * NEW) / 100;
        if load.smoothed.abs_diff(load.used) > load.used / 4 + NOISE {
            load.used = load.smoothed;
        }
    }

    /// Forgets workers that are gone, and work that nobody does any more.
    pub fn retain(&mut self, alive: impl Fn(WorkerId) -> bool, current: &CurrentAssignments) {
        self.said.retain(|worker, _| alive(*worker));
        self.loads.retain(|work, _| match work {
            Work::Partition(number) => current.partitions.contains_key(number),
            Work::Source(datasource, _) => current.datasources.contains_key(datasource),
        });
    }

    /// How busy a piece of work keeps its worker.
    #[must_use]
    pub fn weight(&self, work: Work) -> u64 {
        IDLE + self.loads.get(&work).map_or(0, |load| load.used)
    }

    /// Whether a worker has let go of an instance that it was told to give up at `revision`, and will not take it up
    /// again: it acts on what was written then, or starts nothing any more, and does not name the instance.
    #[must_use]
    pub fn has_released(&self, worker: WorkerId, work: (DatasourceId, u16), told_at: Option<u64>) -> bool {
        let Some(said) = self.said.get(&worker) else {
            return false;
        };
        let knows = said.draining || told_at.is_some_and(|revision| said.reached >= revision);
        let holds = |held: &HeldSource| (held.datasource, held.instance) == work;
        knows && !said.sources.iter().any(holds)
    }

    /// The instances that the workers which were to let go of them have let go of. `revision` is that at which an
    /// assignment stands.
    #[must_use]
    pub fn released(
        &self,
        current: &CurrentAssignments,
        revision: impl Fn(DatasourceId) -> Option<u64>,
    ) -> BTreeSet<(DatasourceId, u16)> {
        let mut released = BTreeSet::new();
        for (datasource, assignment) in &current.datasources {
            for (index, instance) in (0_u16..).zip(&assignment.instances) {
                let work = (*datasource, index);
                let (from, told_at) = match (instance.leaving, instance.worker) {
                    (Some(from), _) => (from, revision(*datasource)),
                    (None, Some(holder)) => (holder, None),
                    (None, None) => continue,
                };
                if self.has_released(from, work, told_at) {
                    released.insert(work);
                }
            }
        }
        released
    }
}
