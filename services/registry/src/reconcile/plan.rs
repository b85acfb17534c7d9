//! What is to be written so that the bus says what the database wants: a pure function of what is wanted, what
//! stands on the bus, who is there, and the time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{Assignment, DEFAULT_POOL, IngestRoute, PartitionAssignment, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
};

use super::{desired::DesiredDatasource, partitions};

/// How long the newest worker must have been there before partitions are taken from others for balance, so
/// that a fleet that starts one by one does not move each partition several times.
pub const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// What stands on the bus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CurrentAssignments {
    /// The assignments of datasources.
    pub datasources: BTreeMap<DatasourceId, Assignment>,
    /// The assignments of partitions.
    pub partitions: BTreeMap<u16, PartitionAssignment>,
    /// The routes of gateways.
    pub routes: BTreeMap<DatasourceId, IngestRoute>,
}

impl CurrentAssignments {
    /// What stands on the bus once an action is carried out.
    pub fn apply(&mut self, action: Action) {
        match action {
            Action::PutAssignment(assignment) => {
                self.datasources.insert(assignment.datasource, *assignment);
            }
            Action::DeleteAssignment(datasource) => {
                self.datasources.remove(&datasource);
            }
            Action::PutPartition(partition) => {
                self.partitions.insert(partition.partition, partition);
            }
            Action::PutRoute(route) => {
                self.routes.insert(route.datasource, *route);
            }
            Action::DeleteRoute(datasource) => {
                self.routes.remove(&datasource);
            }
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Say what is to be done about a datasource.
    PutAssignment(Box<Assignment>),
    /// Nothing is to be done about it any more.
    DeleteAssignment(DatasourceId),
    /// Give a partition to a worker, or to none.
    PutPartition(PartitionAssignment),
    /// Tell the gateways about a datasource.
    PutRoute(Box<IngestRoute>),
    /// The gateways need not know it any more.
    DeleteRoute(DatasourceId),
}

/// What to do now, and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The writes. Each stands for itself: any part of them may fail and is planned again.
    pub actions: Vec<Action>,
    /// When something will be due although nothing changed.
    pub next_due: Option<Timestamp>,
}

/// Plans. `desired` is the whole of what is wanted: what stands on the bus and is not in it is deleted.
/// `members` are the workers whose lease stands; a worker that is not among them has lost its work.
///
/// A partition moves as soon as its holder leaves, and to balance the workers: its holders may overlap for a
/// moment. A pull datasource moves only when its worker's lease is gone.
#[must_use]
pub fn plan(
    desired: &[DesiredDatasource],
    current: &CurrentAssignments,
    members: &[WorkerMember],
    partitions: u16,
    now: Timestamp,
) -> Plan {
    let mut actions = Vec::new();
    let settled_at = members.iter().map(|member| member.started_at + SETTLE).max();
    let settled = settled_at.is_none_or(|at| at <= now);
    let eligible = eligible(members);
    let held = partitions::assign(&current.partitions, &eligible, members, partitions, settled);
    actions.extend(held.into_iter().map(Action::PutPartition));
    plan_datasources(desired, current, &eligible, members, now, &mut actions);
    plan_routes(desired, current, &mut actions);
    let next_due = settled_at.filter(|_| !settled && eligible.len() > 1);
    Plan { actions, next_due }
}

/// The workers that may be given work.
fn eligible(members: &[WorkerMember]) -> BTreeSet<WorkerId> {
    let fit = members
        .iter()
        .filter(|member| member.pool == DEFAULT_POOL && !member.draining);
    fit.map(|member| member.worker).collect()
}

fn plan_datasources(
    desired: &[DesiredDatasource],
    current: &CurrentAssignments,
    eligible: &BTreeSet<WorkerId>,
    members: &[WorkerMember],
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let alive: BTreeSet<WorkerId> = members.iter().map(|member| member.worker).collect();
    let mut placement = Placement::new(current, eligible);
    let mut wanted = BTreeSet::new();
    for datasource in desired {
        let before = current.datasources.get(&datasource.datasource);
        let Some(mut assignment) = assignment_of(datasource) else {
            continue;
        };
        wanted.insert(datasource.datasource);
        if datasource.pull {
            let held = before.and_then(|before| before.worker);
            assignment.worker = held.filter(|worker| alive.contains(worker));
            if assignment.worker.is_none() && assignment.desired == DesiredState::Running {
                assignment.worker = placement.take();
            }
        }
        if let Some(before) = before.filter(|before| before.wanted == assignment.wanted) {
            // Once the wanted version is the good one, the one before it stays what it was: no reason to write.
            assignment.last_good = assignment.last_good.or_else(|| before.last_good.clone());
        }
        assignment.epoch = before.map_or_else(|| first_epoch(datasource, now), |before| before.epoch);
        if before.and_then(|before| before.worker) != assignment.worker {
            assignment.epoch += 1;
        }
        if before != Some(&assignment) {
            actions.push(Action::PutAssignment(Box::new(assignment)));
        }
    }
    let gone = current.datasources.keys().filter(|id| !wanted.contains(id));
    actions.extend(gone.map(|id| Action::DeleteAssignment(*id)));
}

/// What is to be done about a datasource, worker and epoch left open; nothing for what is not published.
fn assignment_of(datasource: &DesiredDatasource) -> Option<Assignment> {
    let wanted = datasource.wanted.clone()?;
    let desired = match datasource.status {
        DatasourceStatus::Draft | DatasourceStatus::Archived => return None,
        DatasourceStatus::Active => datasource.desired,
        // A disabled source fetches nothing more. What was pushed and accepted before is still processed: the
        // gateways take nothing new.
        DatasourceStatus::Disabled if datasource.pull => DesiredState::Stopped,
        DatasourceStatus::Disabled => datasource.desired,
    };
    Some(Assignment {
        datasource: datasource.datasource,
        organization: datasource.organization,
        connector: datasource.connector.clone(),
        generation: datasource.generation,
        desired,
        worker: None,
        epoch: 0,
        last_good: datasource
            .last_good
            .clone()
            .filter(|good| good.number != wanted.number),
        wanted,
        // A push datasource's secrets are the gateways'.
        secrets_revision: if datasource.pull {
            datasource.secrets_revision
        } else {
            0
        },
    })
}

/// The epoch of an assignment that is not on the bus: above those of all before it, should the bucket have been lost.
/// A checkpoint that was claimed under a later epoch could never be claimed again.
fn first_epoch(datasource: &DesiredDatasource, now: Timestamp) -> u64 {
    if datasource.pull {
        u64::try_from(now.timestamp()).unwrap_or_default()
    } else {
        0
    }
}

/// How many pull datasources each worker has; the next goes to the one with the fewest.
struct Placement(BTreeMap<WorkerId, usize>);

impl Placement {
    fn new(current: &CurrentAssignments, eligible: &BTreeSet<WorkerId>) -> Self {
        let mut load: BTreeMap<WorkerId, usize> = eligible.iter().map(|worker| (*worker, 0)).collect();
        for assignment in current.datasources.values() {
            if let Some(count) = assignment.worker.and_then(|worker| load.get_mut(&worker)) {
                *count += 1;
            }
        }
        Self(load)
    }

