//! The monthly partitions that some tables have on Postgres: made ahead of time, dropped whole when their month is
//! past its time. SQLite knows none.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use halcyon_domain::clock::Timestamp;
use sea_orm::{ConnectionTrait, DbBackend, Statement, TryGetable};

use crate::{
    connection::WriteTx,
    db::Executes,
    error::{Error, Result},
};

/// How many months ahead partitions are made.
const MONTHS_AHEAD: u32 = 3;

/// A table with a partition for each month of one of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partitioned {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// Whether `TRUNCATE` is refused: row triggers come from the table, that one has to be made for each partition.
    pub(crate) append_only: bool,
}

/// The history of datasources.
pub(crate) const EVENTS: Partitioned = Partitioned {
    table: "datasource_events",
    column: "at",
    append_only: false,
};

/// The audit trail.
pub(crate) const AUDIT: Partitioned = Partitioned {
    table: "audit_entries",
    column: "recorded_at",
    append_only: true,
};

/// The first day of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month(NaiveDate);

impl Month {
    /// The month of a time.
    pub(crate) fn of(time: Timestamp) -> Self {
        let day = time.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    /// When it begins.
    pub(crate) fn begin(self) -> Timestamp {
        DateTime::from_naive_utc_and_offset(self.0.and_time(NaiveTime::MIN), Utc)
    }

    fn later(self, months: u32) -> Result<Self> {
        let later = self.0.checked_add_months(Months::new(months));
        later
            .map(Self)
            .ok_or_else(|| Error::internal("the clock is out of range"))
    }

    fn suffix(self) -> String {
        format!("{:04}_{:02}", self.0.year(), self.0.month())
    }

    fn read(suffix: &str) -> Option<Self> {
        let (year, month) = suffix.split_once('_')?;
        NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1).map(Self)
    }

    /// The bound as Postgres reads it.
    fn bound(self) -> String {
        format!("{} 00:00:00+00", self.0)
    }
}

impl Partitioned {
    /// Makes the partitions of this month and the next ones, where they are not there yet. Nothing on SQLite.
    pub(crate) async fn ensure(self, tx: &WriteTx, now: Timestamp) -> Result<()> {
        if tx.db().get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        tx.lock("halcyon.partitions").await?;
        let known = self.months(tx).await?;
        for ahead in 0..=MONTHS_AHEAD {
            let month = Month::of(now).later(ahead)?;
            if !known.contains(&month) && !self.strays(tx, month).await? {
                self.make(tx, month).await?;
            }
        }
        Ok(())
    }

    async fn make(self, tx: &WriteTx, month: Month) -> Result<()> {
        let (table, suffix) = (self.table, month.suffix());
        let (from, to) = (month.bound(), month.later(1)?.bound());
        let db = tx.db();
        db.execute_unprepared(&format!(
            "CREATE TABLE {table}_{suffix} PARTITION OF {table} FOR VALUES FROM ('{from}') TO ('{to}')"
        ))
        .await?;
        if self.append_only {
            db.execute_unprepared(&format!(
                "CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}_{suffix}
                    FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()"
            ))
            .await?;
        }
        Ok(())
    }

    /// Whether rows of the month are in the default partition, because its own was not made in time: then it cannot
    /// be made any more, and they stay there.
    async fn strays(self, tx: &WriteTx, month: Month) -> Result<bool> {
        let (table, column) = (self.table, self.column);
        let (from, to) = (month.bound(), month.later(1)?.bound());
        let sql =
            format!("SELECT 1 FROM {table}_default WHERE {column} >= '{from}' AND {column} < '{to}' LIMIT 1");
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        Ok(tx.db().query_one_raw(statement).await?.is_some())
    }

    /// The months that have a partition, oldest first.
    async fn months(self, tx: &WriteTx) -> Result<Vec<Month>> {
        let sql = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = to_regclass($1) ORDER BY 1";
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [self.table.into()]);
        let rows = tx.db().query_all_raw(statement).await?;
        let mut months = Vec::new();
        for row in &rows {
            let name = String::try_get(row, "", "name").map_err(sea_orm::DbErr::from)?;
            let suffix = name
                .strip_prefix(self.table)
                .and_then(|rest| rest.strip_prefix('_'));
            months.extend(suffix.and_then(Month::read));
        }
        Ok(months)
    }

    /// Drops the partitions of the months before `month`. Returns how many. Nothing on SQLite.
    pub(crate) async fn drop_before(self, tx: &WriteTx, month: Month) -> Result<usize> {
        if tx.db().get_database_backend() != DbBackend::Postgres {
            return Ok(0);
        }
        tx.lock("halcyon.partitions").await?;
        let past: Vec<Month> = self
            .months(tx)
            .await?
            .into_iter()
            .filter(|known| *known < month)
            .collect();
        for month in &past {
            let sql = format!("DROP TABLE {}_{}", self.table, month.suffix());
            tx.db().execute_unprepared(&sql).await?;
        }
        Ok(past.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_reads_back_its_suffix() {
        let month = Month::of("2026-12-31T23:59:59Z".parse().unwrap());
        assert_eq!(month.suffix(), "2026_12");
        assert_eq!(Month::read("2026_12"), Some(month));
        assert_eq!(month.later(1).unwrap().bound(), "2027-01-01 00:00:00+00");
        assert_eq!(Month::read("default"), None);
        assert_eq!(month.begin().to_rfc3339(), "2026-12-01T00:00:00+00:00");
    }
}
