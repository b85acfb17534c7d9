//! Keys that sign access tokens: Ed25519 (RFC 8032).

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use secrecy::{ExposeSecret, SecretSlice};

use crate::Error;

/// A key pair that signs access tokens.
pub struct TokenKey {
    /// The private key: PKCS#8 (RFC 5958), DER.
    pub private: SecretSlice<u8>,
    /// The public key: 32 bytes.
    pub public: Vec<u8>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("public", &hex::encode(&self.public))
            .finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A new key pair.
    ///
    /// # Errors
    /// No random bytes could be had.
    pub fn generate() -> Result<Self, Error> {
        let pair = Ed25519KeyPair::generate().map_err(|_| Error::CannotSeal)?;
        let private = pair.to_pkcs8v1().map_err(|_| Error::CannotSeal)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self {
            private: SecretSlice::from(private.as_ref().to_vec()),
            public,
        })
    }

    /// The key pair of a private key that was kept.
    ///
    /// # Errors
    /// It is no Ed25519 key in PKCS#8.
    pub fn from_private(private: SecretSlice<u8>) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_pkcs8(private.expose_secret()).map_err(|_| Error::CannotOpen)?;
        Ok(Self {
            public: pair.public_key().as_ref().to_vec(),
            private,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = TokenKey::generate().unwrap();
        let again = TokenKey::from_private(key.private.clone()).unwrap();
        assert_eq!(again.public, key.public);
        assert_eq!(key.public.len(), 32);
        assert!(TokenKey::from_private(SecretSlice::from(vec![1, 2, 3])).is_err());
    }
}
