//! A datasource, its state at run time and its numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    error::InputError,
    id::{ActorId, DatasourceEventId, DatasourceId, OrganizationId, ProjectId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState, Reason, RuntimeStatus, states},
    schedule::ScheduleState,
};

/// A datasource: what its admins wrote and decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datasource {
    /// Its identifier.
    pub id: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The project.
    pub project: Option<ProjectId>,
    /// Its name, unique in the organisation and environment.
    pub name: String,
    /// The connector's type.
    pub connector: String,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The environment, such as `production`.
    pub env: String,
    /// What it is to its admins.
    pub status: DatasourceStatus,
    /// What it is to do.
    pub desired_state: DesiredState,
    /// The number of the published version.
    pub current_version: Option<u32>,
    /// The number of the newest draft that is newer than the published version.
    pub draft_version: Option<u32>,
    /// Grows with every change that matters to a worker.
    pub generation: i64,
    /// Grows with every change, for `ETag` and `If-Match`.
    pub revision: i64,
    /// When and by whom it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who changed it last.
    pub updated_by: Option<ActorId>,
}

/// The environment of a datasource that names none.
pub const DEFAULT_ENV: &str = "production";

/// Checks a datasource's name: 1 to 120 characters, no control characters, not only white space.
///
/// # Errors
/// At pointer `/name`.
pub fn check_name(name: &str) -> Result<(), InputError> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > 120 || name.chars().any(is_invisible) {
        return Err(InputError::new(
            "/name",
            "invalid",
            "a name has 1 to 120 printable characters",
        ));
    }
    Ok(())
}

/// Whether a character is not seen, or changes how its neighbours are shown, so that two names would look alike.
/// The joiners are seen in what they join.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Checks tags: at most 32, each 1 to 64 characters without white space.
///
/// # Errors
/// At pointer `/tags` or `/tags/{n}`.
pub fn check_tags(tags: &[String]) -> Result<(), InputError> {
    if tags.len() > 32 {
        return Err(InputError::new("/tags", "too_many", "at most 32 tags"));
    }
    let unfit = |character: char| character.is_whitespace() || is_invisible(character);
    let bad = tags
        .iter()
        .position(|tag| tag.is_empty() || tag.chars().count() > 64 || tag.chars().any(unfit));
    bad.map_or(Ok(()), |index| {
        let detail = "a tag has 1 to 64 characters and no white space";
        Err(InputError::new(format!("/tags/{index}"), "invalid", detail))
    })
}

/// What a worker reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasourceState {
    /// The state machine's state.
    pub status: RuntimeStatus,
    /// The generation that the worker reached.
    pub observed_generation: i64,
    /// The version that runs.
    pub version: Option<u32>,
    /// The newest version that ran.
    pub last_good_version: Option<u32>,
    /// The worker.
    pub worker: Option<WorkerId>,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: Option<String>,
    /// When the worker was last heard.
    pub last_heartbeat: Option<Timestamp>,
    /// When an event was last processed.
    pub last_event_at: Option<Timestamp>,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// When it will be tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// Its runs, if it is fetched by a schedule.
    pub schedule: Option<ScheduleState>,
}

impl Default for DatasourceState {
    fn default() -> Self {
        Self {
            status: RuntimeStatus::Init,
            observed_generation: 0,
            version: None,
            last_good_version: None,
            worker: None,
            reason: Reason::NoWorker,
            message: None,
            last_heartbeat: None,
            last_event_at: None,
            restarts: 0,
            next_attempt_at: None,
            schedule: None,
        }
    }
}

/// A snapshot of a datasource's numbers. Counters count records since the worker took the datasource, unless
/// they say otherwise; rates are over the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatasourceMetrics {
    /// Events taken.
    pub events: u64,
    /// Bytes of events taken.
    pub bytes: u64,
    /// Records taken.
    pub records: u64,
    /// Records delivered.
    pub delivered: u64,
    /// Records filtered.
    pub filtered: u64,
    /// Records dead-lettered.
    pub dead_lettered: u64,
    /// Objects published.
    pub objects: u64,
    /// Failures other than dead letters.
    pub errors: u64,
    /// Events parked and not yet processed.
    pub parked: u64,
    /// Events per second.
    pub events_per_second: f64,
    /// Dead letters and errors per minute.
    pub errors_per_minute: f64,
    /// Milliseconds between acceptance and processing of the newest event.
    pub lag_ms: u64,
    /// Microseconds spent in the mapping, per event, on average.
    pub mapping_us: f64,
}

