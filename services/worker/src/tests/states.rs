//! What an assignment makes of a state, without a bus.

use halcyon_domain::{
    assignment::Assignment,
    lifecycle::{DesiredState, Reason, RuntimeStatus},
};

use super::support::{broken, push, version};
use crate::feed::{Feed, FeedState, Version, reach};

fn next(before: &FeedState, assignment: &Assignment) -> FeedState {
    reach(before, assignment, |wanted| {
        Version::compile(wanted, &assignment.connector, assignment.datasource, None)
    })
}

fn fresh(assignment: &Assignment) -> FeedState {
    Feed::new(assignment, 1).state()
}

fn summary(state: &FeedState) -> (RuntimeStatus, Reason, Option<u32>) {
    (
        state.status,
        state.reason,
        state.version.as_ref().map(|version| version.number),
    )
}

#[test]
fn a_new_worker_falls_back_to_the_last_good_version() {
    let mut assignment = push(broken(2), 2);
    let state = next(&fresh(&assignment), &assignment);
    assert_eq!(
        summary(&state),
        (RuntimeStatus::Error, Reason::InvalidConfig, None)
    );
    assert!(state.runnable().is_none() && state.message.is_some());
    assignment.last_good = Some(version(1, "good"));
    let state = next(&fresh(&assignment), &assignment);
    assert_eq!(
        summary(&state),
        (RuntimeStatus::Running, Reason::VersionRejected, Some(1))
    );
    assignment.last_good = Some(broken(1));
    assert_eq!(
        next(&fresh(&assignment), &assignment).status,
        RuntimeStatus::Error
    );
}

#[test]
fn a_refused_version_leaves_what_runs_alone_and_a_good_one_puts_it_right() {
    let mut assignment = push(version(1, "one"), 1);
    let first = next(&fresh(&assignment), &assignment);
    assert_eq!(
        summary(&first),
        (RuntimeStatus::Running, Reason::AsDesired, Some(1))
    );
    (assignment.wanted, assignment.generation) = (broken(2), 2);
    let refused = next(&first, &assignment);
    assert_eq!(
        (summary(&refused), refused.generation),
        ((RuntimeStatus::Running, Reason::VersionRejected, Some(1)), 2)
    );
    (assignment.wanted, assignment.generation) = (version(3, "three"), 3);
    let third = next(&refused, &assignment);
    assert_eq!(
        (summary(&third), third.message),
        ((RuntimeStatus::Running, Reason::AsDesired, Some(3)), None)
    );
}

#[test]
fn the_same_version_is_not_compiled_again() {
    let mut assignment = push(version(1, "one"), 1);
    let first = next(&fresh(&assignment), &assignment);
    assignment.generation = 2;
    let second = reach(&first, &assignment, |_| panic!("compiled again"));
    assert_eq!((summary(&second), second.generation), (summary(&first), 2));
}

#[test]
fn a_stop_lets_go_of_the_version() {
    let mut assignment = push(version(1, "one"), 1);
    let running = next(&fresh(&assignment), &assignment);
    assignment.desired = DesiredState::Stopped;
    let stopped = next(&running, &assignment);
    assert_eq!(
        summary(&stopped),
        (RuntimeStatus::Stopped, Reason::StoppedByUser, None)
    );
    assignment.desired = DesiredState::Running;
    assert_eq!(summary(&next(&stopped, &assignment)), summary(&running));
}

#[test]
fn a_wrong_connection_is_named_by_its_pointer() {
    let mut wanted = version(1, "one");
    wanted.config["connection"] = serde_json::json!({"auth": {"type": "nonsense"}});
    let assignment = push(wanted, 1);
    let state = next(&fresh(&assignment), &assignment);
    assert!(state.message.unwrap().contains("/connection/auth"));
}
