//! Which sources this worker is to run: decided from the assignments, the lease and what runs. Pure; the simulation
//! drives it, too.

use std::collections::BTreeMap;

use halcyon_domain::{
    assignment::Assignment,
    id::{DatasourceId, WorkerId},
};

/// A source's instance, as a worker runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which instance.
    pub instance: u16,
    /// The epoch under which it runs.
    pub epoch: u64,
    /// The worker's session in which it runs.
    pub session: u64,
}

/// What is to be done about sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// They are no longer this worker's, or not under this epoch.
    pub stop: Vec<DatasourceId>,
    /// They are this worker's and do not run.
    pub start: Vec<(DatasourceId, Hold)>,
}

/// Compares what is assigned to `worker` with what it runs. Without its lease, which is to say without a session, it
/// runs nothing, and what it was given in an earlier session is not its any more. One that still lets go
/// of an earlier hold (`ending`) is not started before that is done.
#[must_use]
pub fn compare<'a>(
    worker: WorkerId,
    session: Option<u64>,
    assignments: impl Iterator<Item = &'a Assignment>,
    running: &BTreeMap<DatasourceId, Hold>,
    ending: impl Fn(DatasourceId) -> bool,
) -> Changes {
    let mine: BTreeMap<DatasourceId, Hold> = assignments
        .filter_map(|assignment| {
            let (instance, held) = assignment.instance_of(worker)?;
            let hold = Hold {
                instance,
                epoch: held.epoch,
                session: session.filter(|session| *session == held.session)?,
            };
            Some((assignment.datasource, hold))
        })
        .collect();
    let stop: Vec<DatasourceId> = running
        .iter()
        .filter(|(datasource, hold)| mine.get(*datasource) != Some(*hold))
        .map(|(datasource, _)| *datasource)
        .collect();
    let start = mine
        .into_iter()
        .filter(|(datasource, _)| !running.contains_key(datasource) && !ending(*datasource))
        .collect();
    Changes { stop, start }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::assignment::Instance;

    use super::*;
    use crate::tests::support::{push, version};

    fn assigned(to: Option<WorkerId>, epoch: u64) -> Assignment {
        let mut assignment = push(version(1, "x"), 1);
        assignment.instances = vec![Instance {
            worker: to,
            session: 1,
            leaving: None,
            epoch,
        }];
        assignment
    }

    #[test]
    fn what_is_assigned_runs_while_the_lease_is_held() {
        let me = WorkerId::generate();
        let (mine, other) = (assigned(Some(me), 3), assigned(Some(WorkerId::generate()), 1));
        let all = [mine.clone(), other];
        let nothing = BTreeMap::new();
        let hold = Hold {
            instance: 0,
            epoch: 3,
            session: 1,
        };
        let changes = compare(me, Some(1), all.iter(), &nothing, |_| false);
        assert_eq!(changes.start, [(mine.datasource, hold)]);
        assert_eq!(
            compare(me, None, all.iter(), &nothing, |_| false),
            Changes::default()
        );
        let running = BTreeMap::from([(mine.datasource, hold)]);
        assert_eq!(
            compare(me, Some(1), all.iter(), &running, |_| false),
            Changes::default()
        );
        assert_eq!(
            compare(me, None, all.iter(), &running, |_| false).stop,
            [mine.datasource]
        );
    }

    #[test]
    fn what_was_given_before_the_lease_was_lost_is_not_taken_up_again() {
        let me = WorkerId::generate();
        let mine = assigned(Some(me), 3);
        let changes = compare(me, Some(2), [&mine].into_iter(), &BTreeMap::new(), |_| false);
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn another_epoch_is_another_hold_and_waits_for_the_end_of_the_first() {
        let me = WorkerId::generate();
        let mine = assigned(Some(me), 4);
        let before = Hold {
            instance: 0,
            epoch: 3,
            session: 1,
        };
        let running = BTreeMap::from([(mine.datasource, before)]);
        let changes = compare(me, Some(1), [&mine].into_iter(), &running, |_| false);
        assert_eq!((changes.stop, changes.start), (vec![mine.datasource], vec![]));
        let ending = compare(me, Some(1), [&mine].into_iter(), &BTreeMap::new(), |_| true);
        assert_eq!(ending, Changes::default());
    }
}
