//! The worker's settings.

use std::collections::BTreeSet;

use halcyon_domain::{assignment::DEFAULT_POOL, duration::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The worker's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "WorkerSettings")]
pub struct Settings {
    /// The pool that it belongs to: it may hold the partitions of this pool, and run sources that ask for it.
    pub pool: String,
    /// Further labels: sources may ask for workers that have them.
    pub labels: BTreeSet<String>,
    /// The time to live of its lease: how long it takes others to take over its work.
    pub lease: HumanDuration,
    /// Frames of one partition that are worked on at a time.
    pub frames_in_flight: usize,
    /// The delivery at which an event that cannot be processed is dead-lettered.
    pub max_attempts: u32,
    /// How long a frame waits for one datasource (its version, its share of the processors) before that
    /// datasource's events are parked.
    pub park_after: HumanDuration,
    /// How long a parked event waits for a datasource that nobody knows before it is dead-lettered.
    pub orphan_after: HumanDuration,
    /// How many events of dead letters are processed anew in a second, of one datasource on one partition; a
    /// datasource's own throttle counts, too, where it is lower.
    pub replays_per_second: u32,
    /// Mappings that run at a time; 0 is one for each processor.
    pub mapping_threads: usize,
    /// Backfills that read here at a time; further ones wait.
    pub backfills: usize,
    /// How long the work in flight may take when the worker stops.
    pub drain: HumanDuration,
    /// The processes that run scripts.
    pub sandbox: halcyon_sandbox::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool: DEFAULT_POOL.to_owned(),
            labels: BTreeSet::new(),
            lease: HumanDuration::from_secs(10),
            frames_in_flight: 8,
            max_attempts: 5,
            park_after: HumanDuration::from_secs(2),
            orphan_after: HumanDuration::from_secs(3_600),
            replays_per_second: 500,
            mapping_threads: 0,
            backfills: 2,
            drain: HumanDuration::from_secs(15),
            sandbox: halcyon_sandbox::Settings::default(),
        }
    }
}
