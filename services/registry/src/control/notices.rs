//! Notices of changed configurations: what users did goes into the histories, what they want onto the bus.

use std::collections::BTreeSet;

use halcyon_bus::Delivery;
use halcyon_domain::{assignment::ConfigChange, datasource::DatasourceEventKind};
use halcyon_store::Tenant;
use uuid::Uuid;

use super::{Control, secret_faults::SecretFaults};
use crate::{Error, history::Rows};

/// From which delivery on a notice is handled alone...
const ALONE: u32 = 3;
/// ...and from which on it is given up if time does not heal it: the comparison of everything does what it asked for.
const HOPELESS: u32 = 10;

/// A notice and the identifier of its message.
type Notice = (Option<Uuid>, ConfigChange);

impl Control<'_> {
    /// Handles notices. They are acked once all that follows from them is written; else they come again. One that
    /// came several times is handled alone, so that it holds up no other.
    pub(super) async fn take_in(&mut self, deliveries: Vec<Delivery>) {
        let (fresh, stubborn): (Vec<_>, Vec<_>) = deliveries
            .into_iter()
            .partition(|delivery| delivery.delivered() < ALONE);
        self.take_in_together(fresh).await;
        for delivery in stubborn {
            self.take_in_together(vec![delivery]).await;
        }
    }

    async fn take_in_together(&mut self, deliveries: Vec<Delivery>) {
        let mut notices = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            match delivery.json::<ConfigChange>() {
                Ok(change) => notices.push((delivery.message_id().and_then(|id| id.parse().ok()), change)),
                Err(error) => {
                    tracing::error!(error = %error, "a notice of a change cannot be read and is left out")
                }
            }
        }
        if let Err(error) = self.apply(&notices).await {
            let hopeless =
                deliveries.iter().all(|delivery| delivery.delivered() >= HOPELESS) && !error.is_transient();
            tracing::warn!(error = %error, changes = notices.len(), hopeless, "changes could not be applied");
            if !hopeless {
                return;
            }
        }
        for delivery in deliveries {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(error = %error, "a notice could not be acked and will come again");
            }
        }
    }

    async fn apply(&mut self, notices: &[Notice]) -> Result<(), Error> {
        self.record(notices).await?;
        let mut changed = BTreeSet::new();
        for (_, change) in notices {
            changed.insert(change.datasource);
            if is_about_secrets(change) {
                *self.memory.secrets.entry(change.datasource).or_default() += 1;
            }
            if kind(change) == Some(DatasourceEventKind::SchemaAccepted) {
                let accepted = self.memory.accepted.entry(change.datasource).or_default();
                *accepted = (*accepted).max(change.generation);
            }
        }
        if notices.iter().any(|(_, change)| is_about_secrets(change)) {
            self.memory.faults = SecretFaults::read(self.shared).await?;
        }
        for datasource in changed {
            self.desired.read_one(datasource, &self.memory).await?;
        }
        self.heard = true;
        let gone = self.desired.read_backfills(&self.memory).await?;
        let result = self.reconcile().await;
        self.forget_backfills(gone).await;
        result
    }

    /// Writes what users did into the histories, and destroys the secrets and the state of what was deleted.
    async fn record(&mut self, notices: &[Notice]) -> Result<(), Error> {
        let mut rows = Rows::default();
        for (message, change) in notices {
            if let Some(message) = message {
                rows.add_cause(*message, change);
            }
        }
        let deleted: Vec<_> = notices
            .iter()
            .filter(|(_, change)| kind(change) == Some(DatasourceEventKind::Deleted))
            .collect();
        if rows.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let tx = self.shared.store.begin().await?;
        rows.write(&tx).await?;
        for (_, change) in &deleted {
            let tenant = Tenant(change.organization);
            let gone = tx.secrets().list(tenant, change.datasource).await?;
            tx.secrets().destroy_all(tenant, change.datasource).await?;
            self.shared
                .keeper
                .leave_chores(&tx, &gone, self.shared.clock.now())
                .await?;
            tx.states().delete(tenant, change.datasource).await?;
            let now = self.shared.clock.now();
            tx.backfills().cancel_all(tenant, change.datasource, now).await?;
        }
        tx.commit().await?;
        for (_, change) in deleted {
            self.memory.tracker.forget(change.datasource);
            self.memory.secrets.remove(&change.datasource);
            self.memory.accepted.remove(&change.datasource);
        }
        Ok(())
    }
}

/// Whether secrets are others than before: who uses them opens them anew.
fn is_about_secrets(change: &ConfigChange) -> bool {
    matches!(
        kind(change),
        Some(DatasourceEventKind::SecretChanged | DatasourceEventKind::SecretExpired)
    )
}

fn kind(change: &ConfigChange) -> Option<DatasourceEventKind> {
    change.cause.as_ref().map(|cause| cause.kind)
}
