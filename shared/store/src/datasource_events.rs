//! The history of datasources. On Postgres the table has a partition for each month.

use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceEvent, DatasourceEventKind},
    id::{DatasourceEventId, DatasourceId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, Statement,
    sea_query::OnConflict,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasource_events::{ActiveModel, Column, Entity, Model},
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    partitions::{EVENTS, Month},
    rows::{optional_number, storable, word},
    tenant::Tenant,
};

/// How many rows one statement removes, so that no writer waits long.
const PRUNED_AT_ONCE: u32 = 5_000;

/// Which rows of a history a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// What they are about.
    pub kind: Option<DatasourceEventKind>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("at", Column::At)],
    default: "-at",
    id: Column::Id,
};

fn event(row: Model) -> Result<DatasourceEvent> {
    Ok(DatasourceEvent {
        id: DatasourceEventId(row.id),
        datasource: DatasourceId(row.datasource_id),
        at: row.at,
        kind: word(&row.kind)?,
        version: optional_number(row.version)?,
        actor: row.actor,
        message: row.message,
    })
}

/// The history of datasources.
#[derive(Debug)]
pub struct DatasourceEvents<'c, C>(pub(crate) &'c C);

impl<C: Connection> DatasourceEvents<'_, C> {
    /// The history of a datasource; sorted by `at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        filter: &EventFilter,
        request: &PageRequest,
    ) -> Result<Page<DatasourceEvent>> {
        let wanted = Condition::all()
            .add(Column::OrganizationId.eq(tenant.uuid()))
            .add(Column::DatasourceId.eq(datasource.0))
            .add_option(filter.kind.map(|kind| Column::Kind.eq(kind.as_str())))
            .add_option(filter.from.map(|from| Column::At.gte(from)))
            .add_option(filter.to.map(|to| Column::At.lt(to)));
        page::fetch(self.0, Entity::find().filter(wanted), &SORTING, request)
            .await?
            .try_map(event)
    }
}

impl DatasourceEvents<'_, WriteTx> {
    /// Adds rows. One that is there already (the same identifier and time) is left as it is: what came of a
    /// message that is delivered again is written once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn append(&self, tenant: Tenant, events: &[DatasourceEvent]) -> Result<()> {
        for chunk in events.chunks(1_000) {
            let rows = chunk.iter().map(|event| ActiveModel {
                id: Set(event.id.0),
                organization_id: Set(tenant.uuid()),
                datasource_id: Set(event.datasource.0),
                at: Set(event.at),
                kind: Set(event.kind.to_string()),
                version: Set(event.version.map(i64::from)),
                actor: Set(event.actor.clone()),
                message: Set(storable(&event.message)),
            });
            let known = OnConflict::columns([Column::Id, Column::At])
                .do_nothing()
                .to_owned();
            Entity::insert_many(rows)
                .on_conflict(known)
                .exec_without_returning(&self.0.db())
                .await?;
        }
        Ok(())
    }

    /// Makes the partitions of this month and the next ones, where they are not there yet. Nothing on SQLite.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ensure_partitions(&self, now: Timestamp) -> Result<()> {
        EVENTS.ensure(self.0, now).await
    }

    /// Drops the partitions of months that ended before `time`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn drop_partitions(&self, time: Timestamp) -> Result<usize> {
        EVENTS.drop_before(self.0, Month::of(time)).await
    }

    /// Removes rows from before `time`, a few thousand at most. Returns whether there may be more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prune(&self, time: Timestamp) -> Result<bool> {
        let db = self.0.db();
        let sql = format!(
            "DELETE FROM datasource_events WHERE (id, at) IN
                (SELECT id, at FROM datasource_events WHERE at < $1 ORDER BY at LIMIT {PRUNED_AT_ONCE})"
        );
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [time.into()]);
        let removed = db.execute_raw(statement).await?.rows_affected();
        Ok(removed >= u64::from(PRUNED_AT_ONCE))
    }
}
