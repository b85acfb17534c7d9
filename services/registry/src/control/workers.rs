//! The workers, as the leader sees them: who is there, how busy they are, what they have let go of.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use halcyon_bus::{KvMirror, LeaseRecord};
use halcyon_domain::{
    assignment::Heartbeat,
    id::{DatasourceId, WorkerId},
};

use super::Control;
use crate::{members::members, reconcile::SETTLE};

impl Control<'_> {
    /// Looks who is there; whether that has changed.
    pub(super) fn see_members(&mut self, leases: &KvMirror<LeaseRecord>) -> bool {
        let members = members(leases);
        if members == self.members {
            return false;
        }
        let alive: BTreeSet<WorkerId> = members.iter().map(|member| member.worker).collect();
        let is_alive = |worker| alive.contains(&worker);
        self.memory.tracker.retain_workers(is_alive);
        self.observed.retain(is_alive, self.board.current());
        tracing::info!(workers = alive.len(), "the workers are others than before");
        // Whoever is new gets its share soon, not after the pause since the last time.
        self.balance_at = (self.shared.clock.now() + SETTLE).max(self.warm_at);
        self.members = members;
        self.heard = true;
        true
    }

    /// Takes in a heartbeat; whether it may decide who gets what. One of a worker without a lease does not count: its
    /// work may be another's by now.
    pub(super) fn hear(&mut self, heartbeat: &Heartbeat) -> bool {
        let worker = heartbeat.worker;
        if !self.members.iter().any(|member| member.worker == worker) {
            return false;
        }
        self.observed.hear(heartbeat);
        self.backfills.hear(heartbeat, self.board.current());
        self.memory.tracker.hear(heartbeat.clone());
        self.heard = true;
        self.awaited.contains(&worker) && !self.released().is_empty()
    }

    /// The instances whose worker was to let go of them and has.
    pub(super) fn released(&self) -> BTreeSet<(DatasourceId, u16)> {
        if self.awaited.is_empty() {
            return BTreeSet::new();
        }
        self.observed
            .released(self.board.current(), |datasource| self.board.revision(datasource))
    }

    /// Notes which workers have something to let go of.
    pub(super) fn await_workers(&mut self) {
        let draining = self.members.iter().filter(|member| member.draining);
        let draining: BTreeSet<WorkerId> = draining.map(|member| member.worker).collect();
        let assignments = self.board.current().datasources.values();
        let instances = assignments.flat_map(|assignment| &assignment.instances);
        let leaving = instances.filter_map(|instance| {
            let holder = instance.worker.filter(|worker| draining.contains(worker));
            instance.leaving.or(holder)
        });
        self.awaited = leaving.collect();
    }

    pub(super) fn balance_interval(&self) -> TimeDelta {
        TimeDelta::from_std(self.shared.settings.balance_interval.get()).unwrap_or(TimeDelta::MAX)
    }
}
