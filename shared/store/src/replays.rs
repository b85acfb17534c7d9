//! Requests that dead letters be processed anew, and the records that each of them sent on their way.

use std::collections::HashMap;

use chrono::TimeDelta;
use halcyon_domain::{
    audit::Actor,
    clock::Timestamp,
    event::EventId,
    id::{DatasourceId, ReplayId},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::{
        replayed_records,
        replays::{ActiveModel, Column, Entity, Model},
    },
    error::{Error, Result},
    ontology::filled,
    rows::{actor, number, storable},
    tenant::Tenant,
};

/// How long they are kept: as long as dead letters are.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// Rows of one statement.
const AT_ONCE: usize = 1_000;

/// A request that dead letters be processed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its identifier.
    pub id: ReplayId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The trace of the request.
    pub trace_id: Option<String>,
    /// Which dead letters, in a sentence.
    pub summary: String,
    /// Who asked for it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
}

/// A record that a replay sent on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedRecord {
    /// The event.
    pub event: EventId,
    /// The record.
    pub record: u32,
    /// The attempt that it is.
    pub attempt: u32,
    /// The dead letter that was replayed.
    pub letter: u64,
    /// The replay.
    pub replay: ReplayId,
}

/// Replays of dead letters.
#[derive(Debug)]
pub struct Replays<'c, C>(pub(crate) &'c C);

fn replay(row: Model) -> Result<Replay> {
    Ok(Replay {
        id: ReplayId(row.id),
        datasource: DatasourceId(row.datasource_id),
        trace_id: row.trace_id,
        summary: row.summary,
        created_by: actor(&row.created_kind, row.created_by, row.created_name)?,
        created_at: row.created_at,
    })
}

impl<C: Connection> Replays<'_, C> {
    /// The records of some events that were sent on their way, with the replays that did it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of_events(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        events: &[&str],
    ) -> Result<(Vec<ReplayedRecord>, HashMap<ReplayId, Replay>)> {
        let mut records = Vec::new();
        for piece in events.chunks(256) {
            let rows = replayed_records::Entity::find()
                .filter(replayed_records::Column::OrganizationId.eq(tenant.uuid()))
                .filter(replayed_records::Column::EventId.is_in(filled(piece)))
                .filter(replayed_records::Column::DatasourceId.eq(datasource.0))
                .all(&self.0.db())
                .await?;
            for row in rows {
                records.push(ReplayedRecord {
                    event: EventId::from(row.event_id),
                    record: number(row.record_index)?,
                    attempt: number(row.attempt)?,
                    letter: u64::try_from(row.letter).map_err(Error::internal)?,
                    replay: ReplayId(row.replay_id),
                });
            }
        }
        let mut ids: Vec<_> = records.iter().map(|record| record.replay.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut replays = HashMap::new();
        for piece in ids.chunks(256) {
            let rows = Entity::find()
                .filter(Column::OrganizationId.eq(tenant.uuid()))
                .filter(Column::Id.is_in(piece.iter().copied()))
                .all(&self.0.db())
                .await?;
            for row in rows {
                let replay = replay(row)?;
                replays.insert(replay.id, replay);
            }
        }
        Ok((records, replays))
    }
}

impl Replays<'_, WriteTx> {
    /// Adds a replay, and removes those of the datasource that are past their time.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert(&self, tenant: Tenant, replay: &Replay) -> Result<()> {
        let db = self.0.db();
        let past = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(replay.datasource.0))
            .filter(Column::CreatedAt.lt(replay.created_at - KEPT_FOR));
        // The records go first: SQLite does not cascade unless it is told to for each connection.
        replayed_records::Entity::delete_many()
            .filter(replayed_records::Column::OrganizationId.eq(tenant.uuid()))
            .filter(replayed_records::Column::ReplayId.in_subquery(past.into_query()))
            .exec(&db)
            .await?;
        Entity::delete_many()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::DatasourceId.eq(replay.datasource.0))
            .filter(Column::CreatedAt.lt(replay.created_at - KEPT_FOR))
            .exec(&db)
            .await?;
        let row = ActiveModel {
            id: Set(replay.id.0),
            organization_id: Set(tenant.uuid()),
            datasource_id: Set(replay.datasource.0),
            trace_id: Set(replay.trace_id.clone()),
            summary: Set(storable(&replay.summary)),
            created_kind: Set(replay.created_by.kind.to_string()),
            created_by: Set(replay.created_by.id),
            created_name: Set(replay.created_by.name.clone()),
            created_at: Set(replay.created_at),
        };
        Entity::insert(row).exec_without_returning(&db).await?;
        Ok(())
    }

    /// Notes what a replay sends on its way, before it does.
    ///
    /// # Errors
    /// [`Error::Contention`](crate::Error::Contention) or a conflict if another replay has taken one of the attempts
    /// meanwhile; otherwise the database fails.
    pub async fn add_records(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        records: &[ReplayedRecord],
    ) -> Result<()> {
        for piece in records.chunks(AT_ONCE) {
            let rows = piece.iter().map(|record| replayed_records::ActiveModel {
                datasource_id: Set(datasource.0),
                event_id: Set(record.event.to_string()),
                attempt: Set(i64::from(record.attempt)),
                record_index: Set(i64::from(record.record)),
                organization_id: Set(tenant.uuid()),
                replay_id: Set(record.replay.0),
                letter: Set(i64::try_from(record.letter).unwrap_or(i64::MAX)),
            });
            replayed_records::Entity::insert_many(rows)
                .exec_without_returning(&self.0.db())
                .await?;
        }
        Ok(())
    }

    /// Takes back what was noted of a replay's events that it could not send.
    ///
    /// # Errors
    /// The database fails.
    pub async fn remove_records(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        replay: ReplayId,
        events: &[EventId],
    ) -> Result<()> {
        for piece in events.chunks(AT_ONCE) {
            replayed_records::Entity::delete_many()
                .filter(replayed_records::Column::OrganizationId.eq(tenant.uuid()))
                .filter(replayed_records::Column::DatasourceId.eq(datasource.0))
                .filter(replayed_records::Column::ReplayId.eq(replay.0))
                .filter(replayed_records::Column::EventId.is_in(piece.iter().map(EventId::as_str)))
                .exec(&self.0.db())
                .await?;
        }
        Ok(())
    }
}
