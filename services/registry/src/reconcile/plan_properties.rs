//! What every plan promises, on random histories of workers, loads and datasources.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::WorkerMember,
    clock::Timestamp,
    id::{DatasourceId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
};
use proptest::prelude::*;
use serde_json::json;

use super::{
    desired::DesiredDatasource,
    observed::{IDLE, Observed},
    placement::Work,
    plan::{CurrentAssignments, Plan, Workers, plan},
    plan_tests::{PARTITIONS, datasource, member, partitions, run_with, settled, worker},
    tests_support::heartbeat,
};

#[derive(Clone, Debug)]
struct Step {
    workers: BTreeSet<u8>,
    draining: BTreeSet<u8>,
    sources: BTreeMap<u8, u8>,
    busy: Vec<(u16, u64)>,
    seconds: i64,
    let_go: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let workers = proptest::collection::btree_set(1..7_u8, 0..6);
    let draining = proptest::collection::btree_set(1..7_u8, 0..2);
    let sources = proptest::collection::btree_map(0..14_u8, 0..7_u8, 0..12);
    let busy = proptest::collection::vec((0..PARTITIONS, 0..400_000_u64), 0..4);
    (workers, draining, sources, busy, 0..5_i64, any::<bool>()).prop_map(
        |(workers, draining, sources, busy, seconds, let_go)| Step {
            workers,
            draining,
            sources,
            busy,
            seconds,
            let_go,
        },
    )
}

/// Workers 5 and 6 are of the pool `edge`.
fn members(step: &Step) -> Vec<WorkerMember> {
    let one = |number: &u8| {
        let mut member = member(u128::from(*number));
        member.draining = step.draining.contains(number);
        if *number >= 5 {
            member.pool = "edge".to_owned();
        }
        member
    };
    step.workers.iter().map(one).collect()
}

fn source_of(number: u8, state: u8) -> DesiredDatasource {
    let mut source = datasource(u128::from(number), number % 2 == 1);
    source.shared = number.is_multiple_of(3);
    let mut runtime = json!({"parallelism": if source.shared { 2 } else { 1 }});
    match state {
        0 => source.status = DatasourceStatus::Disabled,
        1 => source.desired = DesiredState::Stopped,
        2 => source.status = DatasourceStatus::Archived,
        3 => source.status = DatasourceStatus::Draft,
        4 => runtime["worker_labels"] = json!(["edge"]),
        _ => {}
    }
    if state == 3 {
        source.wanted = None;
    } else if let Some(version) = &mut source.wanted {
        version.config["runtime"] = runtime;
    }
    source
}

/// Work with its worker, and with the epoch of that.
fn hands(current: &CurrentAssignments) -> BTreeMap<Work, (Option<WorkerId>, Option<WorkerId>, u64)> {
    let partitions = current
        .partitions
        .values()
        .map(|held| (Work::Partition(held.partition), (held.worker, None, held.epoch)));
    let sources = current.datasources.values().flat_map(|assignment| {
        (0_u16..).zip(&assignment.instances).map(|(index, held)| {
            let work = Work::Source(assignment.datasource, index);
            (work, (held.worker, held.leaving, held.epoch))
        })
    });
    partitions.chain(sources).collect()
}

/// Every change of hands raises the epoch, and nothing else does.
fn assert_epochs(before: &CurrentAssignments, after: &CurrentAssignments) {
    let after = hands(after);
    for (work, (worker, leaving, epoch)) in hands(before) {
        let Some((to, leaves, raised)) = after.get(&work) else {
            continue;
        };
        assert_eq!((worker, leaving) != (*to, *leaves), *raised > epoch, "{work:?}");
    }
}

/// An instance changes its worker only when that one is gone or has let go of it.
fn assert_exclusive(
    before: &CurrentAssignments,
    after: &CurrentAssignments,
    present: &BTreeSet<WorkerId>,
    released: &BTreeSet<(DatasourceId, u16)>,
) {
    let after = hands(after);
    for (work, (worker, leaving, _)) in hands(before) {
        let Work::Source(datasource, index) = work else {
            continue;
        };
        let Some((Some(to), ..)) = after.get(&work) else {
            continue;
        };
        let from = worker
            .or(leaving)
            .filter(|from| present.contains(from) && from != to);
        let handed_over = released.contains(&(datasource, index));
        assert!(from.is_none() || handed_over, "{work:?} is taken from {from:?}");
    }
}

/// The loads of the workers of a pool that may be given work.
fn loads(
    current: &CurrentAssignments,
    members: &[WorkerMember],
    observed: &Observed,
) -> BTreeMap<WorkerId, u64> {
    let staying = members.iter().filter(|member| !member.draining);
    let mut loads: BTreeMap<WorkerId, u64> = staying.map(|member| (member.worker, 0)).collect();
    for (work, (holder, ..)) in hands(current) {
        if let Some(load) = holder.and_then(|holder| loads.get_mut(&holder)) {
            *load += observed.weight(work);
        }
    }
    loads
}

