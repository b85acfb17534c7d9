//! The history of datasources. On Postgres the table has a partition for each month.

use chrono::{Datelike, Months, NaiveDate};
use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceEvent, DatasourceEventKind},
    id::{DatasourceEventId, DatasourceId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::OnConflict,
};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::datasource_events::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    page::{self, Page, PageRequest, Sorting},
    rows::{optional_number, storable, word},
    tenant::Tenant,
};

/// How many months ahead partitions are made.
const MONTHS_AHEAD: u32 = 3;

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
        let db = self.0.db();
        if db.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        self.0.lock("halcyon.partitions").await?;
        for month in 0..=MONTHS_AHEAD {
            let (from, to) = month_of(now, month)?;
            let name = format!("datasource_events_{:04}_{:02}", from.year(), from.month());
            let known = sea_orm::Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
                [name.as_str().into()],
            );
            if db.query_one_raw(known).await?.is_some() {
                continue;
            }
            let sql = format!(
                "CREATE TABLE {name} PARTITION OF datasource_events FOR VALUES FROM ('{from}') TO ('{to}')"
            );
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// The bounds of the month that is `ahead` months after `now`'s, as Postgres reads them.
fn month_of(now: Timestamp, ahead: u32) -> Result<(Bound, Bound)> {
    let first = now
        .date_naive()
        .with_day(1)
        .and_then(|day| day.checked_add_months(Months::new(ahead)));
    let bounds = first.and_then(|from| Some((Bound(from), Bound(from.checked_add_months(Months::new(1))?))));
    bounds.ok_or_else(|| Error::internal("the clock is out of range"))
}

struct Bound(NaiveDate);

impl Bound {
    fn year(&self) -> i32 {
        self.0.year()
    }

    fn month(&self) -> u32 {
        self.0.month()
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} 00:00:00+00", self.0)
    }
}