    fn take(&mut self) -> Option<WorkerId> {
        let (worker, count) = self
            .0
            .iter_mut()
            .min_by_key(|(worker, count)| (**count, **worker))?;
        *count += 1;
        Some(*worker)
    }
}

fn plan_routes(desired: &[DesiredDatasource], current: &CurrentAssignments, actions: &mut Vec<Action>) {
    let mut wanted = BTreeSet::new();
    for datasource in desired {
        if datasource.status == DatasourceStatus::Archived {
            continue;
        }
        wanted.insert(datasource.datasource);
        let route = route_of(datasource);
        if current.routes.get(&datasource.datasource) != Some(&route) {
            actions.push(Action::PutRoute(Box::new(route)));
        }
    }
    let gone = current.routes.keys().filter(|id| !wanted.contains(id));
    actions.extend(gone.map(|id| Action::DeleteRoute(*id)));
}

fn route_of(datasource: &DesiredDatasource) -> IngestRoute {
    IngestRoute {
        datasource: datasource.datasource,
        organization: datasource.organization,
        connector: datasource.connector.clone(),
        status: datasource.status,
        version: datasource.wanted.as_ref().map(|version| version.number),
        connection: datasource.connection(),
        parallelism: datasource.parallelism(),
        secrets_revision: datasource.secrets_revision,
        backlog_full: datasource.backlog_full,
    }
}
