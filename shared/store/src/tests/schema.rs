//! Migrations, triggers and partitions.

use halcyon_domain::{access::Subject, id::UserId};
use halcyon_migrations::{Migrator, MigratorTrait};
use sea_orm::ConnectionTrait;

use super::{at, on_both};
use crate::{AllTenants, User, db::Executes};

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
async fn roles_are_kept_when_service_accounts_come_and_go() {
    on_both(|fixture| async move {
        let store = fixture.store.clone();
        let since_access = u32::try_from(Migrator::migrations().len() - 5).unwrap();
        let run = async |sql: &str| {
            let tx = store.begin().await.unwrap();
            tx.db().execute_unprepared(sql).await.unwrap();
            tx.commit().await.unwrap();
        };
        let id = if store.is_postgres() {
            "'0190a3c2-0000-7000-8000-000000000001'"
        } else {
            "X'0190a3c2000070008000000000000001'"
        };
        let stamp = "'2026-11-21T00:00:00+00:00'";
        store.migrate_down(Some(since_access)).await.unwrap();
        run(&format!(
            "INSERT INTO organizations (id, name, created_at, updated_at, revision)
                VALUES ({id}, 'o', {stamp}, {stamp}, 1)"
        ))
        .await;
        run(&format!(
            "INSERT INTO users (id, organization_id, email, name, disabled, created_at, updated_at, revision)
                VALUES ({id}, {id}, 'a@x.org', 'A', FALSE, {stamp}, {stamp}, 1)"
        ))
        .await;
        run(&format!(
            "INSERT INTO role_bindings (id, organization_id, user_id, role, scope_kind, scope_id, created_at)
                VALUES ({id}, {id}, {id}, 'admin', 'organization', {id}, {stamp})"
        ))
        .await;
        store.migrate().await.unwrap();
        let why = AllTenants::because("a test");
        let found = store
            .read()
            .users()
            .by_email(why, "a@x.org")
            .await
            .unwrap()
            .unwrap();
        let subject = Subject::User(found.user.id);
        let given = store.read().role_bindings().of(why, subject).await.unwrap();
        assert_eq!((given.len(), given[0].revision), (1, 1));
        let tx = store.begin().await.unwrap();
        tx.users().delete(&found.user, at(1)).await.unwrap();
        let again = User {
            id: UserId::generate(),
            ..found.user.clone()
        };
        tx.users().insert(&again, None).await.unwrap();
        tx.commit().await.unwrap();
        store.migrate_down(Some(since_access)).await.unwrap();
        store.migrate().await.unwrap();
        let given = store.read().role_bindings().of(why, subject).await.unwrap();
        assert_eq!(given.len(), 1);
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