fn assert_placed(current: &CurrentAssignments, members: &[WorkerMember], sources: &[DesiredDatasource]) {
    let fits = |pool: &str| -> BTreeSet<WorkerId> {
        let fit = members
            .iter()
            .filter(|member| !member.draining && member.pool == pool);
        fit.map(|member| member.worker).collect()
    };
    let present: BTreeSet<WorkerId> = members.iter().map(|member| member.worker).collect();
    for (number, pool) in partitions().all() {
        let (fit, holder) = (
            fits(pool),
            current.partitions.get(&number).and_then(|held| held.worker),
        );
        assert!(holder.is_none_or(|holder| present.contains(&holder)));
        assert!(
            fit.is_empty() || holder.is_some_and(|holder| fit.contains(&holder)),
            "{number}"
        );
    }
    for source in sources {
        let published = source.wanted.is_some() && source.status != DatasourceStatus::Archived;
        let assignment = current.datasources.get(&source.datasource);
        assert_eq!(assignment.is_some(), published);
        let Some(assignment) = assignment else { continue };
        assert_eq!(assignment.instances.len(), usize::from(source.shares()));
        let labels = source.labels();
        let fit = fits(labels.first().map_or("default", String::as_str));
        let on: Vec<WorkerId> = assignment
            .instances
            .iter()
            .filter_map(|held| held.worker)
            .collect();
        assert_eq!(
            on.iter().collect::<BTreeSet<_>>().len(),
            on.len(),
            "two instances on one worker"
        );
        assert!(on.iter().all(|holder| present.contains(holder)));
        if source.is_to_run() && !fit.is_empty() {
            assert!(
                on.iter().all(|holder| fit.contains(holder)),
                "a label is not respected"
            );
            let under_way = assignment
                .instances
                .iter()
                .filter(|held| held.leaving.is_some())
                .count();
            assert!(on.len() + under_way >= on.len().max(1).min(usize::from(source.shares())));
        }
    }
}

fn planned(
    sources: &[DesiredDatasource],
    current: &CurrentAssignments,
    members: &[WorkerMember],
    observed: &Observed,
    released: &BTreeSet<(DatasourceId, u16)>,
    now: Timestamp,
) -> Plan {
    let workers = Workers {
        members,
        observed,
        released,
        balance_at: Timestamp::default(),
    };
    plan(sources, current, workers, &partitions(), now)
}

proptest! {
    #[test]
    fn a_random_history_keeps_every_promise(steps in proptest::collection::vec(step(), 1..8)) {
        let (mut current, mut observed) = (CurrentAssignments::default(), Observed::default());
        let mut now = settled();
        for step in steps {
            now += TimeDelta::seconds(step.seconds);
            observed.hear(&heartbeat(worker(1), &step.busy)((now - settled()).num_seconds()));
            let members = members(&step);
            let present: BTreeSet<WorkerId> = members.iter().map(|member| member.worker).collect();
            let sources: Vec<_> = step.sources.iter().map(|(id, state)| source_of(*id, *state)).collect();
            // Some are told to let go and have not yet, others have.
            let released: BTreeSet<_> = hands(&current).into_iter().filter_map(|(work, (_, leaving, _))| match work {
                Work::Source(datasource, index) if leaving.is_some() && step.let_go => Some((datasource, index)),
                _ => None,
            }).collect();
            let before = current.clone();
            let made = planned(&sources, &current, &members, &observed, &released, now);
            made.actions.into_iter().for_each(|action| current.apply(action));
            assert_epochs(&before, &current);
            assert_exclusive(&before, &current, &present, &released);
            assert_placed(&current, &members, &sources);

            // Stable: nothing new, nothing to do, however long it takes.
            let none = BTreeSet::new();
            let again = planned(&sources, &current, &members, &observed, &none, now + TimeDelta::hours(1));
            prop_assert!(again.actions.is_empty(), "planning again: {:?}", again.actions);
            prop_assert!(again.next_due.is_none());

            // Converges: all that is under way arrives, in a few plans.
            let mut rounds = 0;
            while !run_with(&sources, &mut current, &members, &observed, now).actions.is_empty() {
                rounds += 1;
                prop_assert!(rounds < 4, "it does not come to rest");
            }
            prop_assert!(hands(&current).values().all(|(_, leaving, _)| leaving.is_none_or(|_| members.is_empty())));
        }
    }

    /// A worker that joins gets its share and nothing else moves; one that leaves moves only what it had.
    #[test]
    fn only_what_must_move_moves(workers in 1..6_u8, sources in 0..40_u8) {
        let (observed, now) = (Observed::default(), settled());
        let sources: Vec<_> = (0..sources).map(|number| datasource(u128::from(number) * 2 + 1, true)).collect();
        let all: Vec<WorkerMember> = (1..=workers + 1).map(|number| WorkerMember {
            pool: "default".to_owned(),
            ..member(u128::from(number))
        }).collect();
        let (few, newcomer) = (&all[..usize::from(workers)], all[usize::from(workers)].worker);
        let mut current = CurrentAssignments::default();
        for number in 1..=few.len() {
            while !run_with(&sources, &mut current, &few[..number], &observed, now).actions.is_empty() {}
        }
        let settle = |current: &mut CurrentAssignments, members: &[WorkerMember]| {
            while !run_with(&sources, current, members, &observed, now).actions.is_empty() {}
        };
        let before = hands(&current);
        settle(&mut current, &all);
        let joined = hands(&current);
        let moved: Vec<_> = joined.iter().filter(|(work, held)| before[work].0 != held.0).collect();
        prop_assert!(moved.iter().all(|(_, held)| held.0 == Some(newcomer)), "work moved between the others");
        let items = usize::from(PARTITIONS) + sources.len();
        prop_assert!(moved.len() <= items.div_ceil(all.len()), "{} of {items} moved", moved.len());
        let shares = loads(&current, &all, &observed);
        let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
        prop_assert!((most - least) * 5 <= most + least + 5 * IDLE, "{shares:?}");

        settle(&mut current, few);
        let left = hands(&current);
        let moved = left.iter().filter(|(work, held)| joined[work].0 != held.0);
        prop_assert!(moved.clone().all(|(work, _)| joined[work].0 == Some(newcomer)), "others' work moved");
    }
}
