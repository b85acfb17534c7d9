//! Every subject, stream, bucket and consumer name. No other file of the workspace spells one.

use std::fmt;

use halcyon_domain::{
    id::{DatasourceId, OrganizationId, WorkerId},
    ontology::ObjectKind,
};

/// A subject that messages are published on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Accepted events of a partition, in frames.
    Ingest(u16),
    /// Outcomes of a partition, in frames.
    Ontology(u16),
    /// Records of a datasource that could not be mapped.
    DeadLetter(OrganizationId, DatasourceId),
    /// Events of a datasource that wait outside their partition.
    Parked(u16, DatasourceId),
    /// Events of a datasource that are processed anew, in frames.
    Replay(u16, DatasourceId),
    /// The hint that a partition has events to process anew.
    ReplayPoke(u16),
    /// Live records of a datasource that were taken for a capture.
    Captured(OrganizationId, DatasourceId),
    /// Notices that a datasource's configuration changed.
    Config(OrganizationId, DatasourceId),
    /// Audit entries.
    Audit(OrganizationId),
    /// A datasource's log lines.
    Log(OrganizationId, DatasourceId),
    /// What a worker says of itself.
    Heartbeat(WorkerId),
    /// The hint that the outbox has rows.
    OutboxPoke,
    /// Committed ontology objects, for users.
    Object(OrganizationId, DatasourceId, ObjectKind),
    /// Entries of the audit trail, once they are in the chain, for users.
    RecordedAudit(OrganizationId),
    /// Signed checkpoints of the audit trail, for users.
    AuditCheckpoint(OrganizationId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingest(partition) => write!(f, "hc.ingest.{partition}"),
            Self::Ontology(partition) => write!(f, "hc.ontology.{partition}"),
            Self::DeadLetter(organization, datasource) => {
                write!(f, "hc.deadletter.{organization}.{datasource}")
            }
            Self::Parked(partition, datasource) => write!(f, "hc.parked.{partition}.{datasource}"),
            Self::Replay(partition, datasource) => write!(f, "hc.replay.{partition}.{datasource}"),
            Self::Captured(organization, datasource) => {
                write!(f, "hc.captured.{organization}.{datasource}")
            }
            Self::ReplayPoke(partition) => write!(f, "hc.replay-poke.{partition}"),
            Self::Config(organization, datasource) => write!(f, "hc.config.{organization}.{datasource}"),
            Self::Audit(organization) => write!(f, "hc.audit.{organization}"),
            Self::Log(organization, datasource) => write!(f, "hc.log.{organization}.{datasource}"),
            Self::Heartbeat(worker) => write!(f, "hc.heartbeat.{worker}"),
            Self::OutboxPoke => f.write_str("hc.outbox.poke"),
            Self::Object(organization, datasource, kind) => {
                write!(f, "halcyon.{organization}.{datasource}.{kind}")
            }
            Self::RecordedAudit(organization) => write!(f, "halcyon.{organization}.audit"),
            Self::AuditCheckpoint(organization) => write!(f, "halcyon.{organization}.audit-checkpoint"),
        }
    }
}

/// All heartbeats.
pub(crate) const HEARTBEATS: &str = "hc.heartbeat.*";

/// What all request subjects begin with.
pub(crate) const SERVICES: &str = "hc.svc";

/// The public subjects that match the given parts; nothing given matches everything.
#[must_use]
pub fn objects_filter(
    organization: Option<OrganizationId>,
    datasource: Option<DatasourceId>,
    kind: Option<ObjectKind>,
) -> String {
    let part = |given: Option<String>| given.unwrap_or_else(|| "*".to_owned());
    format!(
        "halcyon.{}.{}.{}",
        part(organization.map(|id| id.to_string())),
        part(datasource.map(|id| id.to_string())),
        part(kind.map(|kind| kind.to_string())),
    )
}

/// A stream of `nats/streams.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Accepted events.
    Ingest,
    /// Outcomes.
    Ontology,
    /// Dead letters.
    DeadLetter,
    /// Parked events.
    Parked,
    /// Events that are processed anew.
    Replay,
    /// Live records that were taken for captures.
    Captured,
    /// Configuration changes.
    Config,
    /// Audit entries.
    Audit,
    /// Log lines.
    Logs,
    /// Public objects.
    Objects,
    /// Checkpoints of the audit trail.
    AuditCheckpoints,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 11] = [
        Self::Ingest,
        Self::Ontology,
        Self::DeadLetter,
        Self::Parked,
        Self::Replay,
        Self::Captured,
        Self::Config,
        Self::Audit,
        Self::Logs,
        Self::Objects,
        Self::AuditCheckpoints,
    ];

    /// The stream's name on the server.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "INGEST",
            Self::Ontology => "ONTOLOGY",
            Self::DeadLetter => "DEADLETTER",
            Self::Parked => "PARKED",
            Self::Replay => "REPLAY",
            Self::Captured => "CAPTURED",
            Self::Config => "CONFIG",
            Self::Audit => "AUDIT",
            Self::Logs => "LOGS",
            Self::Objects => "OBJECTS",
            Self::AuditCheckpoints => "AUDIT_CHECKPOINTS",
        }
    }
}

/// A key-value bucket of `nats/streams.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketName {
    /// Leases of workers, of the leading registry and of the outbox relay.
    Leases,
    /// Public keys of running processes: `<service>.<instance>`.
    Instances,
    /// What workers are to do: `ds.<id>`, `partition.<n>`.
    Assignments,
    /// What gateways must know of each datasource.
    Routes,
    /// How far pull sources have read.
    Checkpoints,
    /// Tickets of test runs, which work once.
    Tickets,
    /// Captures of live records, of the last day.
    Captures,
}

impl BucketName {
    /// Every bucket.
    pub const ALL: [Self; 7] = [
        Self::Leases,
        Self::Instances,
        Self::Assignments,
        Self::Routes,
        Self::Checkpoints,
        Self::Tickets,
        Self::Captures,
    ];

    /// The bucket's name on the server.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leases => "LEASES",
            Self::Instances => "INSTANCES",
            Self::Assignments => "ASSIGNMENTS",
            Self::Routes => "ROUTES",
            Self::Checkpoints => "CHECKPOINTS",
            Self::Tickets => "TICKETS",
            Self::Captures => "CAPTURES",
        }
    }

    /// The stream behind the bucket.
    #[must_use]
    pub fn stream(self) -> String {
        format!("KV_{}", self.as_str())
    }

    /// The subject of a key.
    #[must_use]
    pub fn subject(self, key: &str) -> String {
        format!("$KV.{}.{key}", self.as_str())
    }
}

/// The key of the leading registry's term.
pub const LEADER_TERM: &str = "term";

/// The lease keys that are known by name; workers' keys are `worker.<id>`.
pub mod lease_keys {
    use halcyon_domain::id::WorkerId;

    /// Who leads the registries.
    pub const REGISTRY_LEADER: &str = "registry-leader";
    /// Who relays the outbox.
    pub const OUTBOX_RELAY: &str = "outbox-relay";
    /// What workers' keys begin with.
    pub const WORKERS: &str = "worker.";

    /// A worker's key.
    #[must_use]
    pub fn worker(worker: WorkerId) -> String {
        format!("{WORKERS}{worker}")
    }
}
