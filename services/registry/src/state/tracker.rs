//! What is known of every datasource's state, and what of it is not yet in the database.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::Heartbeat,
    clock::Timestamp,
    datasource::{DatasourceMetrics, DatasourceState},
    id::{DatasourceId, WorkerId},
};

use super::{
    Happening, Report,
    drifts::Drifts,
    observe::{add_up, differs, is_on_its_way, observe},
};
use crate::reconcile::DesiredDatasource;

/// How long nobody must have reported a datasource before it counts as held by none: partitions are handed
/// over in less.
const SILENCE: TimeDelta = TimeDelta::seconds(3);

/// So many parked events fill a datasource's backlog: its gateways take no more. The stream refuses at 100,000 on
/// one partition, and then its partition waits; what is under way until the gateways know must fit in between.
const BACKLOG_FULL: u64 = 80_000;
/// At so few they take events again.
const BACKLOG_ROOM: u64 = 60_000;

/// How old the written time of the last sign of life may become while nothing else changes.
const HEARTBEAT_AGE: TimeDelta = TimeDelta::seconds(10);

/// What is known of every datasource's state.
#[derive(Debug)]
pub(crate) struct Tracker {
    reports: BTreeMap<WorkerId, Vec<Report>>,
    /// What lacks for a worker to hold a datasource.
    missing: BTreeMap<DatasourceId, String>,
    known: BTreeMap<DatasourceId, Known>,
    started_at: Timestamp,
    /// A worker that has not been heard by this registry may still be at work for so long.
    patience: TimeDelta,
    /// A datasource may be on its way for so long.
    deadline: TimeDelta,
}

#[derive(Debug)]
struct Known {
    state: DatasourceState,
    metrics: DatasourceMetrics,
    written: (DatasourceState, DatasourceMetrics),
    last_report: Option<Timestamp>,
    backlog_full: bool,
    happenings: Vec<Happening>,
    drifts: Drifts,
    /// The generation that it is on its way to, and since when.
    on_its_way: Option<(i64, Timestamp)>,
}

/// What is to be written of one datasource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unwritten {
    /// The datasource.
    pub(crate) datasource: DatasourceId,
    /// Its state.
    pub(crate) state: DatasourceState,
    /// Its numbers.
    pub(crate) metrics: DatasourceMetrics,
    /// News for its history.
    pub(crate) happenings: Vec<Happening>,
}

impl Tracker {
    /// What the database says, at the time when this registry began to lead. `patience` is the time in which a
    /// worker that is at work is heard for certain, or loses its lease; `deadline` is how long a datasource may take
    /// to start or to stop.
    pub(crate) fn new(
        stored: impl IntoIterator<Item = (DatasourceId, DatasourceState, DatasourceMetrics)>,
        started_at: Timestamp,
        patience: TimeDelta,
        deadline: TimeDelta,
    ) -> Self {
        let known = stored
            .into_iter()
            .map(|(id, state, metrics)| (id, Known::stored(state, metrics)))
            .collect();
        Self {
            reports: BTreeMap::new(),
            missing: BTreeMap::new(),
            known,
            started_at,
            patience,
            deadline,
        }
    }

    /// Notes what lacks for workers to hold datasources.
    pub(crate) fn set_missing(&mut self, missing: BTreeMap<DatasourceId, String>) {
        self.missing = missing;
    }

    /// Takes in what a worker says: it replaces all that it said before.
    pub(crate) fn hear(&mut self, heartbeat: Heartbeat) {
        let (worker, at) = (heartbeat.worker, heartbeat.at);
        let reports = heartbeat
            .tasks
            .into_iter()
            .map(|task| Report { worker, at, task })
            .collect();
        self.reports.insert(worker, reports);
    }

    /// Forgets what workers said whose lease is gone.
    pub(crate) fn retain_workers(&mut self, alive: impl Fn(WorkerId) -> bool) {
        self.reports.retain(|worker, _| alive(*worker));
    }

