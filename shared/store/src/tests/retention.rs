//! What is kept for how long, and the audit trail's own upkeep.

use chrono::TimeDelta;
use halcyon_domain::{
    audit::{AuditCheckpoint, AuditKey, CheckpointKind},
    clock::Timestamp,
    datasource::{DatasourceEvent, DatasourceEventKind},
    duration::HumanDuration,
    hex::Hex,
    id::DatasourceEventId,
};
use sea_orm::{ConnectionTrait, Statement};

use super::{Fixture, at, datasource, journal, on_both};
use crate::{AllTenants, EventFilter, PageRequest, Retention, Store, StoreSettings, Tenant, db::Executes};

const WHY: AllTenants = AllTenants::because("a test");

/// The fixture's database, with rows kept for so many days.
async fn keeping(fixture: &Fixture, days: u64) -> Store {
    let kept = Some(HumanDuration::from_secs(days * 24 * 3_600));
    let settings = StoreSettings {
        retention: Retention {
            events: kept,
            audit: kept,
        },
        ..fixture.settings.clone()
    };
    Store::connect(&settings).await.unwrap()
}

async fn partitions(store: &Store, table: &str) -> Vec<String> {
    let tx = store.begin().await.unwrap();
    let db = tx.db();
    let sql = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass($1) ORDER BY 1";
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(
            db.get_database_backend(),
            sql,
            [table.into()],
        ))
        .await
        .unwrap();
    rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}

#[tokio::test]
async fn the_history_of_datasources_goes_when_its_time_is_over() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let feed = datasource(ours, "feed");
        let store = keeping(&fixture, 60).await;
        store.maintain(at(0)).await.unwrap();
        let tx = store.begin().await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        let events: Vec<_> = [0, 20, 40, 80]
            .into_iter()
            .map(|days| DatasourceEvent {
                id: DatasourceEventId::generate(),
                datasource: feed.id,
                at: at(0) + TimeDelta::days(days),
                kind: DatasourceEventKind::Created,
                version: None,
                actor: None,
                message: "x".into(),
            })
            .collect();
        tx.datasource_events().append(ours, &events).await.unwrap();
        tx.commit().await.unwrap();
        let left = async || {
            let read = store.read();
            let events = read.datasource_events();
            let (all, page) = (EventFilter::default(), PageRequest::default());
            events.list(ours, feed.id, &all, &page).await.unwrap().items.len()
        };
        for (day, expected) in [(59, 4), (70, 3), (101, 1), (200, 0)] {
            store.maintain(at(0) + TimeDelta::days(day)).await.unwrap();
            assert_eq!(left().await, expected, "after {day} days");
        }
        if store.is_postgres() {
            let left = partitions(&store, "datasource_events").await;
            assert!(
                !left.contains(&"datasource_events_2026_11".to_owned()),
                "{left:?}"
            );
            assert!(left.contains(&"datasource_events_2027_09".to_owned()), "{left:?}");
        }
    })
    .await;
}

fn checkpoint(tenant: Tenant, kind: CheckpointKind, sequence: i64, number: i64) -> AuditCheckpoint {
    AuditCheckpoint {
        organization: tenant.0,
        kind,
        number,
        sequence,
        hash: Hex(vec![1; 32]),
        at: at(sequence),
        key: "k".into(),
        signature: Hex(vec![2; 64]),
    }
}

