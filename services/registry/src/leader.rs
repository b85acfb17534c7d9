//! Of any number of registries one leads.

use std::time::Duration;

use halcyon_bus::{LeaseRecord, subjects::lease_keys::REGISTRY_LEADER};
use halcyon_infra::{Metric, Shutdown};
use serde_json::Value;

use crate::{checkpoints, control, run::Shared, secrets::upkeep, trim};

/// How long what is under way may take once stopping is asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// Stands for election, leads while elected, and hands the lease back at the end.
pub(crate) async fn stand(shared: &Shared, shutdown: &Shutdown) {
    let record = LeaseRecord {
        holder: shared.instance.to_string(),
        session: 1,
        info: Value::Null,
    };
    let leases = shared.bus.leases(shared.settings.leader_lease.get());
    let holder = leases.hold(REGISTRY_LEADER, record);
    while shutdown.unless_triggered(holder.held()).await.is_some() {
        tracing::info!(registry.instance = %shared.instance, "this registry leads");
        shared.metrics.set(Metric::RegistryLeader, 1.0, &[]);
        tokio::select! {
            result = control::lead(shared, shutdown) => if let Err(error) = result {
                tracing::warn!(error = %error, "leading was interrupted");
                let _ = shutdown.unless_triggered(tokio::time::sleep(Duration::from_secs(1))).await;
            },
            () = holder.lost() => tracing::warn!("this registry leads no more: its lease could not be renewed"),
            () = trim::keep_trimmed(shared) => {}
            () = upkeep::keep(shared) => {}
            () = checkpoints::keep_tidy(shared) => {}
            () = overdue(shutdown) => tracing::warn!("what was under way is left to the next leader"),
        }
        shared.metrics.set(Metric::RegistryLeader, 0.0, &[]);
    }
    holder.release().await;
}

/// Ends when stopping was asked for and what was under way did not end in time.
async fn overdue(shutdown: &Shutdown) {
    shutdown.triggered().await;
    tokio::time::sleep(DRAIN).await;
}
