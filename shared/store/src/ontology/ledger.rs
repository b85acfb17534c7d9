//! The ledger: which record of which event was applied, by which version, with which verdict.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use halcyon_domain::{
    clock::Timestamp,
    event::{EventId, EventOutcome, RecordOutcome, Verdict},
    id::DatasourceId,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    Statement,
};

use super::{Applied, Ontology, bulk};
use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::ledger::{ActiveModel, Column, Entity, Model},
    error::Result,
    rows::{number, storable, word},
    tenant::AllTenants,
};

/// How long the ledger remembers: a redelivery after that would count again.
pub const LEDGER_DAYS: i64 = 7;

/// How many rows one statement removes, so that no writer waits long.
const PRUNED_AT_ONCE: u32 = 5_000;

/// A record's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The feed.
    pub datasource: DatasourceId,
    /// The event.
    pub event: EventId,
    /// The record within the event.
    pub record: u32,
    /// The event's attempt.
    pub attempt: u32,
    /// The version that decided.
    pub version: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, if it was dead-lettered.
    pub reason: Option<String>,
    /// When it was applied.
    pub at: Timestamp,
}

fn row(row: Model) -> Result<LedgerRow> {
    Ok(LedgerRow {
        datasource: DatasourceId(row.datasource_id),
        event: EventId::from(row.event_id),
        record: number(row.record_index)?,
        attempt: number(row.attempt)?,
        version: number(row.version)?,
        verdict: word(&row.verdict)?,
        reason: row.reason,
        at: row.at,
    })
}

/// What is known of an event's attempt: the version that decides, and the records it decided about.
struct Decided {
    version: u32,
    records: HashSet<u32>,
}

type Key = (DatasourceId, EventId, u32);

/// Enters the records that are new, and returns them.
pub(super) async fn admit<'o>(
    tx: &WriteTx,
    outcomes: &'o [EventOutcome],
    now: Timestamp,
    applied: &mut Applied,
) -> Result<Vec<(&'o EventOutcome, &'o RecordOutcome)>> {
    let mut decided = known(tx, outcomes).await?;
    let mut admitted = Vec::new();
    let mut rows = Vec::new();
    for outcome in outcomes {
        let key = (outcome.datasource, outcome.event.clone(), outcome.attempt);
        let entry = decided.entry(key).or_insert_with(|| Decided {
            version: outcome.version,
            records: HashSet::new(),
        });
        if entry.version != outcome.version {
            applied.superseded += 1;
            applied.duplicates += outcome.records.len() as u64;
            continue;
        }
        for record in &outcome.records {
            if !entry.records.insert(record.index) {
                applied.duplicates += 1;
                continue;
            }
            applied.count(record.verdict);
            rows.push(entered(outcome, record, now));
            admitted.push((outcome, record));
        }
    }
    // In the order of the key, so that two processes that apply the same wait for each other one way round.
    rows.sort_by(|a, b| key_of(a).cmp(&key_of(b)));
    bulk::insert::<Entity, ActiveModel>(tx, &rows).await?;
    Ok(admitted)
}

fn key_of(row: &ActiveModel) -> (&str, uuid::Uuid, i64, i64) {
    let (event, datasource) = (row.event_id.as_ref(), row.datasource_id.as_ref());
    (
        event,
        *datasource,
        *row.attempt.as_ref(),
        *row.record_index.as_ref(),
    )
}

async fn known(tx: &WriteTx, outcomes: &[EventOutcome]) -> Result<HashMap<Key, Decided>> {
    let events: HashSet<&str> = outcomes.iter().map(|outcome| outcome.event.as_str()).collect();
    let events: Vec<&str> = events.into_iter().collect();
    let mut decided: HashMap<Key, Decided> = HashMap::new();
    for piece in events.chunks(256) {
        let rows = Entity::find()
            .filter(Column::EventId.is_in(bulk::filled(piece)))
            .all(&tx.db())
            .await?;
        for row in rows {
            let key = (
                DatasourceId(row.datasource_id),
                EventId::from(row.event_id),
                number(row.attempt)?,
            );
            let version = number(row.version)?;
            let entry = decided.entry(key).or_insert_with(|| Decided {
                version,
                records: HashSet::new(),
            });
            entry.records.insert(number(row.record_index)?);
        }
    }
    Ok(decided)
}

fn entered(outcome: &EventOutcome, record: &RecordOutcome, now: Timestamp) -> ActiveModel {
    ActiveModel {
        datasource_id: Set(outcome.datasource.0),
        event_id: Set(outcome.event.to_string()),
        attempt: Set(i64::from(outcome.attempt)),
        record_index: Set(i64::from(record.index)),
        version: Set(i64::from(outcome.version)),
        verdict: Set(record.verdict.to_string()),
        reason: Set(record.failure.as_ref().map(|failure| storable(&failure.code))),
        at: Set(now),
    }
}

impl<C: Connection> Ontology<'_, C> {
    /// What became of an event's records, all attempts: the ledger has no tenants, only feeds.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ledger(
        &self,
        _: AllTenants,
        datasource: DatasourceId,
        event: &EventId,
    ) -> Result<Vec<LedgerRow>> {
        let rows = Entity::find()
            .filter(Column::EventId.eq(event.as_str()))
            .filter(Column::DatasourceId.eq(datasource.0))
            .order_by_asc(Column::Attempt)
            .order_by_asc(Column::RecordIndex)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(row).collect()
    }

    /// What became of the records of some events of a feed, all attempts: the ledger has no tenants, only feeds.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ledger_of(
        &self,
        _: AllTenants,
        datasource: DatasourceId,
        events: &[&str],
    ) -> Result<Vec<LedgerRow>> {
        let mut rows = Vec::new();
        for piece in events.chunks(256) {
            let found = Entity::find()
                .filter(Column::EventId.is_in(bulk::filled(piece)))
                .filter(Column::DatasourceId.eq(datasource.0))
                .all(&self.0.db())
                .await?;
            rows.extend(found);
        }
        rows.into_iter().map(row).collect()
    }

    /// How many records of a feed have a verdict: the ledger has no tenants, only feeds.
    ///
    /// # Errors
    /// The database fails.
    pub async fn verdicts(&self, _: AllTenants, datasource: DatasourceId, verdict: Verdict) -> Result<u64> {
        let select = Entity::find()
            .filter(Column::DatasourceId.eq(datasource.0))
            .filter(Column::Verdict.eq(verdict.as_str()));
        Ok(select.count(&self.0.db()).await?)
    }
}

impl Ontology<'_, WriteTx> {
    /// Removes rows older than [`LEDGER_DAYS`], a few thousand at most. Returns whether there may be more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prune_ledger(&self, now: Timestamp) -> Result<bool> {
        let db = self.0.db();
        let key = "event_id, datasource_id, attempt, record_index";
        let sql = format!(
            "DELETE FROM ledger WHERE ({key}) IN
                (SELECT {key} FROM ledger WHERE at < $1 ORDER BY at LIMIT {PRUNED_AT_ONCE})"
        );
        let before = now - TimeDelta::days(LEDGER_DAYS);
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [before.into()]);
        let removed = db.execute_raw(statement).await?.rows_affected();
        Ok(removed >= u64::from(PRUNED_AT_ONCE))
    }
}