    /// Judges every datasource anew.
    pub(crate) fn refresh<'a>(
        &mut self,
        desired: impl Iterator<Item = &'a DesiredDatasource>,
        now: Timestamp,
    ) {
        let mut by_datasource: BTreeMap<DatasourceId, Vec<Report>> = BTreeMap::new();
        for report in self.reports.values().flatten() {
            by_datasource
                .entry(report.task.datasource)
                .or_default()
                .push(report.clone());
        }
        for datasource in desired.filter(|datasource| datasource.wanted.is_some()) {
            let reports = by_datasource.remove(&datasource.datasource).unwrap_or_default();
            let known = self.known.entry(datasource.datasource).or_insert_with(Known::new);
            if reports.is_empty() {
                let patience = known
                    .last_report
                    .map_or(self.started_at + self.patience, |last| last + SILENCE);
                if now < patience && known.is_waited_for(datasource) {
                    continue;
                }
            } else {
                known.last_report = Some(now);
                known.metrics = add_up(&reports);
                let limit = if known.backlog_full {
                    BACKLOG_ROOM
                } else {
                    BACKLOG_FULL
                };
                known.backlog_full = known.metrics.parked >= limit;
            }
            let overdue = known.is_overdue(datasource, now, self.deadline);
            let missing = self.missing.get(&datasource.datasource).map(String::as_str);
            let (state, happenings) = observe(datasource, &known.state, &reports, missing, overdue);
            known.happenings.extend(known.drifts.news(&reports));
            known.state = state;
            known.note_way(datasource, now);
            known.happenings.extend(happenings);
        }
    }

    /// Forgets a datasource that is gone.
    pub(crate) fn forget(&mut self, datasource: DatasourceId) {
        self.known.remove(&datasource);
    }

    /// Whether a change of state waits to be written, as opposed to mere numbers.
    pub(crate) fn has_news(&self) -> bool {
        self.known.values().any(Known::has_news)
    }

    /// What is to be written: changes of state and, with `numbers`, changed numbers.
    pub(crate) fn unwritten(&self, numbers: bool) -> Vec<Unwritten> {
        let due = self
            .known
            .iter()
            .filter(|(_, known)| known.has_news() || (numbers && known.has_numbers()));
        due.map(|(datasource, known)| Unwritten {
            datasource: *datasource,
            state: known.state.clone(),
            metrics: known.metrics.clone(),
            happenings: known.happenings.clone(),
        })
        .collect()
    }

    /// Notes that it was written.
    pub(crate) fn written(&mut self, rows: Vec<Unwritten>) {
        for row in rows {
            if let Some(known) = self.known.get_mut(&row.datasource) {
                known
                    .happenings
                    .drain(..row.happenings.len().min(known.happenings.len()));
                known.written = (row.state, row.metrics);
            }
        }
    }

    /// How many datasources are in each state.
    pub(crate) fn states(&self) -> impl Iterator<Item = &DatasourceState> {
        self.known.values().map(|known| &known.state)
    }

    /// Whether a datasource's backlog is full.
    pub(crate) fn backlog_full(&self, datasource: DatasourceId) -> bool {
        self.known
            .get(&datasource)
            .is_some_and(|known| known.backlog_full)
    }

    /// The newest version of a datasource that ran.
    pub(crate) fn last_good(&self, datasource: DatasourceId) -> Option<u32> {
        self.known
            .get(&datasource)
            .and_then(|known| known.state.last_good_version)
    }
}

impl Known {
    fn new() -> Self {
        Self {
            last_report: None,
            ..Self::stored(DatasourceState::default(), DatasourceMetrics::default())
        }
    }

    fn stored(state: DatasourceState, metrics: DatasourceMetrics) -> Self {
        let written = (state.clone(), metrics.clone());
        Self {
            backlog_full: metrics.parked >= BACKLOG_ROOM,
            state,
            metrics,
            written,
            last_report: None,
            happenings: Vec::new(),
            drifts: Drifts::default(),
            on_its_way: None,
        }
    }

    fn is_overdue(&self, desired: &DesiredDatasource, now: Timestamp, deadline: TimeDelta) -> bool {
        self.on_its_way
            .is_some_and(|(generation, since)| generation == desired.generation && now - since >= deadline)
    }

    /// Notes since when it has been on its way; a new command is a new way.
    fn note_way(&mut self, desired: &DesiredDatasource, now: Timestamp) {
        self.on_its_way = match self.on_its_way {
            _ if !is_on_its_way(desired, &self.state) => None,
            Some((generation, since)) if generation == desired.generation => Some((generation, since)),
            _ => Some((desired.generation, now)),
        };
    }

    /// Whether silence is no news yet: somebody was at work, and should still be.
    fn is_waited_for(&self, desired: &DesiredDatasource) -> bool {
        let expects = desired.is_to_run() || self.state.observed_generation != desired.generation;
        self.state.worker.is_some() && expects
    }

    fn has_news(&self) -> bool {
        !self.happenings.is_empty() || differs(&self.state, &self.written.0)
    }

    fn has_numbers(&self) -> bool {
        let (state, metrics) = &self.written;
        let aged = match (self.state.last_heartbeat, state.last_heartbeat) {
            (Some(now), Some(written)) => now - written >= HEARTBEAT_AGE,
            (now, written) => now != written,
        };
        aged || self.metrics != *metrics
            || self.state.last_event_at != state.last_event_at
            || self.state.schedule != state.schedule
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
