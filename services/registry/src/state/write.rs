//! Writes states, numbers and history: one transaction for all datasources.

use std::collections::BTreeMap;

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, OrganizationId},
};
use halcyon_store::{StateRecord, Store};

use super::tracker::Unwritten;
use crate::{Error, history::Rows};

/// Writes what is not yet in the database, as the leader of a term: what a later one has written stays.
///
/// # Errors
/// The database fails; nothing is written then.
pub(crate) async fn write(
    store: &Store,
    unwritten: &[Unwritten],
    tenants: &BTreeMap<DatasourceId, OrganizationId>,
    term: u64,
    now: Timestamp,
) -> Result<(), Error> {
    let mut records = Vec::with_capacity(unwritten.len());
    let mut rows = Rows::default();
    for item in unwritten {
        // One that was deleted in the meantime has no row to write.
        let Some(organization) = tenants.get(&item.datasource) else {
            continue;
        };
        records.push(StateRecord {
            datasource: item.datasource,
            organization: *organization,
            state: item.state.clone(),
            epoch: term,
            error_code: None,
            metrics: item.metrics.clone(),
            updated_at: now,
        });
        for happening in item.happenings.clone() {
            rows.add_happening(*organization, item.datasource, now, happening);
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let tx = store.begin().await?;
    tx.states().put(&records).await?;
    rows.write(&tx).await?;
    Ok(tx.commit().await?)
}
