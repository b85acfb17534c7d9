//! Secrets written, deleted and listed.

use chrono::TimeDelta;
use halcyon_bus::requests::{
    DeleteSecret, Empty, ListSecrets, PutSecret, RegistryKey, SecretChange, SecretInfo,
};
use halcyon_domain::{clock::Timestamp, config::is_secret_name, error::InputError};
use halcyon_secrets::{ExposeSecret, SecretSlice, SecretString};

use super::{Secrets, writing::NewSecret};
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
        let overlap = self.overlap(request.change)?;
        let value = self
            .key
            .open(&request.from, &request.value)
            .map_err(|_| unreadable())?;
        let value = SecretSlice::from(value);
        let value = SecretString::from(check_value(value.expose_secret())?);
        let info = self
            .keeper
            .put(&NewSecret {
                organization: request.organization,
                datasource: request.datasource,
                name: &request.name,
                value: &value,
                expires_at: request.expires_at,
                overlap,
                by: &request.by,
            })
            .await?;
        self.shared.bus.poke_outbox().await;
        Ok(info)
    }

    /// How long the versions before are still accepted; nothing if they are replaced at once.
    fn overlap(&self, change: SecretChange) -> Result<Option<TimeDelta>, InputError> {
        let SecretChange::Rotate { overlap } = change else {
            return Ok(None);
        };
        let settings = &self.shared.settings.secrets;
        let overlap = overlap.unwrap_or(settings.overlap);
        let delta = TimeDelta::from_std(overlap.get()).ok();
        match delta.filter(|_| overlap <= settings.max_overlap) {
            Some(delta) => Ok(Some(delta)),
            None => {
                let detail = format!("the overlap is {} at most", settings.max_overlap);
                Err(InputError::new("/overlap", "out_of_range", detail))
            }
        }
    }

    pub(super) async fn delete(&self, request: DeleteSecret) -> Result<Empty, Error> {
        let DeleteSecret {
            organization,
            datasource,
            name,
            by,
        } = request;
        self.keeper
            .delete(organization, datasource, name.as_deref(), &by)
            .await?;
        self.shared.bus.poke_outbox().await;
        Ok(Empty {})
    }

    pub(super) async fn list(&self, request: ListSecrets) -> Result<Vec<SecretInfo>, Error> {
        self.keeper.list(request.organization, request.datasource).await
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

fn check_value(value: &[u8]) -> Result<&str, InputError> {
    let (code, detail) = if value.is_empty() {
        ("required", "a secret is not empty")
    } else if value.len() > MAX_VALUE {
        ("too_long", "a secret has at most 64 KiB")
    } else {
        match std::str::from_utf8(value) {
            Ok(text) => return Ok(text),
            Err(_) => ("invalid", "a secret is UTF-8 text"),
        }
    };
    Err(InputError::new("/value", code, detail))
}
