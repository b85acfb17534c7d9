//! Secrets at rest.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_bus::requests::SecretInfo;
use halcyon_domain::{
    assignment::ConfigChange,
    audit::AuditEntry,
    clock::{Clock, ManualClock},
    datasource::{Datasource, DatasourceEventKind},
    id::OrganizationId,
};
use halcyon_secrets::{ExposeSecret, SecretString, TokenKey};
use halcyon_store::Topic;
use serde_json::json;

use super::{keeper::Keeper, opening::Which, writing::NewSecret};
use crate::{
    Error, Settings,
    fixture::{Database, by, now},
    reconcile::load::CONTROL_PLANE,
};

fn signed() -> serde_json::Value {
    json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}})
}

fn new<'a>(
    datasource: &Datasource,
    value: &'a SecretString,
    by: &'a halcyon_bus::requests::OnBehalf,
) -> NewSecret<'a> {
    NewSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: "signing",
        value,
        expires_at: None,
        overlap: None,
        by,
    }
}

async fn opened(keeper: &Keeper, datasource: &Datasource, which: Which) -> Vec<String> {
    let opened = keeper
        .open(
            datasource.organization,
            datasource.id,
            &["signing".to_owned()],
            which,
        )
        .await
        .unwrap();
    let versions = opened.versions();
    versions
        .iter()
        .map(|(_, opened)| opened.value.expose_secret().to_owned())
        .collect()
}

async fn values(keeper: &Keeper, datasource: &Datasource) -> Vec<String> {
    opened(keeper, datasource, Which::Live).await
}

async fn put(keeper: &Keeper, datasource: &Datasource, value: &str) -> SecretInfo {
    let (value, by) = (SecretString::from(value), by());
    keeper.put(&new(datasource, &value, &by)).await.unwrap()
}

/// Rotates to `value` with an overlap of minutes.
async fn rotate(
    keeper: &Keeper,
    datasource: &Datasource,
    value: &str,
    minutes: i64,
) -> Result<SecretInfo, Error> {
    let (value, by) = (SecretString::from(value), by());
    let overlap = Some(TimeDelta::minutes(minutes));
    keeper
        .put(&NewSecret {
            overlap,
            ..new(datasource, &value, &by)
        })
        .await
}

struct Bench {
    database: Database,
    datasource: Datasource,
    clock: ManualClock,
    keeper: Keeper,
}

async fn bench() -> Bench {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let clock = ManualClock::at(now());
    let keeper = database.keeper(Arc::new(clock.clone()));
    Bench {
        database,
        datasource,
        clock,
        keeper,
    }
}

#[tokio::test]
async fn a_rotated_secret_counts_until_the_overlap_ends() {
    let Bench {
        database: _database,
        datasource,
        clock,
        keeper,
    } = bench().await;
    assert!(matches!(
        rotate(&keeper, &datasource, "x", 5).await,
        Err(Error::NotFound("secret"))
    ));
    put(&keeper, &datasource, "first").await;
    clock.advance(TimeDelta::seconds(1));
    let info = rotate(&keeper, &datasource, "second", 5).await.unwrap();
    let valid_until = Some(clock.now() + TimeDelta::minutes(5));
    let versions: Vec<_> = info
        .versions
        .iter()
        .map(|one| (one.version, one.valid_until))
        .collect();
    assert_eq!(versions, [(2, None), (1, valid_until)]);
    assert_eq!(values(&keeper, &datasource).await, ["second", "first"]);
    assert_eq!(
        opened(&keeper, &datasource, Which::Newest).await,
        ["second"],
        "what goes out uses the new one"
    );
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(values(&keeper, &datasource).await, ["second"]);
    assert_eq!(keeper.wipe_outlived().await.unwrap(), 1);
    let kept = keeper.list(datasource.organization, datasource.id).await.unwrap();
    assert_eq!(kept[0].versions.len(), 1, "its row is gone");

    rotate(&keeper, &datasource, "third", 5).await.unwrap();
    let info = put(&keeper, &datasource, "fourth").await;
    assert_eq!((info.versions.len(), info.versions[0].version), (1, 4));
    assert_eq!(
        values(&keeper, &datasource).await,
        ["fourth"],
        "without an overlap the old ones are void at once"
    );
}

#[tokio::test]
async fn overlaps_and_secrets_are_limited_in_number() {
    let Bench {
        database: _database,
        datasource,
        keeper,
        ..
    } = bench().await;
    put(&keeper, &datasource, "first").await;
    for _ in 0..8 {
        rotate(&keeper, &datasource, "x", 5).await.unwrap();
    }
    let refused = rotate(&keeper, &datasource, "x", 5).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(input)) if input.code == "too_many"),
        "{refused:?}"
    );
    let (value, by) = (SecretString::from("x"), by());
    let names: Vec<_> = (1..65).map(|n| format!("secret-{n}")).collect();
    for (count, name) in names.iter().enumerate() {
        let written = keeper
            .put(&NewSecret {
                name,
                ..new(&datasource, &value, &by)
            })
            .await;
        assert_eq!(written.is_ok(), count < 63, "{name}");
    }
}