#[tokio::test]
async fn entries_go_only_behind_a_cut() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        for tenant in [ours, theirs] {
            let tx = store.begin().await.unwrap();
            let links: Vec<_> = (1..=4).map(|n| journal::linked(tenant, n)).collect();
            tx.audit().append(&links).await.unwrap();
            for number in 1..=2 {
                let point = checkpoint(tenant, CheckpointKind::Head, number * 2, number);
                tx.audit_checkpoints().insert(&point).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
        let tx = store.begin().await.unwrap();
        let refused = tx.audit_checkpoints().remove_through(ours, 2).await.unwrap_err();
        assert!(format!("{refused:?}").contains("append-only"), "{refused:?}");
        drop(tx);
        let tx = store.begin().await.unwrap();
        let cut = checkpoint(ours, CheckpointKind::Cut, 2, 1);
        tx.audit_checkpoints().insert(&cut).await.unwrap();
        tx.commit().await.unwrap();
        let tx = store.begin().await.unwrap();
        assert!(!tx.audit_checkpoints().remove_through(ours, 2).await.unwrap());
        tx.commit().await.unwrap();
        let tx = store.begin().await.unwrap();
        tx.audit_checkpoints()
            .remove_through(theirs, 2)
            .await
            .unwrap_err();
        drop(tx);
        let read = store.read();
        let left: Vec<_> = read.audit().chain(ours, 0, 9).await.unwrap();
        assert_eq!(
            left.iter().map(|row| row.link.sequence).collect::<Vec<_>>(),
            [3, 4]
        );
        assert_eq!(read.audit().chain(theirs, 0, 9).await.unwrap().len(), 4);
        let points = read.audit_checkpoints();
        assert_eq!(points.newest(ours, CheckpointKind::Cut).await.unwrap(), Some(cut));
        let heads = points.after(ours, CheckpointKind::Head, 0, 9).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.number).collect::<Vec<_>>(), [2]);
        assert_eq!(
            points
                .list(ours, &PageRequest::default())
                .await
                .unwrap()
                .items
                .len(),
            2
        );
        assert_eq!(points.newest_through(theirs, 3).await.unwrap().unwrap().number, 1);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_recorded_once() {
    on_both(|fixture| async move {
        let key = |created_at: Timestamp| AuditKey {
            id: "k".into(),
            public_key: Hex(vec![1; 32]),
            endorsed_by: None,
            endorsement: None,
            created_at,
        };
        for seconds in [1, 2] {
            let tx = fixture.store.begin().await.unwrap();
            tx.audit_checkpoints()
                .insert_key(&key(at(seconds)))
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        let keys = fixture.store.read().audit_checkpoints().keys(WHY).await.unwrap();
        assert_eq!(keys, [key(at(1))]);
    })
    .await;
}

#[tokio::test]
async fn the_trail_lands_in_its_months_partition_and_they_go_whole() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let ours = fixture.tenant("ours").await;
        store.maintain(at(0)).await.unwrap();
        let tx = store.begin().await.unwrap();
        let links: Vec<_> = (1..=4).map(|n| journal::linked(ours, n)).collect();
        tx.audit().append(&links).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.read().audit().organizations(WHY).await.unwrap(), [ours.0]);
        let later = at(0) + TimeDelta::days(40);
        let newest = store.read().audit().newest_before(ours, later).await.unwrap();
        assert_eq!(newest.unwrap().sequence, 4);
        if store.is_postgres() {
            let before = partitions(store, "audit_entries").await;
            assert!(before.contains(&"audit_entries_2026_11".to_owned()), "{before:?}");
            let tx = store.begin().await.unwrap();
            let truncated = tx.db().execute_unprepared("TRUNCATE audit_entries_2026_11").await;
            assert!(truncated.unwrap_err().to_string().contains("append-only"));
            drop(tx);
            let tx = store.begin().await.unwrap();
            assert_eq!(tx.audit().drop_partitions(WHY, later).await.unwrap(), 1);
            tx.commit().await.unwrap();
            assert!(store.read().audit().chain(ours, 0, 9).await.unwrap().is_empty());
        }
    })
    .await;
}

/// What was in the trail before it had partitions is in them afterwards, and back.
#[tokio::test]
async fn the_migration_takes_the_trail_along() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let ours = fixture.tenant("ours").await;
        let tx = store.begin().await.unwrap();
        let links: Vec<_> = (1..=3).map(|n| journal::linked(ours, n)).collect();
        tx.audit().append(&links).await.unwrap();
        tx.commit().await.unwrap();
        let before = store.read().audit().chain(ours, 0, 9).await.unwrap();
        let name = "m0010_audit";
        let mut steps = 0;
        loop {
            steps += 1;
            store.migrate_down(Some(1)).await.unwrap();
            let tx = store.begin().await.unwrap();
            let db = tx.db();
            let sql = format!("SELECT version FROM seaql_migrations WHERE version = '{name}'");
            let found = db
                .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
                .await
                .unwrap();
            if found.is_none() {
                break;
            }
            assert!(steps < 50);
        }
        store.migrate().await.unwrap();
        assert_eq!(store.read().audit().chain(ours, 0, 9).await.unwrap(), before);
        if store.is_postgres() {
            let parts = partitions(store, "audit_entries").await;
            assert!(parts.contains(&"audit_entries_2026_11".to_owned()), "{parts:?}");
        }
    })
    .await;
}
