//! What is to be written so that the bus says what the database wants: a pure function of what is wanted, what
//! stands on the bus, who is there, and the time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{Assignment, IngestRoute, Instance, PartitionAssignment, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
    partition::Partitions,
};

use super::{
    desired::DesiredDatasource,
    labels::Labels,
    observed::Observed,
    placement::{Placed, Work, place},
};

/// How long after the newest worker was seen first work is taken from others for balance, so that a fleet that starts
/// one by one does not move each partition several times. Whoever calls [`plan`] sees to it by
/// [`Workers::balance_at`]: by the clock of the one who plans, for workers' clocks may show anything.
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
    /// Whether work is taken from workers that could keep it, for balance.
    pub balances: bool,
    /// The datasources that no worker can run now, and what is missing.
    pub waiting: BTreeMap<DatasourceId, String>,
}

/// Who is there, and what they say.
#[derive(Clone, Copy, Debug)]
pub struct Workers<'a> {
    /// The workers whose lease stands: one that is not among them has lost its work.
    pub members: &'a [WorkerMember],
    /// How busy their work keeps them.
    pub observed: &'a Observed,
    /// The instances whose worker was to let go of them and has.
    pub released: &'a BTreeSet<(DatasourceId, u16)>,
    /// Before that time no work is taken from a worker for balance.
    pub balance_at: Timestamp,
}

/// Plans. `desired` is the whole of what is wanted: what stands on the bus and is not in it is deleted.
///
/// A partition moves as soon as its holder leaves, and to balance the workers: its holders may overlap for a
/// moment. An instance of a source goes to another worker only when its worker's lease is gone or its worker has let
/// go of it.
#[must_use]
pub fn plan(
    desired: &[DesiredDatasource],
    current: &CurrentAssignments,
    workers: Workers<'_>,
    partitions: &Partitions,
    now: Timestamp,
) -> Plan {
    let members = workers.members;
    let balance_at = workers.balance_at;
    let labels = Labels::new(desired, partitions);
    let items = labels.items(desired, current, workers.observed);
    let Placed { holders, unbalanced } = place(&items, members, balance_at <= now);

    let mut plan = Plan {
        next_due: (unbalanced && balance_at > now).then_some(balance_at),
        balances: unbalanced && balance_at <= now,
        ..Plan::default()
    };
    let held = partitions.all().filter_map(|(number, _)| {
        let worker = holders.get(&Work::Partition(number)).copied().flatten();
        change_partition(current.partitions.get(&number), number, worker)
    });
    plan.actions.extend(held.map(Action::PutPartition));
    let alive: BTreeMap<WorkerId, u64> = members
        .iter()
        .map(|member| (member.worker, member.session))
        .collect();
    let hands = Hands {
        holders: &holders,
        alive: &alive,
        released: workers.released,
    };
    plan_datasources(desired, current, &hands, now, &mut plan.actions);
    plan_routes(desired, current, &mut plan.actions);
    plan.waiting = labels.waiting(desired, &holders, alive.is_empty(), partitions);
    plan
}

fn change_partition(
    before: Option<&PartitionAssignment>,
    partition: u16,
    worker: Option<WorkerId>,
) -> Option<PartitionAssignment> {
    let epoch = match before {
        Some(before) if before.worker == worker => return None,
        Some(before) => before.epoch + 1,
        None => 1,
    };
    Some(PartitionAssignment {
        partition,
        worker,
        epoch,
    })
}

/// In whose hands instances are to be, and who is there to hand them over.
struct Hands<'a> {
    holders: &'a BTreeMap<Work, Option<WorkerId>>,
    /// The workers that are there, and their sessions.
    alive: &'a BTreeMap<WorkerId, u64>,
    released: &'a BTreeSet<(DatasourceId, u16)>,
}

impl Hands<'_> {
    /// An instance as it is to be: with the worker that it is meant for, or on its way there.
    fn instance(&self, datasource: DatasourceId, index: u16, before: Instance, runs: bool) -> Instance {
        let target = self
            .holders
            .get(&Work::Source(datasource, index))
            .copied()
            .flatten();
        let session = |worker: WorkerId| self.alive.get(&worker).copied();
        let is_released = self.released.contains(&(datasource, index));
        let hand = |worker: Option<WorkerId>, leaving| Instance {
            worker,
            session: worker.and_then(session).unwrap_or_default(),
            leaving,
            epoch: before.epoch + 1,
        };
        // A worker that has lost its lease since has stopped.
        let holder = before
            .worker
            .filter(|holder| session(*holder) == Some(before.session));
        match (holder, before.leaving) {
            // It is stopped: its worker stays, to say that it has stopped.
            (Some(_), _) if !runs => before,
            (Some(holder), _) if target == Some(holder) => before,
            (Some(holder), _) if !is_released => hand(None, Some(holder)),
            (None, Some(from)) if target != Some(from) && session(from).is_some() && !is_released => before,
            (None, None) if target.is_none() && before.worker.is_none() => before,
            _ => hand(target, None),
        }
    }
}

fn plan_datasources(
    desired: &[DesiredDatasource],
    current: &CurrentAssignments,
    hands: &Hands<'_>,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let mut wanted = BTreeSet::new();
    for datasource in desired {
        let before = current.datasources.get(&datasource.datasource);
        let Some(mut assignment) = assignment_of(datasource) else {
            continue;
        };
        wanted.insert(datasource.datasource);
        if let Some(before) = before.filter(|before| before.wanted == assignment.wanted) {
            // Once the wanted version is the good one, the one before it stays what it was: no reason to write.
            assignment.last_good = assignment.last_good.or_else(|| before.last_good.clone());
        }
        let runs = assignment.desired == DesiredState::Running;
        let known = before.map_or(&[][..], |before| &before.instances);
        assignment.instances = (0..datasource.shares())
            .map(|index| {
                let before = known.get(usize::from(index)).copied();
                let before = before.unwrap_or_else(|| Instance {
                    epoch: first_epoch(now),
                    ..Instance::default()
                });
                hands.instance(datasource.datasource, index, before, runs)
            })
            .collect();
        if before != Some(&assignment) {
            actions.push(Action::PutAssignment(Box::new(assignment)));
        }
    }
    let gone = current.datasources.keys().filter(|id| !wanted.contains(id));
    actions.extend(gone.map(|id| Action::DeleteAssignment(*id)));
}

/// What is to be done about a datasource, its instances left open; nothing for what is not published.
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
        accepted: datasource.accepted,
        desired,
        instances: Vec::new(),
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
        backfill: datasource.backfill,
    })
}

/// The epoch of an instance that is not on the bus: above those of all before it, should the bucket have been lost.
/// A checkpoint that was claimed under a later epoch could never be claimed again.
fn first_epoch(now: Timestamp) -> u64 {
    u64::try_from(now.timestamp()).unwrap_or_default()
}

fn plan_routes(desired: &[DesiredDatasource], current: &CurrentAssignments, actions: &mut Vec<Action>) {
    let mut wanted = BTreeSet::new();
    for datasource in desired {
        if datasource.status == DatasourceStatus::Archived || datasource.backfill.is_some() {
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
        pool: datasource.labels().into_iter().next(),
        secrets_revision: datasource.secrets_revision,
        backlog_full: datasource.backlog_full,
    }
}
