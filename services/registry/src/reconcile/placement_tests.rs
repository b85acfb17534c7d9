//! Where work goes: labels, shared sources, load and sessions, on examples.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use halcyon_domain::{assignment::WorkerMember, id::WorkerId};
use serde_json::json;

use super::{
    desired::DesiredDatasource,
    observed::Observed,
    placement::Work,
    plan::CurrentAssignments,
    plan_tests::{EDGE, datasource, member, only, run, run_with, settled, worker},
    tests_support::heartbeat,
};

#[test]
fn a_source_waits_for_a_worker_with_its_label_and_runs_once_it_is_there() {
    let mut source = datasource(1, true);
    source.wanted.as_mut().unwrap().config["runtime"] = json!({"worker_labels": ["edge", "eu"]});
    let sources = [source];
    let id = sources[0].datasource;
    let mut current = CurrentAssignments::default();
    let plan = run(&sources, &mut current, &[member(1)], settled());
    assert_eq!(
        plan.waiting[&id],
        "no worker with the labels `edge`, `eu` is there"
    );
    assert_eq!(only(&current, &sources[0]).worker, None);
    let fitting = WorkerMember {
        pool: "edge".to_owned(),
        labels: BTreeSet::from(["eu".to_owned()]),
        ..member(2)
    };
    let plan = run(&sources, &mut current, &[member(1), fitting], settled());
    assert!(plan.waiting.is_empty());
    assert_eq!(only(&current, &sources[0]).worker, Some(worker(2)));
    let plan = run(&sources, &mut current, &[member(1)], settled());
    assert_eq!(
        (plan.waiting.len(), only(&current, &sources[0]).worker),
        (1, None)
    );
}

#[test]
fn a_pushed_feed_of_a_pool_waits_for_a_worker_of_it() {
    let mut feed = datasource(1, false);
    feed.wanted.as_mut().unwrap().config["runtime"] = json!({"worker_labels": ["edge"]});
    let feeds = [feed];
    let mut current = CurrentAssignments::default();
    let plan = run(&feeds, &mut current, &[member(1)], settled());
    assert_eq!(
        plan.waiting[&feeds[0].datasource],
        "no worker with the label `edge` is there"
    );
    assert_eq!(current.routes[&feeds[0].datasource].pool.as_deref(), Some("edge"));
    let edge = WorkerMember {
        pool: "edge".to_owned(),
        ..member(2)
    };
    assert!(
        run(&feeds, &mut current, &[member(1), edge], settled())
            .waiting
            .is_empty()
    );
}

#[test]
fn instances_of_a_shared_source_run_on_workers_of_their_own() {
    let mut source = datasource(1, true);
    source.shared = true;
    source.wanted.as_mut().unwrap().config["runtime"] = json!({"parallelism": 3});
    let sources = [source];
    let mut current = CurrentAssignments::default();
    let on = |current: &CurrentAssignments| -> Vec<Option<WorkerId>> {
        let instances = &current.datasources[&sources[0].datasource].instances;
        instances.iter().map(|instance| instance.worker).collect()
    };
    run(&sources, &mut current, &[member(1), member(2)], settled());
    let mut two = on(&current);
    two.sort();
    assert_eq!(two, [None, Some(worker(1)), Some(worker(2))]);
    let plan = run(
        &sources,
        &mut current,
        &[member(1), member(2), member(3)],
        settled(),
    );
    assert!(plan.waiting.is_empty());
    let all: BTreeSet<_> = on(&current).into_iter().flatten().collect();
    assert_eq!(all, BTreeSet::from([worker(1), worker(2), worker(3)]));
}

