//! What the workers reached: reports are judged ([`observe`](observe::observe)), kept ([`Tracker`]) and written.

mod drifts;
mod observe;
#[cfg(test)]
mod observe_tests;
mod tracker;
mod write;

pub(crate) use tracker::Tracker;
pub(crate) use write::write;

use halcyon_domain::{
    assignment::TaskStatus, clock::Timestamp, datasource::DatasourceEventKind, id::WorkerId,
};

/// What one worker last said of one datasource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// The worker.
    pub(crate) worker: WorkerId,
    /// When.
    pub(crate) at: Timestamp,
    /// What.
    pub(crate) task: TaskStatus,
}

/// Something for the datasource's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    /// What it is about.
    pub(crate) kind: DatasourceEventKind,
    /// The version concerned.
    pub(crate) version: Option<u32>,
    /// One line for people.
    pub(crate) message: String,
}
