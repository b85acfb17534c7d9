//! The keys of access tokens are replaced in time, and destroyed when nothing they signed can hold any more.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_bus::{
    Service,
    requests::{GetTokenKeys, RotateTokenKeys, TokenKeys, TokenKeysRotate},
};
use halcyon_domain::{
    audit::AuditEntry,
    clock::{Clock, ManualClock},
};
use halcyon_store::{AllTenants, Topic};

use super::{
    Keeper,
    token_keys::{OpenedTokenKey, Rotation},
};
use crate::fixture::{CALL, Database, System, by, now};

const ANNOUNCE: TimeDelta = TimeDelta::seconds(30);
const EVERY: TimeDelta = TimeDelta::days(30);

async fn keeper() -> (Keeper, Database, ManualClock) {
    let (database, clock) = (Database::new().await, ManualClock::at(now()));
    let keeper = database.keeper(Arc::new(clock.clone()));
    (keeper, database, clock)
}

fn shape(keys: &[OpenedTokenKey]) -> Vec<(&str, bool)> {
    let shape = |key: &OpenedTokenKey| (key.private.is_some(), key.id.len());
    assert!(keys.iter().all(|key| shape(key).1 > 0));
    keys.iter()
        .map(|key| (key.id.as_str(), key.private.is_some()))
        .collect()
}

#[tokio::test]
async fn a_key_is_announced_signs_verifies_and_is_destroyed() {
    let (keeper, _database, clock) = keeper().await;
    assert_eq!(
        keeper.rotate_token_keys_if_due(EVERY, ANNOUNCE).await.unwrap(),
        None
    );
    let first = keeper.token_keys().await.unwrap();
    assert_eq!(first[0].signs_from, clock.now(), "the first signs at once");
    let old = first[0].id.clone();
    clock.advance(EVERY - TimeDelta::seconds(1));
    assert_eq!(
        keeper.rotate_token_keys_if_due(EVERY, ANNOUNCE).await.unwrap(),
        None
    );
    clock.advance(TimeDelta::seconds(1));
    let new = keeper
        .rotate_token_keys_if_due(EVERY, ANNOUNCE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        keeper.rotate_token_keys_if_due(EVERY, ANNOUNCE).await.unwrap(),
        None,
        "once"
    );
    let keys = keeper.token_keys().await.unwrap();
    assert_eq!(shape(&keys), [(new.as_str(), true), (old.as_str(), true)]);
    assert_eq!(keys[0].signs_from, clock.now() + ANNOUNCE);
    assert!(keys[1].signs_from < clock.now());
    clock.advance(ANNOUNCE);
    let keys = keeper.token_keys().await.unwrap();
    assert_eq!(
        shape(&keys),
        [(new.as_str(), true), (old.as_str(), false)],
        "it only verifies"
    );
    clock.advance(TimeDelta::days(1) - TimeDelta::seconds(1));
    assert_eq!(keeper.token_keys().await.unwrap().len(), 2);
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(shape(&keeper.token_keys().await.unwrap()), [(new.as_str(), true)]);
    keeper.rotate_token_keys_if_due(EVERY, ANNOUNCE).await.unwrap();
    let reason = AllTenants::because("a test");
    let kept = keeper
        .store
        .read()
        .keys()
        .signing(reason, "access_token")
        .await
        .unwrap();
    assert_eq!(kept.len(), 1, "the old one's private half is nowhere any more");
}

#[tokio::test]
async fn two_registries_rotate_once() {
    let (one, database, clock) = keeper().await;
    let two = database.keeper(Arc::new(clock.clone()));
    one.token_keys().await.unwrap();
    clock.advance(EVERY);
    let (a, b) = tokio::join!(
        one.rotate_token_keys_if_due(EVERY, ANNOUNCE),
        two.rotate_token_keys_if_due(EVERY, ANNOUNCE),
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(one.token_keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_leaked_key_is_dropped_at_once() {
    let (keeper, database, clock) = keeper().await;
    keeper.token_keys().await.unwrap();
    let rotation = Rotation {
        announce: ANNOUNCE,
        drop_old: true,
    };
    let request = RotateTokenKeys {
        organization: database.organization,
        drop_old: true,
        by: by(),
    };
    let made = keeper.rotate_token_keys(rotation, Some(&request)).await.unwrap();
    let keys = keeper.token_keys().await.unwrap();
    assert_eq!(shape(&keys), [(made.id.as_str(), true)]);
    assert_eq!(keys[0].signs_from, clock.now());
    let reason = AllTenants::because("a test");
    let outbox = database.store.read().outbox().next(reason, 10).await.unwrap();
    let [message] = outbox.as_slice() else {
        panic!("one entry for one rotation");
    };
    assert_eq!(message.message.topic, Topic::Audit);
    let entry: AuditEntry = serde_json::from_str(&message.message.body).unwrap();
    assert_eq!(entry.action, "token_key.rotate");
    assert_eq!(entry.resource.id.as_deref(), Some(made.id.as_str()));
}

#[tokio::test]
async fn gateways_ask_for_a_rotation_and_nobody_else_can() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.process(Service::Gateway).await;
    let ask = GetTokenKeys {
        instance: gateway.instance,
        public_key: gateway.key.public_key().to_owned(),
    };
    let first = gateway.bus.call::<TokenKeys>(&ask, CALL).await.unwrap();
    let request = RotateTokenKeys {
        organization: system.database.organization,
        drop_old: false,
        by: by(),
    };
    let made = gateway.bus.call::<TokenKeysRotate>(&request, CALL).await.unwrap();
    let keys = gateway.bus.call::<TokenKeys>(&ask, CALL).await.unwrap().keys;
    assert_eq!((keys.len(), &keys[0].id), (2, &made.id));
    assert_eq!(keys[1].id, first.keys[0].id);
    assert!(made.signs_from > keys[0].created_at);
    let worker = system.connect(Service::Worker).await;
    assert!(worker.call::<TokenKeysRotate>(&request, CALL).await.is_err());
}
