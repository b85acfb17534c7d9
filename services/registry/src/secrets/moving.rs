//! Moving values from the database to Vault, and back.
//!
//! One version at a time: written to the other side, read back from there and compared, and only then does its row
//! say that it is there. A version whose row says otherwise is not touched, so that the work can be stopped and
//! begun again at any time, and reads find each value where its row says. New values go to where they went before
//! until all are moved; then, under a lock that every write takes, nothing is left behind and new values go to the
//! other side from then on.

use halcyon_secrets::{ExposeSecret, SecretString};
use halcyon_store::{Kept, SecretBackend, SecretChore, StoredSecret, Tenant};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    entries::{self, Subject},
    keeper::Keeper,
    values::{BACKEND_LOCK, Prepared, place},
};
use crate::{Error, reconcile::load::CONTROL_PLANE};

/// Rows that are read at a time.
const BATCH: u64 = 32;

/// How far moving has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Versions moved, read back and compared by this run.
    pub moved: u64,
    /// Versions that were still to be moved when it began.
    pub total: u64,
}

impl Keeper {
    /// Moves all values to `to`, and has new ones go there. `step` is told how far it has come.
    pub(crate) async fn move_all(
        &self,
        to: SecretBackend,
        mut step: impl FnMut(Moved) + Send,
    ) -> Result<Moved, Error> {
        let from = other(to);
        let total = self.store.read().secrets().count_in(CONTROL_PLANE, from).await?;
        let mut progress = Moved { moved: 0, total };
        step(progress);
        loop {
            let mut after = None;
            loop {
                let read = self.store.read();
                let batch = read.secrets().kept_in(CONTROL_PLANE, from, after, BATCH).await?;
                let Some(last) = batch.last() else { break };
                after = Some(last.meta.id);
                for stored in &batch {
                    if self.move_one(stored, to).await? {
                        progress.moved += 1;
                        step(progress);
                    }
                }
            }
            if self.switch(from, to).await? {
                return Ok(progress);
            }
        }
    }

    /// From now on new values go to `to`, if nothing is left behind.
    async fn switch(&self, from: SecretBackend, to: SecretBackend) -> Result<bool, Error> {
        let tx = self.store.begin().await?;
        tx.lock(BACKEND_LOCK).await?;
        if tx.secrets().count_in(CONTROL_PLANE, from).await? > 0 {
            return Ok(false);
        }
        tx.secrets()
            .set_backend(CONTROL_PLANE, to, self.clock.now())
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether it was there to be moved.
    async fn move_one(&self, stored: &StoredSecret, to: SecretBackend) -> Result<bool, Error> {
        let value = match self.value(stored).await {
            // Replaced or deleted meanwhile, or lost: the row tells which.
            Err(Error::Secrets(halcyon_secrets::Error::Missing)) => return self.gone(stored).await,
            value => value?,
        };
        let meta = &stored.meta;
        let prepared = match to {
            SecretBackend::Vault => self.write_to_vault(&place(meta), meta.id, &value).await?,
            SecretBackend::Builtin => {
                let (key_id, key) = self.newest_key(Tenant(meta.organization)).await?;
                Prepared::Here { key_id, key }
            }
        };
        let kept = prepared.seal(meta, &value)?;
        let arrived = StoredSecret {
            meta: meta.clone(),
            kept,
        };
        let moved = match self.is_same(&arrived, &value).await {
            Ok(()) => self.relocate(stored, &arrived.kept, &prepared).await,
            Err(error) => Err(error),
        };
        if !matches!(moved, Ok(true)) {
            self.abandon(prepared).await;
        }
        moved
    }

    /// Reads back what has arrived, and compares.
    async fn is_same(&self, arrived: &StoredSecret, value: &SecretString) -> Result<(), Error> {
        let digest = |value: &SecretString| Sha256::digest(value.expose_secret().as_bytes());
        if digest(&self.value(arrived).await?) == digest(value) {
            return Ok(());
        }
        tracing::error!(secret.id = %arrived.meta.id, "a moved secret reads back differently");
        Err(halcyon_secrets::Error::CannotOpen.into())
    }

    async fn relocate(&self, stored: &StoredSecret, to: &Kept, prepared: &Prepared) -> Result<bool, Error> {
        let (meta, now) = (&stored.meta, self.clock.now());
        let tenant = Tenant(meta.organization);
        let tx = self.store.begin().await?;
        if let Prepared::Vault { chore, .. } = prepared
            && !tx.secrets().finish_chore(*chore).await?
        {
            return Ok(false);
        }
        if !tx.secrets().relocate(tenant, meta.id, &stored.kept, to).await? {
            return Ok(false);
        }
        if meta.vault_version.is_some() {
            let chore = SecretChore {
                id: Uuid::now_v7(),
                organization: meta.organization,
                datasource: meta.datasource,
                name: meta.name.clone(),
                due_at: now,
            };
            tx.secrets().add_chore(&chore).await?;
        }
        let subject = Subject {
            organization: meta.organization,
            datasource: meta.datasource,
            name: &meta.name,
            version: Some(meta.version),
        };
        let to = match to {
            Kept::Here { .. } => SecretBackend::Builtin,
            Kept::Vault { .. } => SecretBackend::Vault,
        };
        let summary = format!(
            "moved version {} of secret `{}` to {}",
            meta.version,
            meta.name,
            to.as_str()
        );
        let by = entries::system("halcyon secret-store");
        let entry = entries::entry(subject, "secret.move", summary, &by, now);
        entries::record(&tx, subject, &entry).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A value that is missing although its row still says that it is there.
    async fn gone(&self, stored: &StoredSecret) -> Result<bool, Error> {
        let meta = &stored.meta;
        let read = self.store.read();
        let rows = read
            .secrets()
            .versions(Tenant(meta.organization), meta.datasource, &meta.name)
            .await?;
        if rows
            .iter()
            .any(|row| row.meta.id == meta.id && row.kept == stored.kept)
        {
            tracing::error!(datasource.id = %meta.datasource, secret.name = meta.name, "a secret's value is lost");
            return Err(halcyon_secrets::Error::Missing.into());
        }
        Ok(false)
    }
}

/// The other backend.
pub(crate) const fn other(backend: SecretBackend) -> SecretBackend {
    match backend {
        SecretBackend::Builtin => SecretBackend::Vault,
        SecretBackend::Vault => SecretBackend::Builtin,
    }
}
