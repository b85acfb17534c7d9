//! A datasource at this worker: the version that runs, the state it is in, its numbers and its pace.

mod drift;
mod stats;
mod throttle;
mod version;

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use halcyon_domain::{
    assignment::{AssignedVersion, Assignment, TaskStatus},
    backfill::{BackfillProgress, BackfillReport, BackfillStatus, BackfillTask},
    clock::Timestamp,
    config::VersionConfig,
    error::InputError,
    id::{DatasourceId, OrganizationId},
    lifecycle::{DesiredState, Reason, RuntimeStatus},
    schedule::ScheduleState,
};
use tokio::sync::Semaphore;

pub(crate) use drift::{Drifts, Looked, Watch};
pub(crate) use stats::{Snapshot, Stats, Tally};
pub(crate) use throttle::Throttle;
pub(crate) use version::Version;

/// A datasource at this worker.
pub(crate) struct Feed {
    /// The datasource whose events these are.
    pub(crate) id: DatasourceId,
    /// What its assignment names: the datasource, or a backfill of it.
    pub(crate) work: DatasourceId,
    /// What is to be read, if this is a backfill.
    pub(crate) backfill: Option<BackfillTask>,
    pub(crate) organization: OrganizationId,
    /// Whether events are pushed to it. Of a datasource that is pulled only replayed events come in frames.
    pub(crate) push: bool,
    pub(crate) stats: Stats,
    pub(crate) throttle: Throttle,
    /// How its records differ from what is expected of them.
    pub(crate) drifts: Arc<Drifts>,
    /// The pace of what is processed anew: it takes nothing from that of live events.
    pub(crate) replays: Throttle,
    /// Mappings of this datasource that may run at a time, so that a slow one leaves processors to the others.
    pub(crate) share: Semaphore,
    /// Whether somebody has asked for a run now, whatever the schedule says.
    pub(crate) at_once: AtomicBool,
    state: Mutex<FeedState>,
}

/// The state of a datasource at this worker.
#[derive(Clone, Debug)]
pub(crate) struct FeedState {
    pub(crate) generation: i64,
    /// The newest generation at which somebody accepted what records have come to be like.
    pub(crate) accepted: i64,
    pub(crate) status: RuntimeStatus,
    pub(crate) reason: Reason,
    pub(crate) message: Option<String>,
    pub(crate) version: Option<Arc<Version>>,
    pub(crate) restarts: u32,
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) schedule: Option<ScheduleState>,
    pub(crate) backfill: Option<BackfillReport>,
}

impl FeedState {
    /// The version to map with, if events may be processed now.
    pub(crate) fn runnable(&self) -> Option<&Arc<Version>> {
        self.version
            .as_ref()
            .filter(|_| self.status == RuntimeStatus::Running)
    }
}

