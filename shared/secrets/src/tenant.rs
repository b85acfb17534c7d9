//! A tenant's data key, and the values that it encrypts.

use std::fmt;

use halcyon_domain::id::{DatasourceId, OrganizationId};
use secrecy::ExposeSecret;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    Error, SecretSlice,
    envelope::{self, KEY, context},
};

/// What a value is for. A ciphertext opens only in the same context.
#[derive(Clone, Copy, Debug)]
pub struct SecretContext<'a> {
    /// The tenant.
    pub organization: OrganizationId,
    /// The owner.
    pub datasource: DatasourceId,
    /// The secret's name.
    pub name: &'a str,
    /// Its version.
    pub version: u64,
}

impl SecretContext<'_> {
    fn bytes(&self) -> Vec<u8> {
        context(&[
            b"datasource secret",
            self.organization.0.as_bytes(),
            self.datasource.0.as_bytes(),
            self.name.as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

/// The key that encrypts one tenant's values.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([REDACTED])")
    }
}

impl DataKey {
    /// A new key.
    ///
    /// # Errors
    /// No random bytes could be had.
    pub fn generate() -> Result<Self, Error> {
        envelope::random().map(Self)
    }

    pub(crate) fn from_secret(secret: &SecretSlice<u8>) -> Result<Self, Error> {
        secret
            .expose_secret()
            .try_into()
            .map(Self)
            .map_err(|_| Error::CannotOpen)
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Encrypts a value.
    ///
    /// # Errors
    /// No random bytes could be had.
    pub fn encrypt(&self, context: &SecretContext<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        envelope::seal(&self.0, &context.bytes(), value)
    }

    /// Decrypts a value.
    ///
    /// # Errors
    /// It was encrypted by another key or in another context, or was changed.
    pub fn decrypt(&self, context: &SecretContext<'_>, sealed: &[u8]) -> Result<SecretSlice<u8>, Error> {
        envelope::open(&self.0, &context.bytes(), sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_own_context_only() {
        let key = DataKey::generate().unwrap();
        let context = SecretContext {
            organization: OrganizationId::generate(),
            datasource: DatasourceId::generate(),
            name: "signing",
            version: 3,
        };
        let sealed = key.encrypt(&context, b"value").unwrap();
        assert_eq!(key.decrypt(&context, &sealed).unwrap().expose_secret(), b"value");
        let elsewhere = [
            SecretContext {
                organization: OrganizationId::generate(),
                ..context
            },
            SecretContext {
                datasource: DatasourceId::generate(),
                ..context
            },
            SecretContext {
                name: "signin",
                ..context
            },
            SecretContext {
                version: 4,
                ..context
            },
        ];
        for other in elsewhere {
            assert!(
                matches!(key.decrypt(&other, &sealed), Err(Error::CannotOpen)),
                "{other:?}"
            );
        }
        assert!(DataKey::generate().unwrap().decrypt(&context, &sealed).is_err());
    }
}
