//! Sealing for one process: X25519 key pairs ("xkeys") that are made at each start and never leave the process.

use nkeys::XKey;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The key pair of a running process.
pub struct InstanceKey {
    pair: XKey,
    public: String,
}

impl std::fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InstanceKey({})", self.public)
    }
}

impl InstanceKey {
    /// A new key pair.
    #[must_use]
    pub fn generate() -> Self {
        let pair = XKey::new();
        let public = pair.public_key();
        Self { pair, public }
    }

    /// The public key (`X...`).
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// Seals bytes so that only the owner of `to_public` can open them, and can tell that they are from us.
    ///
    /// # Errors
    /// `to_public` is no public key.
    pub fn seal(&self, to_public: &str, plain: &[u8]) -> Result<Sealed, Error> {
        let to = XKey::from_public_key(to_public)
            .map_err(|_| Error::Setup("not an instance's public key".to_owned()))?;
        let bytes = self.pair.seal(plain, &to).map_err(Error::refused)?;
        Ok(Sealed(bytes))
    }

    /// Opens what the owner of `from_public` sealed for us.
    ///
    /// # Errors
    /// It was sealed for or by another key, or was changed on the way.
    pub fn open(&self, from_public: &str, sealed: &Sealed) -> Result<Vec<u8>, Error> {
        let from = XKey::from_public_key(from_public)
            .map_err(|_| Error::Setup("not an instance's public key".to_owned()))?;
        self.pair
            .open(&sealed.0, &from)
            .map_err(|_| Error::Malformed("sealed bytes that cannot be opened".to_owned()))
    }
}

/// Bytes that only one process can open. In JSON: base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::codec::base64_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::codec::base64_bytes::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addressee_opens() {
        let (registry, worker, other) = (
            InstanceKey::generate(),
            InstanceKey::generate(),
            InstanceKey::generate(),
        );
        let sealed = registry.seal(worker.public_key(), b"hunter2").unwrap();
        assert_eq!(worker.open(registry.public_key(), &sealed).unwrap(), b"hunter2");
        assert!(other.open(registry.public_key(), &sealed).is_err());
        assert!(worker.open(other.public_key(), &sealed).is_err());
        let text = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed);
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let (one, two) = (InstanceKey::generate(), InstanceKey::generate());
        let mut sealed = one.seal(two.public_key(), b"x").unwrap();
        if let Some(last) = sealed.0.last_mut() {
            *last ^= 1;
        }
        assert!(two.open(one.public_key(), &sealed).is_err());
    }
}
