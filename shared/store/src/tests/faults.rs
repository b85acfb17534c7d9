//! A database that goes away: errors say so in time, and work goes on when it is back.

use std::time::Duration;

use halcyon_domain::duration::HumanDuration;
use halcyon_tests::{postgres::Postgres, wait};

use super::at;
use crate::{AllTenants, Error, Store, StoreSettings};

const WHY: AllTenants = AllTenants::because("a test");

async fn impatient(url: String) -> Store {
    let settings = StoreSettings {
        url,
        acquire_timeout: HumanDuration::from_millis(500),
        statement_timeout: HumanDuration::from_secs(1),
        ..StoreSettings::default()
    };
    Store::connect(&settings).await.unwrap()
}

async fn works(store: &Store) -> bool {
    store.read().users().count(WHY).await.is_ok()
}

#[tokio::test]
async fn a_killed_database_is_unavailable_and_comes_back() {
    let server = Postgres::start().await.unwrap();
    let store = impatient(server.database().await.unwrap()).await;
    store.migrate().await.unwrap();
    let tx = store.begin().await.unwrap();
    server.kill().unwrap();
    let lost = tx.outbox().pending(WHY).await.unwrap_err();
    assert!(matches!(lost, Error::Unavailable(_)), "{lost:?}");
    drop(tx);
    let down = store.read().users().count(WHY).await.unwrap_err();
    assert!(down.is_unavailable(), "{down:?}");
    server.resume().await.unwrap();
    wait::eventually(Duration::from_secs(10), || works(&store))
        .await
        .unwrap();
    store.maintain(at(0)).await.unwrap();
}

#[tokio::test]
async fn a_silent_database_is_given_up_in_time() {
    let server = Postgres::start().await.unwrap();
    let store = impatient(server.database().await.unwrap()).await;
    store.migrate().await.unwrap();
    let tx = store.begin().await.unwrap();
    server.signal("STOP").unwrap();
    let patience = Duration::from_secs(5);
    let inside = tokio::time::timeout(patience, tx.outbox().pending(WHY))
        .await
        .unwrap()
        .unwrap_err();
    assert!(inside.is_unavailable(), "{inside:?}");
    drop(tx);
    let outside = tokio::time::timeout(patience, store.begin())
        .await
        .unwrap()
        .unwrap_err();
    assert!(outside.is_unavailable(), "{outside:?}");
    server.signal("CONT").unwrap();
    wait::eventually(Duration::from_secs(10), || works(&store))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_may_start_before_its_database() {
    let store = impatient(format!(
        "postgres://postgres@127.0.0.1:{}/none",
        halcyon_tests::ports::free()
    ))
    .await;
    let down = store.ping().await.unwrap_err();
    assert!(down.is_unavailable(), "{down:?}");
}
