//! Against a real server.

use std::time::Duration;

use halcyon_domain::{
    duration::HumanDuration,
    id::{DatasourceId, OrganizationId},
};
use halcyon_tests::openbao::OpenBao;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Place, Vault, VaultSettings};
use crate::{DataKey, Error, Keys, Wrapped, Wrapping};

fn settings(bao: &OpenBao) -> VaultSettings {
    VaultSettings {
        url: Some(bao.url()),
        role_id_file: bao.role_id_file(),
        secret_id_file: bao.secret_id_file(),
        timeout: HumanDuration::from_secs(5),
        ..VaultSettings::default()
    }
}

fn connect(bao: &OpenBao) -> Vault {
    Vault::new(&settings(bao)).unwrap().unwrap()
}

fn place(name: &str) -> Place<'_> {
    Place {
        organization: OrganizationId(Uuid::from_u128(1)),
        datasource: DatasourceId(Uuid::from_u128(2)),
        name,
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

#[tokio::test]
async fn values_are_kept_by_version_and_destroyed_for_good() {
    let bao = OpenBao::start().await.unwrap();
    let vault = connect(&bao);
    vault.check().await.unwrap();
    let (one, two) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let place = place("signing");
    assert!(vault.versions(&place).await.unwrap().is_empty());
    let first = vault
        .put(&place, one, &secret("erst\u{e9} \"value\""))
        .await
        .unwrap();
    let second = vault.put(&place, two, &secret("second")).await.unwrap();
    let read = vault.get(&place, one, first).await.unwrap();
    assert_eq!(read.expose_secret(), "erst\u{e9} \"value\"");
    assert!(
        matches!(vault.get(&place, one, second).await, Err(Error::Missing)),
        "a version is not passed off as another"
    );
    assert_eq!(vault.versions(&place).await.unwrap(), [first, second]);

    vault.destroy(&place, &[first]).await.unwrap();
    assert!(matches!(vault.get(&place, one, first).await, Err(Error::Missing)));
    assert_eq!(vault.versions(&place).await.unwrap(), [second]);
    vault.forget_place(&place).await.unwrap();
    assert!(vault.versions(&place).await.unwrap().is_empty());
    assert!(matches!(
        vault.get(&place, two, second).await,
        Err(Error::Missing)
    ));
}

#[tokio::test]
async fn the_policy_allows_what_is_needed_and_nothing_else() {
    let bao = OpenBao::start().await.unwrap();
    let elsewhere = VaultSettings {
        kv_prefix: "others".to_owned(),
        ..settings(&bao)
    };
    let vault = Vault::new(&elsewhere).unwrap().unwrap();
    let refused = vault.put(&place("x"), Uuid::nil(), &secret("x")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn keys_wrapped_by_transit_open_in_their_own_place_only() {
    let bao = OpenBao::start().await.unwrap();
    let vault = std::sync::Arc::new(connect(&bao));
    let keys = Keys::new(None, Some(vault), Wrapping::Transit).unwrap();
    let (ours, other, id) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let key = DataKey::generate().unwrap();
    let wrapped = keys.wrap(&ours, &id, &key).await.unwrap();
    assert_eq!(wrapped.wrapped_by, "transit:transit/halcyon:v1");
    assert_eq!(
        keys.unwrap(&ours, &id, &wrapped).await.unwrap().bytes(),
        key.bytes()
    );
    assert!(keys.unwrap(&other, &id, &wrapped).await.is_err());
    assert!(keys.open_system("x", &wrapped).await.is_err());

    bao.call(Method::POST, "transit/keys/halcyon/rotate", json!({}))
        .await
        .unwrap();
    assert_eq!(keys.current().await.unwrap(), "transit:transit/halcyon:v2");
    assert_eq!(
        keys.unwrap(&ours, &id, &wrapped).await.unwrap().bytes(),
        key.bytes()
    );
    let without = Keys::new(None, None, Wrapping::Transit);
    assert!(matches!(without, Err(Error::Settings(_))));
    let foreign = Wrapped {
        wrapped_by: "0123456789abcdef".to_owned(),
        ..wrapped
    };
    assert!(matches!(
        keys.unwrap(&ours, &id, &foreign).await,
        Err(Error::Settings(_))
    ));
}

#[tokio::test]
async fn a_token_that_is_taken_away_is_replaced_by_a_login() {
    let bao = OpenBao::start().await.unwrap();
    let vault = connect(&bao);
    vault.check().await.unwrap();
    let role = json!({"token_policies": "halcyon", "token_ttl": "2s", "token_max_ttl": "1h"});
    bao.call(Method::POST, "auth/approle/role/halcyon", role)
        .await
        .unwrap();
    let accessors = bao
        .call(Method::GET, "auth/token/accessors?list=true", Value::Null)
        .await
        .unwrap();
    let accessors = accessors["data"]["keys"].as_array().unwrap().clone();
    for accessor in accessors {
        let looked_up = bao
            .call(
                Method::POST,
                "auth/token/lookup-accessor",
                json!({"accessor": accessor}),
            )
            .await
            .unwrap();
        if looked_up["data"]["path"] == "auth/approle/login" {
            let body = json!({"accessor": accessor});
            bao.call(Method::POST, "auth/token/revoke-accessor", body)
                .await
                .unwrap();
        }
    }
    vault.check().await.unwrap();
    // The new token holds for two seconds: it is renewed again and again.
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    while tokio::time::Instant::now() < until {
        vault.check().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_sealed_is_not_there_now_and_a_wrong_secret_id_is_refused() {
    let mut bao = OpenBao::start().await.unwrap();
    let vault = connect(&bao);
    let version = vault.put(&place("x"), Uuid::nil(), &secret("x")).await.unwrap();
    bao.kill().unwrap();
    let error = vault.get(&place("x"), Uuid::nil(), version).await.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable(_)) && error.is_transient(),
        "{error}"
    );
    bao.restart().await.unwrap();
    let read = vault.get(&place("x"), Uuid::nil(), version).await.unwrap();
    assert_eq!(read.expose_secret(), "x");
    bao.call(Method::PUT, "sys/seal", Value::Null).await.unwrap();
    assert!(matches!(vault.check().await, Err(Error::Unavailable(_))));

    let bao = OpenBao::start().await.unwrap();
    std::fs::write(bao.secret_id_file(), "wrong").unwrap();
    let error = connect(&bao).check().await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error}");
}

#[test]
fn an_address_is_checked_before_anything_is_sent() {
    let with = |url: &str| VaultSettings {
        url: Some(url.to_owned()),
        ..VaultSettings::default()
    };
    assert!(Vault::new(&VaultSettings::default()).unwrap().is_none());
    for url in ["not a url", "ftp://vault", "unix:/run/vault", ""] {
        assert!(matches!(Vault::new(&with(url)), Err(Error::Settings(_))), "{url}");
    }
    assert!(Vault::new(&with("http://127.0.0.1:8200")).unwrap().is_some());
}
