//! What a plan promises, on examples and on random histories.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{AssignedVersion, DEFAULT_POOL, Instance, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, InstanceId, OrganizationId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState},
    partition::{Partitions, PoolPartitions},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    desired::DesiredDatasource,
    observed::Observed,
    plan::{CurrentAssignments, Plan, SETTLE, Workers, plan},
};

pub(super) const PARTITIONS: u16 = 16;
/// Partitions of the pool `edge`.
pub(super) const EDGE: PoolPartitions = PoolPartitions { first: 100, count: 2 };

pub(super) fn partitions() -> Partitions {
    Partitions::new(PARTITIONS, BTreeMap::from([("edge".to_owned(), EDGE)]))
}

pub(super) fn worker(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

pub(super) fn member(number: u128) -> WorkerMember {
    WorkerMember {
        worker: worker(number),
        instance: InstanceId(Uuid::from_u128(number)),
        pool: DEFAULT_POOL.to_owned(),
        labels: BTreeSet::new(),
        started_at: Timestamp::default(),
        draining: false,
        session: 1,
    }
}

pub(super) fn datasource(number: u128, pull: bool) -> DesiredDatasource {
    DesiredDatasource {
        datasource: DatasourceId(Uuid::from_u128(number)),
        organization: OrganizationId(Uuid::from_u128(1)),
        connector: if pull { "generator" } else { "http_webhook" }.to_owned(),
        pull,
        shared: false,
        status: DatasourceStatus::Active,
        desired: DesiredState::Running,
        generation: 1,
        wanted: Some(AssignedVersion {
            number: 1,
            config: json!({"connection": {"auth": {"type": "none"}}}),
        }),
        last_good: None,
        accepted: 0,
        secrets_revision: 0,
        backlog_full: false,
        secret_fault: None,
        backfill: None,
    }
}

pub(super) fn settled() -> Timestamp {
    Timestamp::default() + SETTLE
}

pub(super) fn run(
    desired: &[DesiredDatasource],
    current: &mut CurrentAssignments,
    members: &[WorkerMember],
    now: Timestamp,
) -> Plan {
    run_with(desired, current, members, &Observed::default(), now)
}

/// Plans and carries out; whoever was to let go of something has.
pub(super) fn run_with(
    desired: &[DesiredDatasource],
    current: &mut CurrentAssignments,
    members: &[WorkerMember],
    observed: &Observed,
    now: Timestamp,
) -> Plan {
    let leaving = current.datasources.values().flat_map(|assignment| {
        let instances = (0_u16..).zip(&assignment.instances);
        let leaving = instances.filter(|(_, instance)| instance.leaving.is_some());
        leaving.map(|(index, _)| (assignment.datasource, index))
    });
    let released: BTreeSet<_> = leaving.collect();
    let workers = Workers {
        members,
        observed,
        released: &released,
        balance_at: Timestamp::default(),
    };
    let plan = plan(desired, current, workers, &partitions(), now);
    for action in plan.actions.clone() {
        current.apply(action);
    }
    plan
}

/// How many partitions of the default pool each worker holds.
pub(super) fn held(current: &CurrentAssignments) -> BTreeMap<WorkerId, usize> {
    let mut held = BTreeMap::new();
    let default = current
        .partitions
        .values()
        .filter(|held| held.partition < PARTITIONS);
    for worker in default.filter_map(|partition| partition.worker) {
        *held.entry(worker).or_default() += 1;
    }
    held
}

/// The only instance of a source.
pub(super) fn only(current: &CurrentAssignments, source: &DesiredDatasource) -> Instance {
    current.datasources[&source.datasource].instances[0]
}

#[test]
fn a_second_worker_takes_half_once_it_has_settled() {
    let mut current = CurrentAssignments::default();
    run(&[], &mut current, &[member(1)], settled());
    assert_eq!(held(&current), BTreeMap::from([(worker(1), 16)]));

    let both = [member(1), member(2)];
    let workers = Workers {
        members: &both,
        observed: &Observed::default(),
        released: &BTreeSet::new(),
        balance_at: settled() + SETTLE,
    };
    let early = plan(&[], &current, workers, &partitions(), settled());
    assert!(early.actions.is_empty());
    assert_eq!(early.next_due, Some(settled() + SETTLE));

    let balanced = run(&[], &mut current, &both, settled() + SETTLE);
    assert_eq!((balanced.actions.len(), balanced.next_due), (8, None));
    assert!(balanced.balances);
    assert_eq!(held(&current), BTreeMap::from([(worker(1), 8), (worker(2), 8)]));
}

#[test]
fn a_worker_that_leaves_gives_its_partitions_at_once_and_its_source_when_it_is_gone() {
    let sources = [datasource(1, true)];
    let mut current = CurrentAssignments::default();
    run(&sources, &mut current, &[member(1)], settled());
    let first = only(&current, &sources[0]).epoch;
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
    let leaving = Instance {
        worker: None,
        session: 0,
        leaving: Some(worker(1)),
        epoch: first + 1,
    };
    assert_eq!(only(&current, &sources[0]), leaving, "it is asked to let go");

    let waits = plan(
        &sources,
        &current,
        Workers {
            members: &[member(1), member(2)],
            observed: &Observed::default(),
            released: &BTreeSet::new(),
            balance_at: settled(),
        },
        &partitions(),
        settled(),
    );
    assert!(
        !waits
            .actions
            .iter()
            .any(|action| matches!(action, super::Action::PutAssignment(_))),
        "nobody gets it before"
    );
    run(&sources, &mut current, &[member(2)], settled());
    let held = only(&current, &sources[0]);
    assert_eq!((held.worker, held.epoch), (Some(worker(2)), first + 2));
}

#[test]
fn a_worker_that_has_let_go_hands_over_before_its_lease_ends() {
    let sources = [datasource(1, true)];
    let mut current = CurrentAssignments::default();
    run(&sources, &mut current, &[member(1)], settled());
    let leaving = WorkerMember {
        draining: true,
        ..member(1)
    };
    let members = [leaving, member(2)];
    run(&sources, &mut current, &members, settled());
    run(&sources, &mut current, &members, settled());
    assert_eq!(only(&current, &sources[0]).worker, Some(worker(2)));
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
    let before = current.datasources[&id].instances[0].epoch;
    let mut lost = CurrentAssignments::default();
    run(
        &sources,
        &mut lost,
        &[member(4)],
        settled() + TimeDelta::minutes(1),
    );
    assert!(lost.datasources[&id].instances[0].epoch > before);
}

#[test]
fn workers_of_another_pool_get_only_its_partitions() {
    let mut current = CurrentAssignments::default();
    let other = WorkerMember {
        pool: "edge".to_owned(),
        ..member(1)
    };
    let plan = run(&[datasource(1, true)], &mut current, &[other], settled());
    assert_eq!(plan.waiting.len(), 1);
    assert!(held(&current).is_empty());
    let edge = [EDGE.first, EDGE.first + 1].map(|number| current.partitions[&number].worker);
    assert_eq!(edge, [Some(worker(1)); 2]);
    assert!(
        current
            .datasources
            .values()
            .all(|assignment| assignment.instances[0].worker.is_none())
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
    assert_eq!(only(&current, &pull).worker, None);
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
    assert_eq!(after.instances, before.instances);
    assert_eq!(
        (after.wanted.number, after.last_good.as_ref().unwrap().number),
        (2, 1)
    );
    assert_eq!(plan.actions.len(), 2, "the assignment and the route");
}