states! {
    /// What a row of a datasource's history is about.
    DatasourceEventKind {
        /// It was made.
        Created = "created",
        /// Its metadata or a draft was changed.
        Updated = "updated",
        /// It was handed over to another owner.
        OwnerChanged = "owner_changed",
        /// A version was published.
        Published = "published",
        /// An earlier version was put back in effect.
        RolledBack = "rolled_back",
        /// A draft was archived without having been published.
        VersionArchived = "version_archived",
        /// Somebody else was asked to approve a draft.
        ApprovalRequested = "approval_requested",
        /// A draft was approved.
        Approved = "approved",
        /// A draft was rejected.
        Rejected = "rejected",
        /// A request for approval was withdrawn.
        ApprovalWithdrawn = "approval_withdrawn",
        /// An approval counts no more because its draft was changed or archived.
        ApprovalReset = "approval_reset",
        /// Warning: a version was published without the approval that was needed.
        BreakGlass = "break_glass",
        /// A version was commented on.
        Commented = "commented",
        /// A sample was saved or deleted.
        SampleChanged = "sample_changed",
        /// A capture of live records was begun.
        CaptureStarted = "capture_started",
        /// A capture of live records was ended.
        CaptureEnded = "capture_ended",
        /// Warning: records differ from what the version expects.
        SchemaDrift = "schema_drift",
        /// What records had come to be like was accepted.
        SchemaAccepted = "schema_accepted",
        /// It was enabled.
        Enabled = "enabled",
        /// It was disabled.
        Disabled = "disabled",
        /// A start was asked for.
        StartRequested = "start_requested",
        /// A stop was asked for.
        StopRequested = "stop_requested",
        /// A restart was asked for.
        RestartRequested = "restart_requested",
        /// A secret was written, rotated or deleted.
        SecretChanged = "secret_changed",
        /// A secret will expire soon.
        SecretExpiring = "secret_expiring",
        /// A secret has expired and is no longer used.
        SecretExpired = "secret_expired",
        /// Its state at run time changed.
        StateChanged = "state_changed",
        /// A worker refused a version and kept the one before.
        VersionRejected = "version_rejected",
        /// A version took effect at a worker.
        VersionRunning = "version_running",
        /// A test was run.
        TestRun = "test_run",
        /// Dead letters were processed anew.
        DeadLettersReplayed = "dead_letters_replayed",
        /// Its place in the source was moved by hand.
        CheckpointChanged = "checkpoint_changed",
        /// Runs of its schedule did not begin at their time.
        RunMissed = "run_missed",
        /// A backfill was asked for.
        BackfillRequested = "backfill_requested",
        /// A worker began a backfill.
        BackfillStarted = "backfill_started",
        /// A backfill was done, or failed.
        BackfillEnded = "backfill_ended",
        /// A backfill was cancelled.
        BackfillCancelled = "backfill_cancelled",
        /// It was deleted.
        Deleted = "deleted",
    }
}

/// A row of a datasource's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasourceEvent {
    /// Its identifier.
    pub id: DatasourceEventId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// When it happened.
    pub at: Timestamp,
    /// What it is about.
    pub kind: DatasourceEventKind,
    /// The version concerned.
    pub version: Option<u32>,
    /// Who did it; nothing for the system.
    pub actor: Option<String>,
    /// One line for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_refused() {
        for name in ["EDR", "日本語 ünïcødé", "👩\u{200d}💻", "../../etc/passwd"] {
            assert!(check_name(name).is_ok(), "{name}");
            assert!(check_tags(&[name.replace(' ', "-")]).is_ok(), "{name}");
        }
        for name in [
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{2066}b",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
            assert!(check_tags(&[name.to_owned()]).is_err(), "{name:?}");
        }
    }
}
