//! Rows of datasources' histories: what users did, from the notices of changes, and what workers reached.

use std::collections::BTreeMap;

use halcyon_domain::{
    assignment::ConfigChange,
    clock::Timestamp,
    datasource::DatasourceEvent,
    id::{DatasourceEventId, DatasourceId, OrganizationId},
};
use halcyon_store::{Tenant, WriteTx};
use uuid::Uuid;

use crate::{Error, state::Happening};

/// Rows by tenant.
#[derive(Debug, Default)]
pub(crate) struct Rows(BTreeMap<OrganizationId, Vec<DatasourceEvent>>);

impl Rows {
    /// Adds what a user did. The row's identifier is the notice's, so that a notice that comes again makes no
    /// second row.
    pub(crate) fn add_cause(&mut self, message: Uuid, change: &ConfigChange) {
        let Some(cause) = &change.cause else { return };
        self.0
            .entry(change.organization)
            .or_default()
            .push(DatasourceEvent {
                id: DatasourceEventId(message),
                datasource: change.datasource,
                at: cause.at,
                kind: cause.kind,
                version: cause.version,
                actor: cause.actor.clone(),
                message: cause.message.clone(),
            });
    }

    /// Adds what happened at a worker.
    pub(crate) fn add_happening(
        &mut self,
        organization: OrganizationId,
        datasource: DatasourceId,
        at: Timestamp,
        happening: Happening,
    ) {
        self.0.entry(organization).or_default().push(DatasourceEvent {
            id: DatasourceEventId::generate(),
            datasource,
            at,
            kind: happening.kind,
            version: happening.version,
            actor: None,
            message: happening.message,
        });
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn write(self, tx: &WriteTx) -> Result<(), Error> {
        for (organization, rows) in self.0 {
            tx.datasource_events().append(Tenant(organization), &rows).await?;
        }
        Ok(())
    }
}
