//! What the registry tells workers and gateways to do, and what workers tell back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    backfill::{BackfillReport, BackfillTask},
    clock::Timestamp,
    datasource::{DatasourceEventKind, DatasourceMetrics},
    id::{DatasourceId, InstanceId, OrganizationId, WorkerId},
    lifecycle::{DatasourceStatus, DesiredState, Reason, RuntimeStatus},
    schedule::ScheduleState,
    shape::Drift,
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
/// a pull datasource names the worker of each of its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The datasource. A backfill is placed, fenced and remembered like a source of its own: under its own identifier,
    /// which stands here.
    pub datasource: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The connector's type.
    pub connector: String,
    /// The generation this assignment stands for; workers report it back once they reached it.
    pub generation: i64,
    /// The newest generation at which somebody accepted what records have come to be like; 0 if nobody has.
    #[serde(default)]
    pub accepted: i64,
    /// What to do.
    pub desired: DesiredState,
    /// The source's instances: one, or several where the connector can share its feed; none for push datasources.
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// The version to run.
    pub wanted: AssignedVersion,
    /// The version to fall back to if the wanted one is refused by a worker that runs none.
    pub last_good: Option<AssignedVersion>,
    /// Grows with each change of a secret of a datasource that fetches, so that its worker opens them anew.
    #[serde(default)]
    pub secrets_revision: u64,
    /// What is to be read, if this is a backfill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillTask>,
}

/// One of the instances in which a source runs: who runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The worker that runs it.
    pub worker: Option<WorkerId>,
    /// In which of the worker's sessions: once it has lost its lease, it is not that worker's any more.
    #[serde(default)]
    pub session: u64,
    /// The worker that is to let go of it, while the next one waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<WorkerId>,
    /// Raised by the registry each time it changes hands; fences the checkpoint.
    pub epoch: u64,
}

impl Assignment {
    /// The instance that a worker is to run, in whatever session, and its index.
    #[must_use]
    pub fn instance_of(&self, worker: WorkerId) -> Option<(u16, Instance)> {
        let place = self
            .instances
            .iter()
            .position(|instance| instance.worker == Some(worker))?;
        Some((u16::try_from(place).ok()?, *self.instances.get(place)?))
    }

    /// How many instances there are.
    #[must_use]
    pub fn shares(&self) -> u16 {
        u16::try_from(self.instances.len()).unwrap_or(u16::MAX)
    }
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
    /// What else it is: datasources may ask for it.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// When it came.
    pub started_at: Timestamp,
    /// Whether it is leaving: nothing new is given to it.
    pub draining: bool,
    /// How often it has held its lease, as the lease says.
    #[serde(default)]
    pub session: u64,
}

impl WorkerMember {
    /// Whether it has every one of these labels; its pool is one, too. Whoever asks for none gets a worker of the
    /// default pool.
    #[must_use]
    pub fn fits(&self, labels: &[String]) -> bool {
        if labels.is_empty() {
            return self.has(DEFAULT_POOL);
        }
        labels.iter().all(|label| self.has(label))
    }

    /// Whether it has a label.
    #[must_use]
    pub fn has(&self, label: &str) -> bool {
        self.pool == label || self.labels.contains(label)
    }
}

/// A registry's term as the leader: raised by compare-and-set by each that begins to lead, so that one that was
/// replaced and does not know it yet can find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderTerm {
    /// Its number.
    pub term: u64,
    /// Who leads.
    pub holder: InstanceId,
}

impl LeaderTerm {
    /// The term that follows: above all before it, even if the record of them was lost.
    #[must_use]
    pub fn next(before: Option<&Self>, holder: InstanceId, now: Timestamp) -> Self {
        let first = u64::try_from(now.timestamp()).unwrap_or_default();
        let term = before.map_or(first, |before| first.max(before.term + 1));
        Self { term, holder }
    }
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
    /// The pool whose partitions they are; the default one if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
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
    /// The sources that it runs, or has been told to stop and not yet let go of.
    #[serde(default)]
    pub sources: Vec<HeldSource>,
    /// The newest revision of an assignment that it acts on.
    #[serde(default)]
    pub reached: u64,
    /// Whether it is leaving: it starts nothing any more, whatever is assigned to it.
    #[serde(default)]
    pub draining: bool,
    /// How busy it is with each of its partitions.
    #[serde(default)]
    pub partitions: Vec<PartitionLoad>,
}

/// A source that a worker has not let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSource {
    /// The datasource.
    pub datasource: DatasourceId,
    /// Which of its instances.
    pub instance: u16,
    /// The epoch under which it runs.
    pub epoch: u64,
}

/// How busy a worker is with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLoad {
    /// The partition.
    pub partition: u16,
    /// Microseconds of work in each second.
    pub busy: u64,
}

/// What an event costs besides its mapping, in microseconds: reading, publishing, acks.
pub const EVENT_COST: u64 = 40;

/// A difference between records and what is expected of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftCount {
    /// What differs.
    #[serde(flatten)]
    pub drift: Drift,
    /// In how many of the records that were looked at.
    pub count: u64,
    /// How many records were looked at since it was first seen.
    pub of: u64,
}

/// What a worker says of one datasource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// The datasource, or the backfill, as its assignment names it.
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
    /// How the records of the version that runs differ from what it expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftCount>,
    /// Its runs, if it is fetched by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleState>,
    /// What has become of it, if it is a backfill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillReport>,
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