impl Feed {
    pub(crate) fn new(assignment: &Assignment, threads: usize) -> Self {
        let push = halcyon_connectors::find(&assignment.connector)
            .is_none_or(|connector| !connector.spec().capabilities.pull);
        let state = FeedState {
            generation: 0,
            accepted: assignment.accepted,
            status: RuntimeStatus::Starting,
            reason: Reason::AsDesired,
            message: None,
            version: None,
            restarts: 0,
            next_attempt_at: None,
            schedule: None,
            backfill: assignment.backfill.map(|_| BackfillReport {
                status: BackfillStatus::Queued,
                progress: BackfillProgress::default(),
                message: None,
            }),
        };
        let (backfill, work) = (assignment.backfill, assignment.datasource);
        // A backfill leaves the processors to what is live.
        let share = backfill.map_or(threads.div_ceil(2), |_| 1);
        Self {
            id: backfill.map_or(work, |task| task.datasource),
            work,
            backfill,
            organization: assignment.organization,
            push,
            stats: Stats::default(),
            throttle: Throttle::default(),
            drifts: Arc::default(),
            replays: Throttle::default(),
            share: Semaphore::new(share),
            at_once: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> FeedState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The version to map with, if events may be processed now.
    pub(crate) fn runnable(&self) -> Option<Arc<Version>> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .runnable()
            .cloned()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut FeedState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        // Also of a version that waits for its next attempt: what it has overdrawn is not forgotten.
        let version = state.version.as_ref();
        self.throttle
            .set_rate(version.and_then(|version| self.rate(&version.config)));
    }

    /// The wanted pace in records a second: a backfill's own, or the version's.
    pub(crate) fn rate(&self, config: &VersionConfig) -> Option<u32> {
        let throttle = config.runtime.throttle.as_ref();
        let own = self.backfill.and_then(|task| task.records_per_second);
        own.or(throttle.map(|throttle| throttle.records_per_second))
    }

    /// What the worker says of it.
    pub(crate) fn status(&self, parked: u64) -> TaskStatus {
        let state = self.state();
        let metrics = self.stats.metrics(parked);
        let backfill = state.backfill.map(|mut report| {
            report.progress.records_per_second = metrics.events_per_second;
            report
        });
        TaskStatus {
            datasource: self.work,
            generation: state.generation,
            version: state.version.as_ref().map(|version| version.number),
            status: state.status,
            reason: state.reason,
            message: state.message,
            restarts: state.restarts,
            next_attempt_at: state.next_attempt_at,
            last_event_at: self.stats.last_event_at(),
            metrics,
            schedule: state.schedule,
            backfill,
            drift: self
                .drifts
                .counts(state.version.as_ref().map(|version| version.number)),
        }
    }
}

/// What an assignment makes of a state: a pure function but for `compile`, which takes its time.
pub(crate) fn reach(
    before: &FeedState,
    assignment: &Assignment,
    compile: impl Fn(&AssignedVersion) -> Result<Version, InputError>,
) -> FeedState {
    let after = FeedState {
        generation: assignment.generation,
        accepted: assignment.accepted,
        reason: Reason::AsDesired,
        message: None,
        next_attempt_at: None,
        ..before.clone()
    };
    if assignment.desired == DesiredState::Stopped {
        let (status, reason) = (RuntimeStatus::Stopped, Reason::StoppedByUser);
        return FeedState {
            status,
            reason,
            version: None,
            ..after
        };
    }
    let running = |version| FeedState {
        status: RuntimeStatus::Running,
        version: Some(version),
        ..after.clone()
    };
    let wanted = &assignment.wanted;
    if let Some(version) = before.version.as_ref().filter(|version| version.is(wanted)) {
        return running(version.clone());
    }
    let refusal = match compile(wanted) {
        Ok(version) => return running(Arc::new(version)),
        Err(error) => format!("version {} is refused: {error}", wanted.number),
    };
    // What runs goes on; a worker that runs nothing falls back to the last version that was good.
    let fallback = before.version.clone().or_else(|| {
        let good = assignment.last_good.as_ref()?;
        compile(good).ok().map(Arc::new)
    });
    match fallback {
        Some(version) => FeedState {
            reason: Reason::VersionRejected,
            message: Some(refusal),
            ..running(version)
        },
        None => FeedState {
            status: RuntimeStatus::Error,
            reason: Reason::InvalidConfig,
            message: Some(refusal),
            version: None,
            ..after
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{push, version};

    #[tokio::test(start_paused = true)]
    async fn a_failure_does_not_pay_what_the_pace_is_owed() {
        let mut slow = version(1, "t");
        slow.config["runtime"] = json!({"throttle": {"records_per_second": 1}});
        let assignment = push(slow, 1);
        let feed = Feed::new(&assignment, 1);
        let running = reach(&feed.state(), &assignment, |wanted| {
            Version::compile(wanted, &assignment.connector, assignment.datasource, None)
        });
        feed.change(|state| *state = running);
        assert_eq!(feed.throttle.take(2), 1);
        feed.throttle.charge(100);
        for status in [RuntimeStatus::Error, RuntimeStatus::Running] {
            feed.change(|state| state.status = status);
        }
        assert_eq!(feed.throttle.take(2), 0);
    }
}
