//! What a pool has done, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a pool has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes that live now.
    pub processes: u64,
    /// Processes that were started.
    pub started: u64,
    /// Records that were answered, failures included.
    pub records: u64,
    /// Processes that were killed at the deadline, or scripts that were stopped there.
    pub late: u64,
    /// Processes and scripts that took too much memory.
    pub memory: u64,
    /// Processes that died otherwise.
    pub crashed: u64,
    /// Times that a script was suspended.
    pub suspended: u64,
}

#[derive(Default)]
pub(super) struct Totals {
    pub(super) started: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) memory: AtomicU64,
    pub(super) crashed: AtomicU64,
    pub(super) suspended: AtomicU64,
}

impl Totals {
    pub(super) fn note(&self, code: &str) {
        let total = match code {
            "script_timeout" => &self.late,
            "script_memory" => &self.memory,
            "script_crashed" => &self.crashed,
            _ => return,
        };
        total.fetch_add(1, Ordering::Relaxed);
    }
}
