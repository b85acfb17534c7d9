//! What wraps the data keys: the keys of the key file, or a key of Vault's transit engine.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DataKey, Error, KeyFile, SecretSlice, Wrapped, envelope::context, vault::Vault};

/// What wraps new data keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrapping {
    /// The first key of the key file.
    #[default]
    File,
    /// The key of Vault's transit engine.
    Transit,
}

/// What wraps the data keys. Whatever wrapped one before opens it, as long as it is configured.
#[derive(Debug)]
pub struct Keys {
    file: Option<KeyFile>,
    vault: Option<Arc<Vault>>,
    wrapping: Wrapping,
}

impl Keys {
    /// Wraps with what `wrapping` says.
    ///
    /// # Errors
    /// That is not configured.
    pub fn new(file: Option<KeyFile>, vault: Option<Arc<Vault>>, wrapping: Wrapping) -> Result<Self, Error> {
        let missing = match wrapping {
            Wrapping::File if file.is_none() => "keys are wrapped by the key file, and there is none",
            Wrapping::Transit if vault.is_none() => "keys are wrapped by vault, and it has no address",
            _ => {
                return Ok(Self {
                    file,
                    vault,
                    wrapping,
                });
            }
        };
        Err(Error::Settings(missing.to_owned()))
    }

    /// The key file, if there is one.
    #[must_use]
    pub const fn file(&self) -> Option<&KeyFile> {
        self.file.as_ref()
    }

    /// The identifier of the key that wraps what is new.
    ///
    /// # Errors
    /// Vault does not answer.
    pub async fn current(&self) -> Result<String, Error> {
        match self.wrapping {
            Wrapping::File => Ok(self.the_file()?.ring().newest().to_owned()),
            Wrapping::Transit => self.the_vault()?.transit_current().await,
        }
    }

    /// Wraps a tenant's data key.
    ///
    /// # Errors
    /// No random bytes could be had, or Vault does not answer.
    pub async fn wrap(&self, organization: &Uuid, key_id: &Uuid, key: &DataKey) -> Result<Wrapped, Error> {
        match self.wrapping {
            Wrapping::File => self.the_file()?.seal(|ring| ring.wrap(organization, key_id, key)),
            Wrapping::Transit => {
                let context = tenant_context(organization, key_id);
                self.the_vault()?.transit_encrypt(&context, key.bytes()).await
            }
        }
    }

    /// Unwraps a tenant's data key.
    ///
    /// # Errors
    /// Its wrapping key is not known, it belongs to another tenant or was changed, or Vault does not answer.
    pub async fn unwrap(
        &self,
        organization: &Uuid,
        key_id: &Uuid,
        wrapped: &Wrapped,
    ) -> Result<DataKey, Error> {
        if wrapped.is_by_transit() {
            let context = tenant_context(organization, key_id);
            let key = self.the_vault()?.transit_decrypt(&context, wrapped).await?;
            return DataKey::from_secret(&key);
        }
        let file = self.the_file()?;
        file.open_with(|ring| ring.unwrap(organization, key_id, wrapped))
    }

    /// Encrypts something of the system's own, such as a token key; `label` says what it is.
    ///
    /// # Errors
    /// No random bytes could be had, or Vault does not answer.
    pub async fn seal_system(&self, label: &str, plain: &[u8]) -> Result<Wrapped, Error> {
        match self.wrapping {
            Wrapping::File => self.the_file()?.seal(|ring| ring.seal_system(label, plain)),
            Wrapping::Transit => {
                let context = context(&[b"system", label.as_bytes()]);
                self.the_vault()?.transit_encrypt(&context, plain).await
            }
        }
    }

    /// Decrypts something of the system's own.
    ///
    /// # Errors
    /// Its wrapping key is not known, the label is another one, it was changed, or Vault does not answer.
    pub async fn open_system(&self, label: &str, wrapped: &Wrapped) -> Result<SecretSlice<u8>, Error> {
        if wrapped.is_by_transit() {
            let context = context(&[b"system", label.as_bytes()]);
            return self.the_vault()?.transit_decrypt(&context, wrapped).await;
        }
        self.the_file()?.open_system(label, wrapped)
    }

    fn the_file(&self) -> Result<&KeyFile, Error> {
        let missing = || Error::Settings("a key was wrapped by a key file, and there is none".to_owned());
        self.file.as_ref().ok_or_else(missing)
    }

    fn the_vault(&self) -> Result<&Arc<Vault>, Error> {
        let missing = || Error::Settings("a key was wrapped by vault, and it has no address".to_owned());
        self.vault.as_ref().ok_or_else(missing)
    }
}

fn tenant_context(organization: &Uuid, key_id: &Uuid) -> Vec<u8> {
    context(&[b"tenant key", organization.as_bytes(), key_id.as_bytes()])
}
