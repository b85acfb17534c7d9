//! Who holds which partition: each is held by one worker, the workers hold about as many each, and as few as
//! possible move.

use std::collections::{BTreeMap, BTreeSet};

use halcyon_domain::{
    assignment::{PartitionAssignment, WorkerMember},
    id::WorkerId,
};

/// The partitions whose holder changes. `eligible` are the workers that may be given some, `members` also those
/// that are leaving: they keep theirs while there is nobody else. Only when `settled` are partitions taken from
/// a worker for balance.
pub(super) fn assign(
    current: &BTreeMap<u16, PartitionAssignment>,
    eligible: &BTreeSet<WorkerId>,
    members: &[WorkerMember],
    partitions: u16,
    settled: bool,
) -> Vec<PartitionAssignment> {
    let holders = if eligible.is_empty() {
        let leaving: BTreeSet<WorkerId> = members.iter().map(|member| member.worker).collect();
        keep(current, &leaving, partitions)
    } else {
        let mut holders = keep(current, eligible, partitions);
        if settled {
            release_excess(&mut holders, eligible);
        }
        fill(&mut holders, eligible);
        holders
    };
    holders
        .into_iter()
        .filter_map(|(partition, worker)| change(current.get(&partition), partition, worker))
        .collect()
}

type Holders = BTreeMap<u16, Option<WorkerId>>;

/// Each partition with its holder, if that is one of `allowed`.
fn keep(
    current: &BTreeMap<u16, PartitionAssignment>,
    allowed: &BTreeSet<WorkerId>,
    partitions: u16,
) -> Holders {
    let holder = |partition| current.get(&partition).and_then(|held| held.worker);
    (0..partitions)
        .map(|partition| {
            (
                partition,
                holder(partition).filter(|worker| allowed.contains(worker)),
            )
        })
        .collect()
}

fn loads(holders: &Holders, eligible: &BTreeSet<WorkerId>) -> BTreeMap<WorkerId, usize> {
    let mut loads: BTreeMap<WorkerId, usize> = eligible.iter().map(|worker| (*worker, 0)).collect();
    for worker in holders.values().flatten() {
        *loads.entry(*worker).or_default() += 1;
    }
    loads
}

/// Takes partitions from workers that hold more than their share. Those that hold the most keep the one that
/// is left over when the partitions cannot be divided evenly.
fn release_excess(holders: &mut Holders, eligible: &BTreeSet<WorkerId>) {
    let loads = loads(holders, eligible);
    let (share, mut left_over) = (holders.len() / eligible.len(), holders.len() % eligible.len());
    let mut by_load: Vec<(WorkerId, usize)> = loads.into_iter().collect();
    by_load.sort_by_key(|(worker, load)| (std::cmp::Reverse(*load), *worker));
    for (worker, load) in by_load {
        let mut allowed = share;
        if left_over > 0 && load > share {
            allowed += 1;
            left_over -= 1;
        }
        let held = holders
            .values_mut()
            .rev()
            .filter(|holder| **holder == Some(worker));
        held.take(load.saturating_sub(allowed))
            .for_each(|holder| *holder = None);
    }
}

/// Gives each partition without a holder to the worker that holds the fewest.
fn fill(holders: &mut Holders, eligible: &BTreeSet<WorkerId>) {
    let mut loads = loads(holders, eligible);
    for holder in holders.values_mut().filter(|holder| holder.is_none()) {
        if let Some((worker, load)) = loads.iter_mut().min_by_key(|(worker, load)| (**load, **worker)) {
            *holder = Some(*worker);
            *load += 1;
        }
    }
}

fn change(
    before: Option<&PartitionAssignment>,
    partition: u16,
    worker: Option<WorkerId>,
) -> Option<PartitionAssignment> {
    match before {
        Some(before) if before.worker == worker => None,
        Some(before) => Some(PartitionAssignment {
            partition,
            worker,
            epoch: before.epoch + 1,
        }),
        None => Some(PartitionAssignment {
            partition,
            worker,
            epoch: 1,
        }),
    }
}
