//! What a pool may use.

use std::{path::PathBuf, time::Duration};

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory;

/// What a pool of processes for scripts may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "SandboxSettings")]
pub struct Settings {
    /// Processes that live at a time. Each runs one version of one datasource's script, and is kept for its next
    /// batch until another script needs its place. 0 is as many as fit into the control group's limit of memory beside
    /// the service, at most 16.
    pub processes: usize,
    /// How long a script may work on one record before its process is killed.
    pub record_deadline: HumanDuration,
    /// How long the records of one event may take together; the rest of them fail.
    pub event_deadline: HumanDuration,
    /// The memory of a script's values in JavaScript, in mebibytes; at most 128.
    pub javascript_heap_mib: usize,
    /// The memory at which a process is killed, in mebibytes; at most 192.
    pub memory_mib: u64,
    /// Failures of this kind (time, memory, crash) in a row, with no record mapped between them, after which a script
    /// is suspended.
    pub suspend_after: u32,
    /// How long a script is suspended; twice as long each further time, up to 32 times. Its records are dead letters
    /// meanwhile.
    pub suspend_for: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            processes: 0,
            record_deadline: HumanDuration::from_secs(1),
            event_deadline: HumanDuration::from_secs(30),
            javascript_heap_mib: 32,
            memory_mib: 160,
            suspend_after: 5,
            suspend_for: HumanDuration::from_secs(10),
        }
    }
}

impl Settings {
    /// How many processes live at a time at most.
    #[must_use]
    pub fn most_processes(&self) -> usize {
        match self.processes {
            0 => memory::fitting(self.memory_bytes()),
            set => set,
        }
    }

    /// An event of one record has the time of that.
    pub(crate) fn event_deadline(&self) -> Duration {
        self.event_deadline.get().max(self.record_deadline.get())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.javascript_heap_mib.clamp(1, 128) << 20
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_mib.clamp(16, 192) << 20
    }
}

impl Program {
    /// The `halcyon` executable.
    #[must_use]
    pub fn halcyon(path: PathBuf) -> Self {
        Self {
            path,
            arguments: vec![crate::SUBCOMMAND.to_owned()],
        }
    }
}

/// The program whose processes run scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments, after which it does what [`crate::serve`] does.
    pub arguments: Vec<String>,
}