/// What the outbox says of expiries.
async fn announced(database: &Database) -> Vec<(DatasourceEventKind, String)> {
    let rows = database
        .store
        .read()
        .outbox()
        .next(CONTROL_PLANE, 100)
        .await
        .unwrap();
    let changes = rows
        .iter()
        .filter(|row| row.message.topic == Topic::Config)
        .filter_map(|row| {
            serde_json::from_str::<ConfigChange>(&row.message.body)
                .ok()?
                .cause
        });
    changes
        .filter(|cause| cause.kind != DatasourceEventKind::SecretChanged)
        .map(|cause| (cause.kind, cause.message))
        .collect()
}

#[tokio::test]
async fn an_expiry_is_announced_ahead_and_when_it_comes_each_time_once() {
    let Bench {
        database,
        datasource,
        clock,
        keeper,
    } = bench().await;
    let (value, by) = (SecretString::from("x"), by());
    let expires_at = Some(clock.now() + TimeDelta::days(40));
    keeper
        .put(&NewSecret {
            expires_at,
            ..new(&datasource, &value, &by)
        })
        .await
        .unwrap();
    for day in 0..=41 {
        keeper.announce_expiries().await.unwrap();
        keeper.announce_expiries().await.unwrap();
        if day < 40 {
            assert_eq!(values(&keeper, &datasource).await, ["x"]);
        }
        clock.advance(TimeDelta::days(1));
    }
    let (expiring, expired) = (
        DatasourceEventKind::SecretExpiring,
        DatasourceEventKind::SecretExpired,
    );
    let expected = [
        (expiring, "secret `signing` expires in 30 days"),
        (expiring, "secret `signing` expires in 7 days"),
        (expiring, "secret `signing` expires in 24 hours"),
        (expired, "secret `signing` has expired and is no longer used"),
    ];
    let expected: Vec<_> = expected.map(|(kind, message)| (kind, message.to_owned())).into();
    assert_eq!(announced(&database).await, expected);
    let names = ["signing".to_owned()];
    let opened = keeper
        .open(datasource.organization, datasource.id, &names, Which::Newest)
        .await
        .unwrap();
    assert!(opened.secrets.is_empty() && opened.expired == names);

    put(&keeper, &datasource, "renewed").await;
    keeper.announce_expiries().await.unwrap();
    assert_eq!(
        announced(&database).await.len(),
        4,
        "the new value does not expire"
    );
}

#[tokio::test]
async fn a_short_lived_secret_is_announced_once_for_what_is_left() {
    let Bench {
        database,
        datasource,
        clock,
        keeper,
    } = bench().await;
    let (value, by) = (SecretString::from("x"), by());
    let expires_at = Some(clock.now() + TimeDelta::hours(3));
    keeper
        .put(&NewSecret {
            expires_at,
            ..new(&datasource, &value, &by)
        })
        .await
        .unwrap();
    keeper.announce_expiries().await.unwrap();
    keeper.announce_expiries().await.unwrap();
    let said = announced(&database).await;
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].1, "secret `signing` expires in 3 hours");
}

#[tokio::test]
async fn a_write_leaves_one_audit_entry_and_one_notice_and_no_plaintext() {
    let Bench {
        database,
        datasource,
        keeper,
        ..
    } = bench().await;
    put(&keeper, &datasource, "canary-value").await;
    let messages = database
        .store
        .read()
        .outbox()
        .next(CONTROL_PLANE, 10)
        .await
        .unwrap();
    let topics: Vec<_> = messages.iter().map(|row| row.message.topic).collect();
    assert_eq!(topics, [Topic::Audit, Topic::Config]);
    let entry: AuditEntry = serde_json::from_str(&messages[0].message.body).unwrap();
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
    let Bench {
        database,
        datasource,
        clock,
        keeper,
    } = bench().await;
    put(&keeper, &datasource, "value").await;
    let stranger = Datasource {
        organization: OrganizationId::generate(),
        ..datasource.clone()
    };
    assert!(values(&keeper, &stranger).await.is_empty());
    let (value, by) = (SecretString::from("x"), by());
    assert!(matches!(
        keeper.put(&new(&stranger, &value, &by)).await,
        Err(Error::NotFound("datasource"))
    ));
    let other = Database::new().await;
    let settings = Settings {
        kek_file: other.folder.path().join("kek"),
        ..Settings::default()
    };
    let foreign = Keeper::new(&settings, database.store.clone(), Arc::new(clock)).unwrap();
    let names = ["signing".to_owned()];
    assert!(matches!(
        foreign
            .open(datasource.organization, datasource.id, &names, Which::Live)
            .await,
        Err(Error::Secrets(_))
    ));
}

#[tokio::test]
async fn two_registries_make_one_token_key() {
    let database = Database::new().await;
    let clock = Arc::new(ManualClock::at(now()));
    let (one, other) = (database.keeper(clock.clone()), database.keeper(clock));
    let (one, other) = tokio::join!(one.token_keys(), other.token_keys());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.len(), &one[0].id), (1, &other[0].id));
    assert_eq!(
        TokenKey::from_private(one[0].private.clone().unwrap())
            .unwrap()
            .public,
        other[0].public
    );
}
