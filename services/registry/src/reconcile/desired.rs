//! What the database wants of one datasource.

use halcyon_domain::{
    assignment::AssignedVersion,
    backfill::BackfillTask,
    id::{DatasourceId, OrganizationId},
    lifecycle::{DatasourceStatus, DesiredState},
};
use serde_json::{Map, Value};

/// What is wanted of a datasource, with all that an assignment and a route say.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredDatasource {
    /// The datasource, or the backfill: it is placed like a source of its own.
    pub datasource: DatasourceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The connector's type.
    pub connector: String,
    /// Whether workers fetch its events.
    pub pull: bool,
    /// Whether several workers may fetch them side by side; else exactly one does.
    pub shared: bool,
    /// What it is to its admins.
    pub status: DatasourceStatus,
    /// What it is to do.
    pub desired: DesiredState,
    /// Grows with every change that matters to a worker.
    pub generation: i64,
    /// The newest generation at which somebody accepted what records have come to be like; 0 if nobody has.
    pub accepted: i64,
    /// The published version.
    pub wanted: Option<AssignedVersion>,
    /// The newest version that ran.
    pub last_good: Option<AssignedVersion>,
    /// Grows with each write of one of its secrets.
    pub secrets_revision: u64,
    /// Whether so many of its accepted events wait that it may take no more for now.
    pub backlog_full: bool,
    /// What is the matter with a secret that its published version names.
    pub secret_fault: Option<SecretFault>,
    /// What is to be read, if this is a backfill.
    pub backfill: Option<BackfillTask>,
}

/// What is the matter with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFault {
    /// It has expired.
    Expired(String),
    /// It is kept where it cannot be had now.
    Unavailable {
        /// Its name.
        name: String,
        /// Whether a gateway has asked for it in vain, so that it does not go on with one that it has.
        is_missed: bool,
    },
}

impl DesiredDatasource {
    /// The published version's connection; an empty object if nothing is published.
    #[must_use]
    pub fn connection(&self) -> Value {
        let connection = self
            .wanted
            .as_ref()
            .and_then(|version| version.config.get("connection"));
        connection.cloned().unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// On how many partitions its events travel.
    #[must_use]
    pub fn parallelism(&self) -> u16 {
        let configured = self
            .wanted
            .as_ref()
            .and_then(|version| version.config.pointer("/runtime/parallelism"));
        let configured = configured
            .and_then(Value::as_u64)
            .and_then(|number| u16::try_from(number).ok());
        configured.unwrap_or(1).clamp(1, 64)
    }

    /// In how many instances its source runs.
    #[must_use]
    pub fn shares(&self) -> u16 {
        match (self.pull, self.shared) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.parallelism(),
        }
    }

    /// The labels that a worker must have.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let wanted = self.wanted.as_ref();
        let labels = wanted.and_then(|version| version.config.pointer("/runtime/worker_labels"));
        let labels = labels.and_then(Value::as_array).into_iter().flatten();
        labels.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether a worker is to process its events.
    #[must_use]
    pub fn is_to_run(&self) -> bool {
        self.status == DatasourceStatus::Active
            && self.desired == DesiredState::Running
            && self.wanted.is_some()
    }
}
