//! Secrets at rest.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_domain::{
    audit::AuditEntry,
    clock::{Clock, ManualClock},
    datasource::Datasource,
    id::OrganizationId,
};
use halcyon_secrets::{ExposeSecret, TokenKey};
use halcyon_store::Topic;
use serde_json::json;

use super::vault::{NewSecret, Vault};
use crate::{
    Error,
    fixture::{Database, by, now},
    reconcile::load::CONTROL_PLANE,
};

fn signed() -> serde_json::Value {
    json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}})
}

fn new<'a>(
    datasource: &Datasource,
    value: &'a str,
    by: &'a halcyon_bus::requests::OnBehalf,
) -> NewSecret<'a> {
    NewSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: "signing",
        value: value.as_bytes(),
        expires_at: None,
        overlap_until: None,
        by,
    }
}

async fn values(vault: &Vault, datasource: &Datasource) -> Vec<String> {
    let opened = vault
        .open(datasource.organization, datasource.id, &["signing".to_owned()])
        .await
        .unwrap();
    let versions = opened.get("signing").map(Vec::as_slice).unwrap_or_default();
    versions
        .iter()
        .map(|opened| String::from_utf8(opened.value.expose_secret().to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_rotated_secret_counts_until_the_overlap_ends() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let clock = ManualClock::at(now());
    let vault = Vault::new(
        database.store.clone(),
        database.keyring(),
        Arc::new(clock.clone()),
    );
    let by = by();
    vault.put(&new(&datasource, "first", &by)).await.unwrap();
    clock.advance(TimeDelta::seconds(1));
    let overlap_until = Some(clock.now() + TimeDelta::minutes(5));
    let info = vault
        .put(&NewSecret {
            overlap_until,
            ..new(&datasource, "second", &by)
        })
        .await
        .unwrap();
    assert_eq!(
        (info.version, info.created_at - info.first_created_at),
        (2, TimeDelta::seconds(1))
    );
    assert_eq!(values(&vault, &datasource).await, ["second", "first"]);
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(values(&vault, &datasource).await, ["second"]);
    vault.put(&new(&datasource, "third", &by)).await.unwrap();
    assert_eq!(
        values(&vault, &datasource).await,
        ["third"],
        "without an overlap the old one is void at once"
    );
}

#[tokio::test]
async fn a_write_leaves_one_audit_entry_and_one_notice_and_no_plaintext() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let vault = Vault::new(
        database.store.clone(),
        database.keyring(),
        Arc::new(ManualClock::at(now())),
    );
    vault.put(&new(&datasource, "canary-value", &by())).await.unwrap();
    let messages = database
        .store
        .read()
        .outbox()
        .next(CONTROL_PLANE, 10)
        .await
        .unwrap();
    let topics: Vec<_> = messages.iter().map(|row| row.message.topic).collect();
    assert_eq!(topics, [Topic::Config, Topic::Audit]);
    let entry: AuditEntry = serde_json::from_str(&messages[1].message.body).unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.actor.name.as_str()),
        ("secret.write", "ada")
    );
    database.store.close().await.unwrap();
    for file in std::fs::read_dir(database.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|window| window == b"canary-value"));
    }
}

#[tokio::test]
async fn another_tenant_and_another_kek_open_nothing() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let clock = Arc::new(ManualClock::at(now()));
    let vault = Vault::new(database.store.clone(), database.keyring(), clock.clone());
    vault.put(&new(&datasource, "value", &by())).await.unwrap();
    let stranger = Datasource {
        organization: OrganizationId::generate(),
        ..datasource.clone()
    };
    assert!(values(&vault, &stranger).await.is_empty());
    let by = by();
    assert!(matches!(
        vault.put(&new(&stranger, "x", &by)).await,
        Err(Error::NotFound("datasource"))
    ));
    let other = Database::new().await;
    let foreign = Vault::new(database.store.clone(), other.keyring(), clock);
    assert!(matches!(
        foreign
            .open(datasource.organization, datasource.id, &["signing".to_owned()])
            .await,
        Err(Error::Secrets(_))
    ));
}

#[tokio::test]
async fn two_registries_make_one_token_key() {
    let database = Database::new().await;
    let clock = Arc::new(ManualClock::at(now()));
    let one = Vault::new(database.store.clone(), database.keyring(), clock.clone());
    let other = Vault::new(database.store.clone(), database.keyring(), clock);
    let (one, other) = tokio::join!(one.token_keys(), other.token_keys());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.len(), &one[0].id), (1, &other[0].id));
    assert_eq!(
        TokenKey::from_private(one[0].private.clone()).unwrap().public,
        other[0].public
    );
}
