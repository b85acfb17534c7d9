//! Keys under newer keys, while secrets are opened, and with processes that die in the middle.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use halcyon_domain::{
    clock::SystemClock,
    datasource::Datasource,
    id::{DatasourceId, OrganizationId},
};
use halcyon_secrets::{ExposeSecret, KeyFile, SecretString, Wrapping};
use halcyon_store::{Organization, Store, Tenant};
use halcyon_tests::openbao::OpenBao;
use serde_json::json;

use super::{keeper::Keeper, opening::Which, writing::NewSecret};
use crate::{
    Error, KeyStep, SecretsAdmin, Settings,
    fixture::{Database, by},
    reconcile::load::CONTROL_PLANE,
};

/// A database with organisations that have a secret each.
struct Tenants {
    database: Database,
    settings: Settings,
    datasources: Vec<Datasource>,
}

impl Tenants {
    async fn new(count: usize) -> Self {
        let database = Database::new().await;
        let settings = Settings {
            kek_file: database.folder.path().join("kek"),
            ..Settings::default()
        };
        let first = database.publish("http_webhook", json!({})).await;
        let mut tenants = Self {
            datasources: vec![first.clone()],
            database,
            settings,
        };
        for number in 1..count {
            tenants.add(number, &first).await;
        }
        let keeper = tenants.keeper();
        keeper.token_keys().await.unwrap();
        for (number, datasource) in tenants.datasources.iter().enumerate() {
            put(&keeper, datasource, &format!("value {number}")).await;
        }
        tenants
    }

    async fn add(&mut self, number: usize, like: &Datasource) {
        let organization = OrganizationId::generate();
        let datasource = Datasource {
            id: DatasourceId::generate(),
            organization,
            name: format!("datasource {number}"),
            ..like.clone()
        };
        let read = self.database.store.read();
        let row = read
            .organizations()
            .find(Tenant(like.organization))
            .await
            .unwrap()
            .unwrap();
        let row = Organization {
            id: organization,
            name: format!("organisation {number}"),
            ..row
        };
        let tx = self.database.store.begin().await.unwrap();
        tx.organizations().insert(&row).await.unwrap();
        tx.datasources().insert(&datasource).await.unwrap();
        tx.commit().await.unwrap();
        self.datasources.push(datasource);
    }

    fn store(&self) -> Store {
        self.database.store.clone()
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(&self.settings, self.store(), Arc::new(SystemClock)).unwrap()
    }

    fn admin(&self) -> SecretsAdmin {
        SecretsAdmin::new(&self.settings, self.store(), Arc::new(SystemClock)).unwrap()
    }

    /// Every value opens.
    async fn assert_all(&self, keeper: &Keeper) {
        for (number, datasource) in self.datasources.iter().enumerate() {
            assert_eq!(read(keeper, datasource).await.unwrap(), format!("value {number}"));
        }
        assert_eq!(keeper.token_keys().await.unwrap().len(), 1);
    }
}

async fn put(keeper: &Keeper, datasource: &Datasource, value: &str) {
    let (value, by) = (SecretString::from(value), by());
    let new = NewSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: "signing",
        value: &value,
        expires_at: None,
        overlap: None,
        by: &by,
    };
    keeper.put(&new).await.unwrap();
}

async fn read(keeper: &Keeper, datasource: &Datasource) -> Result<String, Error> {
    let names = ["signing".to_owned()];
    let opened = keeper
        .open(datasource.organization, datasource.id, &names, Which::Live)
        .await?;
    let versions = opened.versions();
    Ok(versions[0].1.value.expose_secret().to_owned())
}

/// Opens secrets all the time, each with a registry that remembers nothing, while `work` is done.
async fn while_reading<T>(tenants: &Tenants, work: impl Future<Output = T>) -> T {
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let running = tenants.keeper();
    let readers = async {
        while !stop.load(Ordering::Relaxed) {
            for datasource in &tenants.datasources {
                read(&running, datasource).await.unwrap();
                read(&tenants.keeper(), datasource).await.unwrap();
                reads.fetch_add(2, Ordering::Relaxed);
            }
        }
    };
    let work = async {
        let done = work.await;
        // At least once more after the end.
        let enough = reads.load(Ordering::Relaxed) + 2 * tenants.datasources.len() as u64;
        while reads.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::Relaxed);
        done
    };
    tokio::join!(work, readers).0
}

