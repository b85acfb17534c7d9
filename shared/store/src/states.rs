//! What workers reached. Written by the registry alone.

use std::collections::HashMap;

use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceMetrics, DatasourceState},
    id::{DatasourceId, OrganizationId, WorkerId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, Iterable, QueryFilter, QueryOrder, sea_query::OnConflict,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasource_state::{ActiveModel, Column, Entity, Model},
    error::Result,
    rows::{document, number, optional_number, text, word},
    tenant::{AllTenants, Tenant},
};

/// A datasource's observed state, with what only the registry uses.
#[derive(Clone, Debug, PartialEq)]
pub struct StateRecord {
    /// The datasource.
    pub datasource: DatasourceId,
    /// Its organisation.
    pub organization: OrganizationId,
    /// The state.
    pub state: DatasourceState,
    /// The term of the registry that wrote it: what one of an older term writes is stale.
    pub epoch: u64,
    /// A stable word for the failure, if there is one.
    pub error_code: Option<String>,
    /// The newest numbers.
    pub metrics: DatasourceMetrics,
    /// When this row was written.
    pub updated_at: Timestamp,
}

fn record(row: Model) -> Result<StateRecord> {
    Ok(StateRecord {
        datasource: DatasourceId(row.datasource_id),
        organization: OrganizationId(row.organization_id),
        state: DatasourceState {
            status: word(&row.status)?,
            observed_generation: row.observed_generation,
            version: optional_number(row.version)?,
            last_good_version: optional_number(row.last_good_version)?,
            worker: row.worker_id.map(WorkerId),
            reason: word(&row.reason)?,
            message: row.message,
            last_heartbeat: row.last_heartbeat,
            last_event_at: row.last_event_at,
            restarts: number(row.restarts)?,
            next_attempt_at: row.next_attempt_at,
            schedule: row.schedule.as_deref().map(document).transpose()?,
        },
        epoch: row.epoch.cast_unsigned(),
        error_code: row.error_code,
        metrics: document(&row.metrics)?,
        updated_at: row.updated_at,
    })
}

fn row(record: &StateRecord) -> Result<ActiveModel> {
    let state = &record.state;
    Ok(ActiveModel {
        datasource_id: Set(record.datasource.0),
        organization_id: Set(record.organization.0),
        status: Set(state.status.to_string()),
        reason: Set(state.reason.to_string()),
        message: Set(state.message.as_deref().map(crate::rows::storable)),
        observed_generation: Set(state.observed_generation),
        version: Set(state.version.map(i64::from)),
        last_good_version: Set(state.last_good_version.map(i64::from)),
        worker_id: Set(state.worker.map(|id| id.0)),
        epoch: Set(record.epoch.cast_signed()),
        last_heartbeat: Set(state.last_heartbeat),
        last_event_at: Set(state.last_event_at),
        restarts: Set(i64::from(state.restarts)),
        next_attempt_at: Set(state.next_attempt_at),
        schedule: Set(state.schedule.as_ref().map(text).transpose()?),
        error_code: Set(record.error_code.clone()),
        metrics: Set(text(&record.metrics)?),
        updated_at: Set(record.updated_at),
    })
}

/// What workers reached.
#[derive(Debug)]
pub struct States<'c, C>(pub(crate) &'c C);

impl<C: Connection> States<'_, C> {
    /// The state of a datasource; none if the registry has not seen it yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, tenant: Tenant, datasource: DatasourceId) -> Result<Option<StateRecord>> {
        let select = Entity::find_by_id(datasource.0).filter(Column::OrganizationId.eq(tenant.uuid()));
        select.one(&self.0.db()).await?.map(record).transpose()
    }

    /// The states of several datasources.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_many(
        &self,
        tenant: Tenant,
        datasources: &[DatasourceId],
    ) -> Result<HashMap<DatasourceId, StateRecord>> {
        let select = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.is_in(datasources.iter().map(|id| id.0)));
        let rows = select.all(&self.0.db()).await?;
        rows.into_iter()
            .map(|row| Ok((DatasourceId(row.datasource_id), record(row)?)))
            .collect()
    }

    /// The states of all datasources: the control plane reconciles all of them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(&self, _: AllTenants) -> Result<Vec<StateRecord>> {
        let rows = Entity::find()
            .order_by_asc(Column::DatasourceId)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(record).collect()
    }
}

impl States<'_, WriteTx> {
    /// Writes states, whole. A row that holds a newer epoch is left as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put(&self, records: &[StateRecord]) -> Result<()> {
        let columns = Column::iter().filter(|column| !matches!(column, Column::DatasourceId));
        let newer = OnConflict::column(Column::DatasourceId)
            .update_columns(columns)
            .action_and_where(sea_orm::sea_query::Expr::cust(
                "datasource_state.epoch <= excluded.epoch",
            ))
            .to_owned();
        let mut records: Vec<_> = records.iter().collect();
        records.sort_by_key(|record| record.datasource);
        for chunk in records.chunks(1_000) {
            let rows = chunk
                .iter()
                .map(|record| row(record))
                .collect::<Result<Vec<_>>>()?;
            Entity::insert_many(rows)
                .on_conflict(newer.clone())
                .exec_without_returning(&self.0.db())
                .await?;
        }
        Ok(())
    }

    /// Removes the state of a deleted datasource.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, tenant: Tenant, datasource: DatasourceId) -> Result<()> {
        Entity::delete_many()
            .filter(Column::DatasourceId.eq(datasource.0))
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }
}
