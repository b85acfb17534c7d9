//! Secrets for whoever administers an installation: how they are kept, their keys' rotation, moving them.
//!
//! All of it may run beside any number of registries, be killed at any moment and begun again.

use std::sync::Arc;

use halcyon_domain::clock::Clock;
use halcyon_secrets::KeyFile;
use halcyon_store::{SecretBackend, Store, WrappedBy};

use crate::{
    Error, Settings,
    reconcile::load::CONTROL_PLANE,
    secrets::{Keeper, moving::Moved},
};

/// How the secrets are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsStatus {
    /// Where new values go.
    pub backend: SecretBackend,
    /// Values in the database.
    pub builtin: u64,
    /// Values in Vault.
    pub vault: u64,
    /// The key that wraps what is new.
    pub newest_key: String,
    /// What has wrapped how many keys.
    pub wrapped_by: WrappedBy,
    /// The keys of the key file, the newest first.
    pub file_keys: Vec<String>,
}

/// What becomes of the key file in a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// A new key comes first and wraps what is new.
    Add,
    /// A new key comes last and waits.
    AddWaiting,
    /// The last key comes first.
    UseWaiting,
}

/// The secrets of an installation.
pub struct SecretsAdmin(Keeper);

impl SecretsAdmin {
    /// The secrets of a database, with the keys of the settings.
    ///
    /// # Errors
    /// The key file, or what is said of Vault, is of no use.
    pub fn new(settings: &Settings, store: Store, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Keeper::new(settings, store, clock).map(Self)
    }

    /// How the secrets are kept.
    ///
    /// # Errors
    /// The database or Vault does not answer.
    pub async fn status(&self) -> Result<SecretsStatus, Error> {
        let read = self.0.store().read();
        let secrets = read.secrets();
        Ok(SecretsStatus {
            backend: secrets.backend(CONTROL_PLANE).await?,
            builtin: secrets.count_in(CONTROL_PLANE, SecretBackend::Builtin).await?,
            vault: secrets.count_in(CONTROL_PLANE, SecretBackend::Vault).await?,
            newest_key: self.0.keys().current().await?,
            wrapped_by: read.keys().wrapped_by(CONTROL_PLANE).await?,
            file_keys: self
                .0
                .keys()
                .file()
                .map_or_else(Vec::new, |file| file.ring().ids()),
        })
    }

    /// Whether Vault answers and lets us in; nothing if none is configured.
    ///
    /// # Errors
    /// It does not.
    pub async fn check_vault(&self) -> Result<Option<()>, Error> {
        if !self.0.has_vault() {
            return Ok(None);
        }
        self.0.ask_vault().await.map(Some)
    }

    /// How many keys are not wrapped by the newest key yet.
    ///
    /// # Errors
    /// The database or Vault does not answer.
    pub async fn left_to_rewrap(&self) -> Result<u64, Error> {
        let left = self.0.left_to_rewrap().await?;
        Ok(left.iter().map(|(_, count)| count).sum())
    }

    /// Changes the key file. Returns the identifier of the key concerned.
    ///
    /// # Errors
    /// There is none, or it cannot be written.
    pub fn change_keys(&self, step: KeyStep) -> Result<String, Error> {
        let file = self.key_file()?;
        Ok(match step {
            KeyStep::Add => file.add_newest()?,
            KeyStep::AddWaiting => file.add_waiting()?,
            KeyStep::UseWaiting => file.promote_waiting()?,
        })
    }

    /// Wraps all keys with the newest one. `step` is told the count of those done.
    ///
    /// # Errors
    /// The database or Vault does not answer, or a key cannot be opened.
    pub async fn rewrap(&self, step: impl FnMut(u64) + Send) -> Result<u64, Error> {
        self.0.rewrap(step).await
    }

    /// Removes the keys of the key file that nothing is wrapped with any more. Returns their identifiers.
    ///
    /// # Errors
    /// The database does not answer, or the file cannot be written.
    pub async fn remove_old_keys(&self) -> Result<Vec<String>, Error> {
        let file = self.key_file()?;
        let needed = self.0.store().read().keys().wrapped_by(CONTROL_PLANE).await?;
        let needed: Vec<String> = needed.into_iter().map(|(by, _)| by).collect();
        Ok(file.remove_unneeded(&needed)?)
    }

    /// Gives each organisation a new data key, and encrypts all values with it.
    ///
    /// # Errors
    /// The database or Vault does not answer, or a value cannot be opened.
    pub async fn rotate_data_keys(&self, step: impl FnMut(u64) + Send) -> Result<u64, Error> {
        self.0.renew_data_keys().await?;
        self.0.reencrypt(step).await
    }

    /// Moves all values, and has new ones go there from then on. `step` is told how far it has come.
    ///
    /// # Errors
    /// The database or Vault does not answer, or a value cannot be opened or reads back differently.
    pub async fn move_to(
        &self,
        backend: SecretBackend,
        step: impl FnMut(Moved) + Send,
    ) -> Result<Moved, Error> {
        let moved = self.0.move_all(backend, step).await?;
        if self.0.has_vault() {
            self.0.tidy_up().await?;
        }
        Ok(moved)
    }

    fn key_file(&self) -> Result<&KeyFile, Error> {
        let missing = || halcyon_secrets::Error::Settings("there is no key file".to_owned());
        Ok(self.0.keys().file().ok_or_else(missing)?)
    }
}
