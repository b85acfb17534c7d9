//! Values in Vault: written, rotated, destroyed, moved there and back, with processes that die in the middle.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_domain::{clock::ManualClock, datasource::Datasource};
use halcyon_secrets::{
    ExposeSecret, SecretString,
    vault::{Place, Vault},
};
use halcyon_store::SecretBackend;
use halcyon_tests::openbao::OpenBao;
use serde_json::json;

use super::{keeper::Keeper, moving::Moved, opening::Which, writing::NewSecret};
use crate::{
    Error, Settings,
    fixture::{Database, by, now},
    reconcile::load::CONTROL_PLANE,
};

/// A database and a Vault.
struct Bench {
    bao: OpenBao,
    database: Database,
    settings: Settings,
    clock: ManualClock,
    feed: Datasource,
}

impl Bench {
    async fn new() -> Self {
        let bao = OpenBao::start().await.unwrap();
        let database = Database::new().await;
        let mut settings = Settings {
            kek_file: database.folder.path().join("kek"),
            ..Settings::default()
        };
        let vault = &mut settings.secrets.vault;
        vault.url = Some(bao.url());
        vault.role_id_file = bao.role_id_file();
        vault.secret_id_file = bao.secret_id_file();
        vault.timeout = halcyon_domain::duration::HumanDuration::from_secs(2);
        let feed = database.publish("http_webhook", json!({})).await;
        Self {
            bao,
            database,
            settings,
            clock: ManualClock::at(now()),
            feed,
        }
    }

    fn keeper(&self) -> Keeper {
        let clock = Arc::new(self.clock.clone());
        Keeper::new(&self.settings, self.database.store.clone(), clock).unwrap()
    }

    fn vault(&self) -> Vault {
        Vault::new(&self.settings.secrets.vault).unwrap().unwrap()
    }

    fn place<'a>(&self, name: &'a str) -> Place<'a> {
        Place {
            organization: self.feed.organization,
            datasource: self.feed.id,
            name,
        }
    }

    async fn put(&self, keeper: &Keeper, name: &str, value: &str, minutes: Option<i64>) -> Result<(), Error> {
        let (value, by) = (SecretString::from(value), by());
        let new = NewSecret {
            organization: self.feed.organization,
            datasource: self.feed.id,
            name,
            value: &value,
            expires_at: None,
            overlap: minutes.map(TimeDelta::minutes),
            by: &by,
        };
        keeper.put(&new).await.map(|_| ())
    }

    async fn values(&self, keeper: &Keeper, name: &str) -> Result<Vec<String>, Error> {
        let names = [name.to_owned()];
        let (organization, feed) = (self.feed.organization, self.feed.id);
        let opened = keeper.open(organization, feed, &names, Which::Live).await?;
        let versions = opened.versions();
        let values = versions
            .iter()
            .map(|(_, one)| one.value.expose_secret().to_owned());
        Ok(values.collect())
    }

    async fn count(&self, backend: SecretBackend) -> u64 {
        let read = self.database.store.read();
        read.secrets().count_in(CONTROL_PLANE, backend).await.unwrap()
    }

    async fn backend(&self) -> SecretBackend {
        let read = self.database.store.read();
        read.secrets().backend(CONTROL_PLANE).await.unwrap()
    }
}

#[tokio::test]
async fn values_live_in_vault_and_end_there() {
    let bench = Bench::new().await;
    let (keeper, vault) = (bench.keeper(), bench.vault());
    keeper.move_all(SecretBackend::Vault, |_| ()).await.unwrap();
    bench.put(&keeper, "signing", "first", None).await.unwrap();
    bench.put(&keeper, "signing", "second", Some(5)).await.unwrap();
    assert_eq!(bench.count(SecretBackend::Vault).await, 2);
    assert_eq!(bench.count(SecretBackend::Builtin).await, 0);
    assert_eq!(
        bench.values(&keeper, "signing").await.unwrap(),
        ["second", "first"]
    );

    bench.clock.advance(TimeDelta::minutes(6));
    keeper.sweep().await;
    assert_eq!(vault.versions(&bench.place("signing")).await.unwrap(), [2]);
    bench.put(&keeper, "signing", "third", None).await.unwrap();
    keeper.sweep().await;
    assert_eq!(vault.versions(&bench.place("signing")).await.unwrap(), [3]);
    assert_eq!(bench.values(&keeper, "signing").await.unwrap(), ["third"]);

    let (organization, feed) = (bench.feed.organization, bench.feed.id);
    keeper
        .delete(organization, feed, Some("signing"), &by())
        .await
        .unwrap();
    keeper.sweep().await;
    assert!(vault.versions(&bench.place("signing")).await.unwrap().is_empty());
    bench.put(&keeper, "signing", "again", None).await.unwrap();
    assert_eq!(bench.values(&keeper, "signing").await.unwrap(), ["again"]);
}

