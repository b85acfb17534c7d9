//! Where a value goes and comes from: its row, or Vault.
//!
//! A write to Vault cannot be in the database's transaction. So it is announced first, by a chore that falls due
//! later; the row is written in the transaction that withdraws the chore. Whatever happens in between, what is in
//! Vault without a row is destroyed when the chore falls due.

use std::sync::{Arc, atomic::Ordering};

use chrono::TimeDelta;
use halcyon_domain::id::{DatasourceId, OrganizationId, SecretId};
use halcyon_secrets::{
    DataKey, ExposeSecret, SecretContext, SecretString,
    vault::{Place, Vault},
};
use halcyon_store::{Kept, SecretBackend, SecretChore, SecretMeta, StoredSecret, Tenant, WriteTx};
use uuid::Uuid;

use super::{keeper::Keeper, tenant_keys::tenant_key_lock, writing::NewSecret};
use crate::{Error, reconcile::load::CONTROL_PLANE};

/// How long a write may be under way, besides what Vault may take for it.
const WRITING: TimeDelta = TimeDelta::seconds(10);
/// How many requests it may take at most, logging in and trying again included.
const REQUESTS: i32 = 10;

/// Held by who changes where new values go, and by who writes one.
pub(super) const BACKEND_LOCK: &str = "halcyon.secret-backend";

/// A value on its way into a row.
pub(super) enum Prepared {
    /// It will be encrypted with this key.
    Here { key_id: Uuid, key: Arc<DataKey> },
    /// It is in Vault, announced by this chore.
    Vault { version: u64, chore: Uuid },
}

impl Prepared {
    /// What stands in the row.
    pub(super) fn seal(&self, meta: &SecretMeta, value: &SecretString) -> Result<Kept, Error> {
        Ok(match self {
            Self::Here { key_id, key } => Kept::Here {
                key_id: *key_id,
                ciphertext: key.encrypt(&context(meta), value.expose_secret().as_bytes())?,
            },
            Self::Vault { version, .. } => Kept::Vault { version: *version },
        })
    }
}

pub(super) fn context(meta: &SecretMeta) -> SecretContext<'_> {
    SecretContext {
        organization: meta.organization,
        datasource: meta.datasource,
        name: &meta.name,
        version: u64::from(meta.version),
    }
}

pub(super) fn place(meta: &SecretMeta) -> Place<'_> {
    Place {
        organization: meta.organization,
        datasource: meta.datasource,
        name: &meta.name,
    }
}

impl Keeper {
    /// Brings a new value to where new values go.
    pub(super) async fn prepare(&self, new: &NewSecret<'_>, id: SecretId) -> Result<Prepared, Error> {
        let tenant = Tenant(new.organization);
        match self.store.read().secrets().backend(CONTROL_PLANE).await? {
            SecretBackend::Builtin => {
                let (key_id, key) = self.newest_key(tenant).await?;
                Ok(Prepared::Here { key_id, key })
            }
            SecretBackend::Vault => {
                let place = Place {
                    organization: new.organization,
                    datasource: new.datasource,
                    name: new.name,
                };
                self.write_to_vault(&place, id, new.value).await
            }
        }
    }

    /// Writes a value to Vault, announced.
    pub(super) async fn write_to_vault(
        &self,
        place: &Place<'_>,
        id: SecretId,
        value: &SecretString,
    ) -> Result<Prepared, Error> {
        let timeout = TimeDelta::from_std(self.settings.vault.timeout.get()).unwrap_or(WRITING);
        let chore = SecretChore {
            id: Uuid::now_v7(),
            organization: place.organization,
            datasource: place.datasource,
            name: place.name.to_owned(),
            due_at: self.clock.now() + WRITING + timeout * REQUESTS,
        };
        let vault = self.the_vault()?;
        let tx = self.store.begin().await?;
        tx.secrets().add_chore(&chore).await?;
        tx.commit().await?;
        match self.watched(vault.put(place, id.0, value).await) {
            Ok(version) => Ok(Prepared::Vault {
                version,
                chore: chore.id,
            }),
            Err(error) => {
                self.hurry(chore.id).await;
                Err(error)
            }
        }
    }

