//! Secrets written, deleted and listed.

use halcyon_bus::requests::{DeleteSecret, Empty, ListSecrets, PutSecret, RegistryKey, SecretInfo};
use halcyon_domain::{clock::Timestamp, config::is_secret_name, error::InputError};
use halcyon_secrets::{ExposeSecret, SecretSlice};

use super::{Secrets, vault::NewSecret};
use crate::Error;

/// The longest value of a secret, in bytes.
const MAX_VALUE: usize = 64 * 1024;

impl Secrets {
    pub(super) async fn public_key(&self, _: Empty) -> Result<RegistryKey, Error> {
        Ok(RegistryKey {
            public_key: self.key.public_key().to_owned(),
        })
    }

    pub(super) async fn put(&self, request: PutSecret) -> Result<SecretInfo, Error> {
        if request.to != self.key.public_key() {
            return Err(Error::UnknownKey);
        }
        check_name(&request.name)?;
        let now = self.shared.clock.now();
        check_future("/expires_at", request.expires_at, now)?;
        check_future("/overlap_until", request.overlap_until, now)?;
        let value = self
            .key
            .open(&request.from, &request.value)
            .map_err(|_| unreadable())?;
        let value = SecretSlice::from(value);
        check_value(value.expose_secret())?;
        let info = self
            .vault
            .put(&NewSecret {
                organization: request.organization,
                datasource: request.datasource,
                name: &request.name,
                value: value.expose_secret(),
                expires_at: request.expires_at,
                overlap_until: request.overlap_until,
                by: &request.by,
            })
            .await?;
        self.shared.bus.poke_outbox().await;
        Ok(info)
    }

    pub(super) async fn delete(&self, request: DeleteSecret) -> Result<Empty, Error> {
        let DeleteSecret {
            organization,
            datasource,
            name,
            by,
        } = request;
        self.vault
            .delete(organization, datasource, name.as_deref(), &by)
            .await?;
        self.shared.bus.poke_outbox().await;
        Ok(Empty {})
    }

    pub(super) async fn list(&self, request: ListSecrets) -> Result<Vec<SecretInfo>, Error> {
        self.vault.list(request.organization, request.datasource).await
    }
}

fn unreadable() -> InputError {
    InputError::new("/value", "unreadable", "the sealed value cannot be opened")
}

/// Checks a secret's name.
pub(super) fn check_name(name: &str) -> Result<(), InputError> {
    if is_secret_name(name) {
        return Ok(());
    }
    Err(InputError::new(
        "/name",
        "invalid",
        "a secret's name has 1 to 64 letters, digits, `_` or `-`",
    ))
}

fn check_future(pointer: &str, time: Option<Timestamp>, now: Timestamp) -> Result<(), InputError> {
    if time.is_some_and(|time| time <= now) {
        return Err(InputError::new(
            pointer,
            "out_of_range",
            "the time must lie ahead",
        ));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), InputError> {
    let (code, detail) = if value.is_empty() {
        ("required", "a secret is not empty")
    } else if value.len() > MAX_VALUE {
        ("too_long", "a secret has at most 64 KiB")
    } else if std::str::from_utf8(value).is_err() {
        ("invalid", "a secret is UTF-8 text")
    } else {
        return Ok(());
    };
    Err(InputError::new("/value", code, detail))
}