#[tokio::test]
async fn a_write_that_came_to_nothing_leaves_nothing_in_vault() {
    let bench = Bench::new().await;
    let (keeper, vault) = (bench.keeper(), bench.vault());
    keeper.move_all(SecretBackend::Vault, |_| ()).await.unwrap();
    // A process that dies between Vault and the database: what it announced falls due later.
    let place = bench.place("signing");
    let id = halcyon_domain::id::SecretId::generate();
    let prepared = keeper
        .write_to_vault(&place, id, &SecretString::from("orphan"))
        .await;
    drop(prepared.unwrap());
    assert_eq!(vault.versions(&place).await.unwrap(), [1]);
    keeper.sweep().await;
    assert_eq!(
        vault.versions(&place).await.unwrap(),
        [1],
        "it may still be under way"
    );
    bench.put(&keeper, "signing", "kept", None).await.unwrap();
    bench.clock.advance(TimeDelta::minutes(6));
    keeper.sweep().await;
    assert_eq!(vault.versions(&place).await.unwrap(), [2]);
    assert_eq!(bench.values(&keeper, "signing").await.unwrap(), ["kept"]);
}

#[tokio::test]
async fn a_vault_that_is_away_is_said_to_be_and_comes_back() {
    let mut bench = Bench::new().await;
    let keeper = bench.keeper();
    keeper.move_all(SecretBackend::Vault, |_| ()).await.unwrap();
    bench.put(&keeper, "signing", "value", None).await.unwrap();
    bench.bao.kill().unwrap();
    let error = bench.values(&keeper, "signing").await.unwrap_err();
    assert!(error.is_transient() && keeper.vault_is_away(), "{error}");
    assert!(
        bench
            .put(&keeper, "signing", "other", None)
            .await
            .unwrap_err()
            .is_transient()
    );
    bench.bao.restart().await.unwrap();
    keeper.sweep().await;
    assert!(!keeper.vault_is_away());
    assert_eq!(bench.values(&keeper, "signing").await.unwrap(), ["value"]);
}

#[tokio::test]
async fn moving_goes_on_where_it_was_stopped_and_loses_nothing_that_is_written_meanwhile() {
    let bench = Bench::new().await;
    let keeper = bench.keeper();
    let names: Vec<String> = (0..20).map(|number| format!("secret-{number}")).collect();
    for name in &names {
        bench
            .put(&keeper, name, &format!("first of {name}"), None)
            .await
            .unwrap();
    }
    bench.put(&keeper, &names[7], "second", Some(60)).await.unwrap();

    // A process that dies in the middle.
    let dying = bench.keeper();
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let task = tokio::spawn(async move {
        let step = move |moved: Moved| {
            if moved.moved == 6 {
                let _ = tell.take().map(|tell| tell.send(()));
            }
        };
        dying.move_all(SecretBackend::Vault, step).await
    });
    told.await.unwrap();
    task.abort();
    let _ = task.await;
    let left = bench.count(SecretBackend::Builtin).await;
    assert!((1..=15).contains(&left), "{left} left");
    assert_eq!(
        bench.backend().await,
        SecretBackend::Builtin,
        "it switches at the end only"
    );
    for name in &names {
        assert!(
            !bench.values(&keeper, name).await.unwrap().is_empty(),
            "a half moved store works"
        );
    }

    // Written while it goes on: before the switch here, after it there.
    let writes = async {
        for (number, known) in names.iter().take(5).enumerate() {
            let name = format!("late-{number}");
            bench.put(&keeper, &name, "late", None).await.unwrap();
            bench.put(&keeper, known, "rewritten", None).await.unwrap();
        }
    };
    let mover = bench.keeper();
    let (moved, ()) = tokio::join!(mover.move_all(SecretBackend::Vault, |_| ()), writes);
    assert!(moved.unwrap().moved >= 1);
    assert_eq!(bench.backend().await, SecretBackend::Vault);
    assert_eq!(bench.count(SecretBackend::Builtin).await, 0);
    for (number, name) in names.iter().enumerate() {
        let expected = match number {
            0..5 => vec!["rewritten".to_owned()],
            7 => vec!["second".to_owned(), format!("first of {name}")],
            _ => vec![format!("first of {name}")],
        };
        assert_eq!(bench.values(&keeper, name).await.unwrap(), expected);
    }
    assert_eq!(bench.values(&keeper, "late-4").await.unwrap(), ["late"]);

    // And back: what was in Vault is destroyed.
    let back = keeper.move_all(SecretBackend::Builtin, |_| ()).await.unwrap();
    assert_eq!((back.moved, back.total), (26, 26));
    assert_eq!(bench.values(&keeper, &names[7]).await.unwrap().len(), 2);
    bench.clock.advance(TimeDelta::minutes(6));
    keeper.sweep().await;
    let vault = bench.vault();
    for name in &names {
        assert!(
            vault.versions(&bench.place(name)).await.unwrap().is_empty(),
            "{name}"
        );
    }
}
