//! Migrations, triggers and partitions.

use sea_orm::ConnectionTrait;

use super::{at, on_both};
use crate::db::Executes;

#[tokio::test]
async fn migrations_go_up_down_and_up_again() {
    on_both(|fixture| async move {
        let store = fixture.store.clone();
        store.maintain(at(0)).await.unwrap();
        assert!(store.is_migrated().await.unwrap());
        store.migrate_down(None).await.unwrap();
        assert!(!store.is_migrated().await.unwrap());
        store.migrate().await.unwrap();
        store.maintain(at(0)).await.unwrap();
        assert!(store.is_migrated().await.unwrap());
        store.ping().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    on_both(|fixture| async move {
        fixture.store.migrate_down(None).await.unwrap();
        if !fixture.store.is_postgres() {
            return;
        }
        let other = crate::Store::connect(&fixture.settings).await.unwrap();
        let (one, two) = tokio::join!(fixture.store.migrate(), other.migrate());
        one.unwrap();
        two.unwrap();
        assert!(other.is_migrated().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn events_land_in_their_months_partition() {
    on_both(|fixture| async move {
        let tx = fixture.store.begin().await.unwrap();
        tx.datasource_events().ensure_partitions(at(0)).await.unwrap();
        tx.datasource_events().ensure_partitions(at(0)).await.unwrap();
        if fixture.store.is_postgres() {
            let sql = "SELECT 1 FROM datasource_events_2027_02";
            tx.db().execute_unprepared(sql).await.unwrap();
        }
        tx.commit().await.unwrap();
    })
    .await;
}
