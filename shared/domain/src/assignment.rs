//! What the registry tells workers and gateways to do, and what workers tell back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock::Timestamp,
    datasource::{DatasourceEventKind, DatasourceMetrics},
    id::{DatasourceId, InstanceId, OrganizationId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState, Reason, RuntimeStatus},
};

/// A version as it is handed to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedVersion {
    /// Its number.
    pub number: u32,
    /// Its configuration; references to secrets are still references.
    pub config: Value,
}

/// What is to be done about a datasource. All workers of a pool see the assignments of push datasources;
/// a pull datasource names its one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The datasource.
    pub datasource: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The connector's type.
    pub connector: String,
    /// The generation this assignment stands for; workers report it back once they reached it.
    pub generation: i64,
    /// What to do.
    pub desired: DesiredState,
    /// The worker that runs the source; nothing for push datasources.
    pub worker: Option<WorkerId>,
    /// Raised by the registry each time the datasource changes hands; fences the checkpoint.
    pub epoch: u64,
    /// The version to run.
    pub wanted: AssignedVersion,
    /// The version to fall back to if the wanted one is refused by a worker that runs none.
    pub last_good: Option<AssignedVersion>,
    /// Grows with each change of a secret of a datasource that fetches, so that its worker opens them anew.
    #[serde(default)]
    pub secrets_revision: u64,
}

/// Which worker holds a partition of the data path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAssignment {
    /// The partition.
    pub partition: u16,
    /// Its worker; nothing while there is none.
    pub worker: Option<WorkerId>,
    /// Raised each time the partition changes hands.
    pub epoch: u64,
}

/// A worker's membership, kept alive by its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerMember {
    /// The worker.
    pub worker: WorkerId,
    /// The process, whose public key opens what is sealed for it.
    pub instance: InstanceId,
    /// The pool it belongs to.
    pub pool: String,
    /// When it came.
    pub started_at: Timestamp,
    /// Whether it is leaving: nothing new is given to it.
    pub draining: bool,
}

/// The pool of workers that serves whatever names no other.
pub const DEFAULT_POOL: &str = "default";

/// What a gateway must know to take a datasource's events, with the database and the registry down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IngestRoute {
    /// The datasource.
    pub datasource: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The connector's type; only push connectors have routes that take events.
    pub connector: String,
    /// Only `active` takes events.
    pub status: DatasourceStatus,
    /// The published version's number.
    pub version: Option<u32>,
    /// The published version's connection.
    pub connection: Value,
    /// On how many partitions its events travel.
    pub parallelism: u16,
    /// Grows with each write of one of its secrets, so that gateways fetch them again.
    pub secrets_revision: u64,
    /// Whether so many of its accepted events wait that it may take no more for now.
    #[serde(default)]
    pub backlog_full: bool,
}

/// What a worker says of itself, each second and at once on a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker.
    pub worker: WorkerId,
    /// The process.
    pub instance: InstanceId,
    /// When it was said.
    pub at: Timestamp,
    /// Its datasources; of push datasources those whose partitions it holds.
    pub tasks: Vec<TaskStatus>,
}

/// What a worker says of one datasource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// The datasource.
    pub datasource: DatasourceId,
    /// The generation reached.
    pub generation: i64,
    /// The version that runs.
    pub version: Option<u32>,
    /// The state machine's state.
    pub status: RuntimeStatus,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: Option<String>,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// When it will be tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// When an event was last processed.
    pub last_event_at: Option<Timestamp>,
    /// Its numbers.
    pub metrics: DatasourceMetrics,
}

/// The notice that a datasource's configuration or desired state changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The datasource.
    pub datasource: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The generation that the change made.
    pub generation: i64,
    /// Who did what, for the datasource's history. Nothing for a notice that only asks to look again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ChangeCause>,
}

/// Who did what to a datasource: what its history says of a [`ConfigChange`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCause {
    /// What was done.
    pub kind: DatasourceEventKind,
    /// When.
    pub at: Timestamp,
    /// The user's name; nothing for the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The version concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// One line for people.
    pub message: String,
}

/// A line of a datasource's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LogLine {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// When.
    pub at: Timestamp,
    /// How bad.
    pub level: LogLevel,
    /// Which part of the system says so, such as `worker.mapping`.
    pub component: String,
    /// What.
    pub message: String,
    /// What ties lines together: an event's identifier or a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

crate::lifecycle::states! {
    /// How bad a log line is.
    LogLevel {
        /// For debugging.
        Debug = "debug",
        /// Normal.
        Info = "info",
        /// Odd, and handled.
        Warn = "warn",
        /// Failed.
        Error = "error",
    }
}
