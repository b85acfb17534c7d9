//! Who is there: the workers whose lease stands.

use halcyon_bus::{KvMirror, LeaseRecord, subjects::lease_keys::WORKERS};
use halcyon_domain::assignment::WorkerMember;

/// The workers whose lease stands, by identifier.
pub(crate) fn members(leases: &KvMirror<LeaseRecord>) -> Vec<WorkerMember> {
    let leases = leases.snapshot();
    let workers = leases.iter().filter(|(key, _)| key.starts_with(WORKERS));
    let mut members: Vec<WorkerMember> = workers
        .filter_map(|(key, entry)| match entry.value.info::<WorkerMember>() {
            Ok(member) => Some(WorkerMember {
                session: entry.value.session,
                ..member
            }),
            Err(error) => {
                tracing::error!(lease = key, error = %error, "a worker's lease cannot be read");
                None
            }
        })
        .collect();
    members.sort_by_key(|member| member.worker);
    members
}