#[tokio::test]
async fn the_key_encryption_key_is_rotated_while_secrets_are_opened() {
    let tenants = Tenants::new(12).await;
    let admin = tenants.admin();
    let old = admin.status().await.unwrap().newest_key;
    let new = admin.change_keys(KeyStep::Add).unwrap();
    assert_eq!(admin.left_to_rewrap().await.unwrap(), 13);

    // A process that dies in the middle.
    let (dying, seen) = (tenants.admin(), Arc::new(AtomicU64::new(0)));
    let counted = seen.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let task = tokio::spawn(async move {
        dying
            .rewrap(|done| {
                counted.store(done, Ordering::Relaxed);
                if done == 5 {
                    let _ = tell.take().map(|tell| tell.send(()));
                }
            })
            .await
    });
    told.await.unwrap();
    task.abort();
    let _ = task.await;
    let left = admin.left_to_rewrap().await.unwrap();
    assert!((1..=8).contains(&left), "{left} left");
    tenants.assert_all(&tenants.keeper()).await;

    let done = while_reading(&tenants, admin.rewrap(|_| ())).await.unwrap();
    // What the dying process had sent to the database may have been done after the count.
    assert!(done == left || done + 1 == left, "{done} of {left}");
    assert_eq!(admin.left_to_rewrap().await.unwrap(), 0);
    assert_eq!(admin.status().await.unwrap().wrapped_by, [(new.clone(), 13)]);

    // The old key is not needed any more: it is taken away.
    assert_eq!(admin.remove_old_keys().await.unwrap(), [old]);
    assert_eq!(
        KeyFile::open(&tenants.settings.kek_file).unwrap().ring().ids(),
        [new]
    );
    tenants.assert_all(&tenants.keeper()).await;
    put(&tenants.keeper(), &tenants.datasources[3], "value 3").await;
    tenants.assert_all(&tenants.keeper()).await;
}

#[tokio::test]
async fn a_running_registry_wraps_anew_what_it_finds() {
    let tenants = Tenants::new(3).await;
    let running = tenants.keeper();
    let new = KeyFile::open(&tenants.settings.kek_file)
        .unwrap()
        .add_newest()
        .unwrap();
    running.sweep().await;
    let wrapped = tenants
        .store()
        .read()
        .keys()
        .wrapped_by(CONTROL_PLANE)
        .await
        .unwrap();
    assert_eq!(wrapped, [(new, 4)]);
    tenants.assert_all(&running).await;
}

#[tokio::test]
async fn data_keys_are_rotated_while_secrets_are_opened() {
    let tenants = Tenants::new(4).await;
    let before = tenants
        .store()
        .read()
        .keys()
        .of_tenant(Tenant(tenants.datasources[2].organization))
        .await
        .unwrap();
    let admin = tenants.admin();
    let done = while_reading(&tenants, admin.rotate_data_keys(|_| ()))
        .await
        .unwrap();
    assert_eq!(done, 4);
    let after = tenants
        .store()
        .read()
        .keys()
        .of_tenant(Tenant(tenants.datasources[2].organization))
        .await
        .unwrap();
    assert_eq!(
        (after.len(), after[0].version),
        (1, 2),
        "the old key is destroyed"
    );
    assert_ne!(after[0].id, before[0].id);
    tenants.assert_all(&tenants.keeper()).await;
}

#[tokio::test]
async fn keys_go_from_the_file_to_transit_and_back() {
    let bao = OpenBao::start().await.unwrap();
    let mut tenants = Tenants::new(3).await;
    let vault = &mut tenants.settings.secrets.vault;
    vault.url = Some(bao.url());
    vault.role_id_file = bao.role_id_file();
    vault.secret_id_file = bao.secret_id_file();
    tenants.settings.secrets.key_wrapping = Wrapping::Transit;
    let admin = tenants.admin();
    assert_eq!(while_reading(&tenants, admin.rewrap(|_| ())).await.unwrap(), 4);
    assert_eq!(
        admin.status().await.unwrap().wrapped_by,
        [("transit:transit/halcyon:v1".to_owned(), 4)]
    );
    let aside = tenants.settings.kek_file.with_extension("aside");
    std::fs::rename(&tenants.settings.kek_file, &aside).unwrap();
    tenants.assert_all(&tenants.keeper()).await;

    let body = json!({});
    let rotate = bao.call(reqwest::Method::POST, "transit/keys/halcyon/rotate", body);
    rotate.await.unwrap();
    assert_eq!(
        tenants.admin().rewrap(|_| ()).await.unwrap(),
        4,
        "a new version counts as a new key"
    );

    std::fs::rename(&aside, &tenants.settings.kek_file).unwrap();
    tenants.settings.secrets.key_wrapping = Wrapping::File;
    assert_eq!(tenants.admin().rewrap(|_| ()).await.unwrap(), 4);
    drop(bao);
    tenants.assert_all(&tenants.keeper()).await;
}