#[test]
fn load_and_not_number_is_balanced_and_small_differences_move_nothing() {
    let mut current = CurrentAssignments::default();
    let members = [member(1), member(2)];
    run(&[], &mut current, &members, settled());
    let busy = current
        .partitions
        .values()
        .find(|held| held.worker == Some(worker(1)));
    let busy = busy.unwrap().partition;
    let say = |load| heartbeat(worker(1), &[(busy, load)]);
    let mut observed = Observed::default();
    for second in 0..60 {
        observed.hear(&say(60_000)(second));
    }
    let small = run_with(&[], &mut current, &members, &observed, settled());
    assert!(small.actions.is_empty(), "{:?}", small.actions);
    for second in 60..180 {
        observed.hear(&say(900_000)(second));
    }
    let plan = run_with(&[], &mut current, &members, &observed, settled());
    assert!(plan.balances);
    assert_eq!(
        current.partitions[&busy].worker,
        Some(worker(1)),
        "the busy one stays"
    );
    assert!(
        plan.actions.len() >= 5,
        "the others leave it room: {}",
        plan.actions.len()
    );
    let again = run_with(&[], &mut current, &members, &observed, settled());
    assert!(again.actions.is_empty() && !again.balances);
}

#[test]
fn a_worker_that_has_lost_its_lease_and_has_it_again_is_given_its_source_anew() {
    let sources = [datasource(1, true)];
    let mut current = CurrentAssignments::default();
    run(&sources, &mut current, &[member(1)], settled());
    let before = only(&current, &sources[0]);
    let again = WorkerMember {
        session: 2,
        ..member(1)
    };
    run(&sources, &mut current, &[again], settled());
    let after = only(&current, &sources[0]);
    assert_eq!((after.worker, after.session), (Some(worker(1)), 2));
    assert_eq!(after.epoch, before.epoch + 1);
}

fn holders(current: &CurrentAssignments) -> BTreeMap<Work, Option<WorkerId>> {
    let partitions = current.partitions.values();
    let partitions = partitions.map(|held| (Work::Partition(held.partition), held.worker));
    let sources = current.datasources.values();
    let sources = sources.map(|held| (Work::Source(held.datasource, 0), held.instances[0].worker));
    partitions.chain(sources).collect()
}

/// Plans until nothing is left to do, and says what is another's then.
fn moved(
    sources: &[DesiredDatasource],
    current: &mut CurrentAssignments,
    members: &[WorkerMember],
) -> Vec<(Work, Option<WorkerId>)> {
    let before = holders(current);
    while !run(sources, current, members, settled()).actions.is_empty() {}
    let after = holders(current);
    let moved = before.into_iter().filter(|(work, held)| after[work] != *held);
    moved.collect()
}

/// The table of `docs/cluster.md`; `--no-capture` shows it.
#[test]
fn moves_when_one_of_many_workers_dies_are_what_it_had() {
    const SOURCES: u128 = 1_000;
    let sources: Vec<_> = (1..=SOURCES).map(|number| datasource(number, true)).collect();
    println!("workers  sources  moved when one dies  moved when another one joins  all plans of the first");
    for workers in [2, 4, 8, 16] {
        let members: Vec<_> = (1..=workers).map(member).collect();
        let mut current = CurrentAssignments::default();
        moved(&sources, &mut current, &members);
        let dead = worker(1);
        let had = holders(&current)
            .values()
            .filter(|held| **held == Some(dead))
            .count();
        let began = Instant::now();
        let died = moved(&sources, &mut current, &members[1..]);
        let took = began.elapsed();
        assert!(died.iter().all(|(_, held)| *held == Some(dead)));
        assert_eq!(died.len(), had);
        let newcomer = [&members[1..], &[member(workers + 1)]].concat();
        let joined = moved(&sources, &mut current, &newcomer);
        let work = holders(&current).len();
        assert!(joined.len() <= work.div_ceil(newcomer.len()));
        assert!(holders(&current).values().filter(|held| held.is_none()).count() <= usize::from(EDGE.count));
        println!(
            "{workers:>7}  {SOURCES:>7}  {:>19}  {:>28}  {took:>22.0?}",
            died.len(),
            joined.len()
        );
    }
}