    /// Whether a prepared value is still where it belongs. To be asked in the transaction that writes its row.
    pub(super) async fn still_fits(
        &self,
        tx: &WriteTx,
        tenant: Tenant,
        prepared: &Prepared,
    ) -> Result<bool, Error> {
        tx.lock(BACKEND_LOCK).await?;
        let backend = tx.secrets().backend(CONTROL_PLANE).await?;
        match prepared {
            Prepared::Here { key_id, .. } => {
                tx.lock(&tenant_key_lock(tenant)).await?;
                let keys = tx.keys().of_tenant(tenant).await?;
                let newest = keys.iter().find(|key| key.retired_at.is_none());
                Ok(backend == SecretBackend::Builtin && newest.is_some_and(|key| key.id == *key_id))
            }
            Prepared::Vault { chore, .. } => {
                Ok(backend == SecretBackend::Vault && tx.secrets().finish_chore(*chore).await?)
            }
        }
    }

    /// A prepared value did not come into a row.
    pub(super) async fn abandon(&self, prepared: Prepared) {
        if let Prepared::Vault { chore, .. } = prepared {
            self.hurry(chore).await;
        }
    }

    /// What was announced came to nothing: it is tidied up now rather than later. If this fails, later will do.
    async fn hurry(&self, chore: Uuid) {
        let hurried = async {
            let tx = self.store.begin().await?;
            tx.secrets().hasten_chore(chore, self.clock.now()).await?;
            tx.commit().await
        };
        if let Err(error) = hurried.await {
            tracing::debug!(error = %error, "an unused value in vault is destroyed later");
        }
    }

    /// Opens a value. `Missing` means that it is not, or no longer, where the row says.
    pub(super) async fn value(&self, stored: &StoredSecret) -> Result<SecretString, Error> {
        let meta = &stored.meta;
        match &stored.kept {
            Kept::Vault { version } => {
                let vault = self.the_vault()?;
                self.watched(vault.get(&place(meta), meta.id.0, *version).await)
            }
            Kept::Here { key_id, ciphertext } => {
                let key = self.data_key(Tenant(meta.organization), *key_id).await?;
                let key = key.ok_or(halcyon_secrets::Error::Missing)?;
                let opened = key.decrypt(&context(meta), ciphertext)?;
                let text = std::str::from_utf8(opened.expose_secret());
                let text = text.map_err(|_| halcyon_secrets::Error::CannotOpen)?;
                Ok(SecretString::from(text))
            }
        }
    }

    pub(super) fn the_vault(&self) -> Result<&Arc<Vault>, Error> {
        let unset = || {
            halcyon_secrets::Error::Settings(
                "values are in vault, and `registry.secrets.vault.url` is not set".into(),
            )
        };
        Ok(self.vault.as_ref().ok_or_else(unset)?)
    }

    /// Notes whether Vault answered.
    pub(super) fn watched<T>(&self, answer: Result<T, halcyon_secrets::Error>) -> Result<T, Error> {
        let away = match &answer {
            Ok(_) | Err(halcyon_secrets::Error::Missing) => false,
            Err(error) => error.is_transient(),
        };
        if self.vault_is_away.swap(away, Ordering::Relaxed) != away {
            match &answer {
                Err(error) if away => tracing::warn!(error = %error, "vault cannot be used"),
                _ => {
                    tracing::info!("vault can be used again");
                    self.forget_missed();
                }
            }
        }
        Ok(answer?)
    }

    /// Whether Vault did not answer when it was last asked.
    pub(crate) fn vault_is_away(&self) -> bool {
        self.vault_is_away.load(Ordering::Relaxed)
    }

    /// Destroys what is in Vault without a row, where that is due. Returns what is still to be done.
    pub(super) async fn tidy(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        name: &str,
    ) -> Result<(), Error> {
        let tenant = Tenant(organization);
        let place = Place {
            organization,
            datasource,
            name,
        };
        let vault = self.the_vault()?;
        // First what is there, then what has rows: a row that comes later is of a value that came later.
        let there = self.watched(vault.versions(&place).await)?;
        let read = self.store.read();
        let rows = read.secrets().versions(tenant, datasource, name).await?;
        if rows.is_empty() && read.datasources().find(tenant, datasource).await?.is_none() {
            return self.watched(vault.forget_place(&place).await);
        }
        let used: Vec<u64> = rows.iter().filter_map(|row| row.meta.vault_version).collect();
        let unused: Vec<u64> = there
            .into_iter()
            .filter(|version| !used.contains(version))
            .collect();
        if unused.is_empty() {
            return Ok(());
        }
        self.watched(vault.destroy(&place, &unused).await)
    }
}
