//! Secrets as they are kept: with what, and what is known of them. [`super::writing`] writes them, [`super::opening`]
//! opens them.
//!
//! A value is encrypted with its tenant's data key and kept in its row, or it is kept in Vault and the row says
//! which version there is its own. Each row says by itself where its value is, so that a store which is half moved
//! from one to the other works as a whole.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use halcyon_bus::requests::{SecretInfo, SecretVersionInfo};
use halcyon_domain::{
    clock::{Clock, Timestamp},
    id::{DatasourceId, OrganizationId, SecretId},
};
use halcyon_secrets::{KeyFile, Keys, Wrapping, vault::Vault};
use halcyon_store::{SecretMeta, Store, Tenant};

use super::tenant_keys::KeyCache;
use crate::{Error, Settings, settings::SecretsSettings};

/// How often a write or an opening begins anew because the backend, the tenant's key or a value's place changed
/// meanwhile.
pub(super) const ATTEMPTS: usize = 3;

/// The secrets in the database and in Vault, and the keys that open them.
pub(crate) struct Keeper {
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) vault: Option<Arc<Vault>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: SecretsSettings,
    pub(super) cache: KeyCache,
    /// Whether Vault did not answer when it was last asked.
    pub(super) vault_is_away: AtomicBool,
    /// Datasources whose secrets a gateway has asked for in vain.
    missed: Mutex<BTreeSet<DatasourceId>>,
}

impl Keeper {
    /// The keys and Vault of the settings.
    ///
    /// # Errors
    /// The key file, or what is said of Vault, is of no use.
    pub(crate) fn new(settings: &Settings, store: Store, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let secrets = settings.secrets.clone();
        let vault = Vault::new(&secrets.vault)?.map(Arc::new);
        // Where Vault wraps the keys, a file is needed only for those that it wrapped before.
        let without_file = secrets.key_wrapping == Wrapping::Transit && !settings.kek_file.exists();
        let file = (!without_file)
            .then(|| KeyFile::open(&settings.kek_file))
            .transpose()?;
        Ok(Self {
            keys: Keys::new(file, vault.clone(), secrets.key_wrapping)?,
            store,
            vault,
            clock,
            settings: secrets,
            cache: KeyCache::default(),
            vault_is_away: AtomicBool::new(false),
            missed: Mutex::default(),
        })
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) const fn has_vault(&self) -> bool {
        self.vault.is_some()
    }

    /// What is known of a datasource's secrets, values excepted.
    pub(super) async fn list(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<SecretInfo>, Error> {
        self.check_datasource(organization, datasource).await?;
        let read = self.store.read();
        Ok(infos(
            read.secrets().list(Tenant(organization), datasource).await?,
        ))
    }

    /// Datasources whose secrets a gateway has asked this process for in vain.
    pub(crate) fn missed(&self) -> BTreeSet<DatasourceId> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever missed a secret asks again.
    pub(super) fn forget_missed(&self) {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes whether a gateway got a datasource's secrets.
    pub(super) fn note_missed(&self, datasource: DatasourceId, is_missed: bool) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if is_missed {
            missed.insert(datasource);
        } else {
            missed.remove(&datasource);
        }
    }

    /// Notes that versions were opened.
    pub(super) async fn note_read(
        &self,
        tenant: Tenant,
        ids: &[SecretId],
        now: Timestamp,
    ) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let tx = self.store.begin().await?;
        tx.secrets().note_read(tenant, ids, now).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn check_datasource(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<(), Error> {
        let read = self.store.read();
        let found = read.datasources().find(Tenant(organization), datasource).await?;
        found.map(|_| ()).ok_or(Error::NotFound("datasource"))
    }
}

/// One line for each secret, from its versions: newest first within a name.
pub(super) fn infos(versions: Vec<SecretMeta>) -> Vec<SecretInfo> {
    let mut infos: Vec<SecretInfo> = Vec::new();
    for meta in versions {
        let version = SecretVersionInfo {
            version: meta.version,
            created_at: meta.created_at,
            created_by: meta.created_by,
            expires_at: meta.expires_at,
            valid_until: meta.valid_until,
            last_read_at: meta.last_read_at,
        };
        match infos.last_mut() {
            Some(info) if info.name == meta.name => info.versions.push(version),
            _ => infos.push(SecretInfo {
                name: meta.name,
                versions: vec![version],
            }),
        }
    }
    infos
}
