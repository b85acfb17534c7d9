//! What tests of plans have in common.

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{Heartbeat, PartitionLoad},
    clock::Timestamp,
    id::{InstanceId, WorkerId},
};

/// What a worker says of its partitions, second by second.
pub(super) fn heartbeat(worker: WorkerId, loads: &[(u16, u64)]) -> impl Fn(i64) -> Heartbeat + use<> {
    let loads: Vec<PartitionLoad> = loads
        .iter()
        .map(|(partition, busy)| PartitionLoad {
            partition: *partition,
            busy: *busy,
        })
        .collect();
    move |second| Heartbeat {
        worker,
        instance: InstanceId(worker.0),
        at: Timestamp::default() + TimeDelta::seconds(second),
        tasks: Vec::new(),
        sources: Vec::new(),
        reached: 0,
        draining: false,
        partitions: loads.clone(),
    }
}
