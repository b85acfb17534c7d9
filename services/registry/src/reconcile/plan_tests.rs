//! What a plan promises, on examples and on random histories.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{AssignedVersion, DEFAULT_POOL, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, InstanceId, OrganizationId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{
    desired::DesiredDatasource,
    plan::{CurrentAssignments, Plan, SETTLE, plan},
};

const PARTITIONS: u16 = 16;

fn worker(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

fn member(number: u128) -> WorkerMember {
    WorkerMember {
        worker: worker(number),
        instance: InstanceId(Uuid::from_u128(number)),
        pool: DEFAULT_POOL.to_owned(),
        started_at: Timestamp::default(),
        draining: false,
    }
}

fn datasource(number: u128, pull: bool) -> DesiredDatasource {
    DesiredDatasource {
        datasource: DatasourceId(Uuid::from_u128(number)),
        organization: OrganizationId(Uuid::from_u128(1)),
        connector: if pull { "generator" } else { "http_webhook" }.to_owned(),
        pull,
        status: DatasourceStatus::Active,
        desired: DesiredState::Running,
        generation: 1,
        wanted: Some(AssignedVersion {
            number: 1,
            config: json!({"connection": {"auth": {"type": "none"}}}),
        }),
        last_good: None,
        secrets_revision: 0,
        backlog_full: false,
        secret_fault: None,
    }
}

fn settled() -> Timestamp {
    Timestamp::default() + SETTLE
}

fn run(
    desired: &[DesiredDatasource],
    current: &mut CurrentAssignments,
    members: &[WorkerMember],
    now: Timestamp,
) -> Plan {
    let plan = plan(desired, current, members, PARTITIONS, now);
    plan.actions
        .iter()
        .cloned()
        .for_each(|action| current.apply(action));
    plan
}

fn held(current: &CurrentAssignments) -> BTreeMap<WorkerId, usize> {
    let mut held = BTreeMap::new();
    for worker in current
        .partitions
        .values()
        .filter_map(|partition| partition.worker)
    {
        *held.entry(worker).or_default() += 1;
    }
    held
}

#[test]
fn a_second_worker_takes_half_once_it_has_settled() {
    let mut current = CurrentAssignments::default();
    run(&[], &mut current, &[member(1)], settled());
    assert_eq!(held(&current), BTreeMap::from([(worker(1), 16)]));

    let late = WorkerMember {
        started_at: settled(),
        ..member(2)
    };
    let early = run(&[], &mut current, &[member(1), late.clone()], settled());
    assert!(early.actions.is_empty());
    assert_eq!(early.next_due, Some(settled() + SETTLE));

    let balanced = run(&[], &mut current, &[member(1), late], settled() + SETTLE);
    assert_eq!((balanced.actions.len(), balanced.next_due), (8, None));
    assert_eq!(held(&current), BTreeMap::from([(worker(1), 8), (worker(2), 8)]));
}

#[test]
fn a_worker_that_leaves_gives_its_partitions_at_once_and_its_source_when_it_is_gone() {
    let sources = [datasource(1, true)];
    let mut current = CurrentAssignments::default();
    run(&sources, &mut current, &[member(1)], settled());
    let first = current.datasources[&sources[0].datasource].epoch;
    let leaving = WorkerMember {
        draining: true,
        ..member(1)
    };

    run(&sources, &mut current, std::slice::from_ref(&leaving), settled());
    assert_eq!(
        held(&current),
        BTreeMap::from([(worker(1), 16)]),
        "there is nobody else"
    );

    run(&sources, &mut current, &[leaving, member(2)], settled());
    assert_eq!(held(&current), BTreeMap::from([(worker(2), 16)]));
    assert_eq!(
        current.datasources[&sources[0].datasource].worker,
        Some(worker(1))
    );

    run(&sources, &mut current, &[member(2)], settled());
    let assignment = &current.datasources[&sources[0].datasource];
    assert_eq!(
        (assignment.worker, assignment.epoch),
        (Some(worker(2)), first + 1)
    );
}

#[test]
fn a_source_whose_assignment_was_lost_goes_on_above_its_epochs() {
    let sources = [datasource(1, true)];
    let id = sources[0].datasource;
    let mut current = CurrentAssignments::default();
    run(&sources, &mut current, &[member(1)], settled());
    for number in 2..5 {
        run(&sources, &mut current, &[member(number)], settled());
    }
    let before = current.datasources[&id].epoch;
    let mut lost = CurrentAssignments::default();
    run(
        &sources,
        &mut lost,
        &[member(4)],
        settled() + TimeDelta::minutes(1),
    );
    assert!(lost.datasources[&id].epoch > before);
}

#[test]
fn workers_of_another_pool_get_nothing() {
    let mut current = CurrentAssignments::default();
    let other = WorkerMember {
        pool: "edge".to_owned(),
        ..member(1)
    };
    run(&[datasource(1, true)], &mut current, &[other], settled());
    assert!(held(&current).is_empty());
    assert!(
        current
            .datasources
            .values()
            .all(|assignment| assignment.worker.is_none())
    );
}

#[test]
fn a_draft_has_a_route_and_nothing_to_do() {
    let draft = DesiredDatasource {
        status: DatasourceStatus::Draft,
        wanted: None,
        ..datasource(1, false)
    };
    let mut current = CurrentAssignments::default();
    run(&[draft], &mut current, &[member(1)], settled());
    assert!(current.datasources.is_empty());
    assert_eq!(
        current
            .routes
            .values()
            .map(|route| route.status)
            .collect::<Vec<_>>(),
        [DatasourceStatus::Draft]
    );
}

#[test]
fn a_disabled_source_stops_and_a_disabled_feed_finishes_what_it_accepted() {
    let disable = |source| DesiredDatasource {
        status: DatasourceStatus::Disabled,
        ..source
    };
    let (push, pull) = (disable(datasource(1, false)), disable(datasource(2, true)));
    let mut current = CurrentAssignments::default();
    run(
        &[push.clone(), pull.clone()],
        &mut current,
        &[member(1)],
        settled(),
    );
    assert_eq!(
        current.datasources[&push.datasource].desired,
        DesiredState::Running
    );
    assert_eq!(
        current.datasources[&pull.datasource].desired,
        DesiredState::Stopped
    );
    assert_eq!(current.datasources[&pull.datasource].worker, None);
    assert!(
        current
            .routes
            .values()
            .all(|route| !route.status.accepts_events())
    );
}

#[test]
fn what_is_archived_or_gone_leaves_the_bus() {
    let mut current = CurrentAssignments::default();
    run(
        &[datasource(1, false), datasource(2, true)],
        &mut current,
        &[member(1)],
        settled(),
    );
    let archived = DesiredDatasource {
        status: DatasourceStatus::Archived,
        ..datasource(1, false)
    };
    run(&[archived], &mut current, &[member(1)], settled());
    assert!(current.datasources.is_empty() && current.routes.is_empty());
}

#[test]
fn a_change_of_version_moves_nothing() {
    let mut source = datasource(1, true);
    let mut current = CurrentAssignments::default();
    run(
        std::slice::from_ref(&source),
        &mut current,
        &[member(1), member(2)],
        settled(),
    );
    let before = current.datasources[&source.datasource].clone();

    source.generation = 2;
    source.last_good = source.wanted.clone();
    source.wanted = Some(AssignedVersion {
        number: 2,
        config: json!({}),
    });
    let plan = run(
        std::slice::from_ref(&source),
        &mut current,
        &[member(1), member(2)],
        settled(),
    );
    let after = &current.datasources[&source.datasource];
    assert_eq!((after.worker, after.epoch), (before.worker, before.epoch));
    assert_eq!(
        (after.wanted.number, after.last_good.as_ref().unwrap().number),
        (2, 1)
    );
    assert_eq!(plan.actions.len(), 2, "the assignment and the route");
}

#[derive(Clone, Debug)]
struct Step {
    workers: BTreeSet<u8>,
    draining: BTreeSet<u8>,
    sources: BTreeMap<u8, u8>,
    seconds: i64,
}

fn step() -> impl Strategy<Value = Step> {
    let workers = proptest::collection::btree_set(1..6_u8, 0..5);
    let draining = proptest::collection::btree_set(1..6_u8, 0..2);
    let sources = proptest::collection::btree_map(0..12_u8, 0..5_u8, 0..10);
    (workers, draining, sources, 0..5_i64).prop_map(|(workers, draining, sources, seconds)| Step {
        workers,
        draining,
        sources,
        seconds,
    })
}

fn source_of(number: u8, state: u8) -> DesiredDatasource {
    let mut source = datasource(u128::from(number), number % 2 == 1);
    match state {
        0 => source.status = DatasourceStatus::Disabled,
        1 => source.desired = DesiredState::Stopped,
        2 => source.status = DatasourceStatus::Archived,
        3 => (source.status, source.wanted) = (DatasourceStatus::Draft, None),
        _ => {}
    }
    source
}

/// Every change of hands raises the epoch, and nothing else does.
fn assert_epochs(before: &CurrentAssignments, after: &CurrentAssignments) {
    for (id, was) in &before.datasources {
        let Some(is) = after.datasources.get(id) else {
            continue;
        };
        assert_eq!(is.worker != was.worker, is.epoch > was.epoch, "datasource {id}");
    }
    for (number, was) in &before.partitions {
        let is = &after.partitions[number];
        assert_eq!(
            is.worker != was.worker,
            is.epoch > was.epoch,
            "partition {number}"
        );
    }
}

fn moved(before: &CurrentAssignments, after: &CurrentAssignments, workers: &BTreeSet<WorkerId>) -> usize {
    let stays = |partition: u16| {
        before.partitions[&partition]
            .worker
            .is_some_and(|worker| workers.contains(&worker))
    };
    let changed = |partition: &u16| before.partitions[partition].worker != after.partitions[partition].worker;
    (0..PARTITIONS)
        .filter(|partition| stays(*partition))
        .filter(changed)
        .count()
}

proptest! {
    #[test]
    fn a_random_history_keeps_every_promise(steps in proptest::collection::vec(step(), 1..8)) {
        let mut current = CurrentAssignments::default();
        let mut now = settled();
        run(&[], &mut current, &[], now);
        for step in steps {
            now += TimeDelta::seconds(step.seconds);
            let members: Vec<_> = step.workers.iter().map(|number| WorkerMember {
                draining: step.draining.contains(number),
                ..member(u128::from(*number))
            }).collect();
            let sources: Vec<_> = step.sources.iter().map(|(id, state)| source_of(*id, *state)).collect();
            let before = current.clone();
            run(&sources, &mut current, &members, now);
            assert_epochs(&before, &current);

            let again = plan(&sources, &current, &members, PARTITIONS, now);
            prop_assert!(again.actions.is_empty(), "planning again: {:?}", again.actions);

            let fit: BTreeSet<_> = members.iter().filter(|member| !member.draining).map(|member| member.worker).collect();
            let present: BTreeSet<_> = members.iter().map(|member| member.worker).collect();
            prop_assert_eq!(current.partitions.len(), usize::from(PARTITIONS));
            for partition in current.partitions.values() {
                prop_assert!(partition.worker.is_none_or(|worker| present.contains(&worker)));
                if !fit.is_empty() {
                    prop_assert!(partition.worker.is_some_and(|worker| fit.contains(&worker)));
                }
            }
            if !fit.is_empty() {
                let counts: Vec<_> = fit.iter().map(|worker| held(&current).get(worker).copied().unwrap_or(0)).collect();
                let (least, most) = (*counts.iter().min().unwrap(), *counts.iter().max().unwrap());
                prop_assert!(most - least <= 1, "{counts:?}");
                // Only what was above a worker's fair share may have moved.
                let before_counts = held(&before);
                let ceiling = usize::from(PARTITIONS).div_ceil(fit.len());
                let floor = usize::from(PARTITIONS) / fit.len();
                let over = |limit: usize| fit.iter().map(|worker| before_counts.get(worker).copied().unwrap_or(0).saturating_sub(limit)).sum::<usize>();
                prop_assert!(moved(&before, &current, &fit) <= over(floor).max(over(ceiling)));
            }
            for source in &sources {
                let assignment = current.datasources.get(&source.datasource);
                let published = source.wanted.is_some() && source.status != DatasourceStatus::Archived;
                prop_assert_eq!(assignment.is_some(), published);
                let Some(assignment) = assignment else { continue };
                prop_assert!(assignment.worker.is_none_or(|worker| source.pull && present.contains(&worker)));
                if source.pull && source.is_to_run() && !fit.is_empty() {
                    prop_assert!(assignment.worker.is_some());
                }
                let was = before.datasources.get(&source.datasource).and_then(|was| was.worker);
                if let Some(was) = was.filter(|worker| present.contains(worker)) {
                    prop_assert_eq!(assignment.worker, Some(was), "a source moved away from a worker that lives");
                }
            }
            prop_assert!(current.routes.len() <= sources.len());
        }
    }
}
