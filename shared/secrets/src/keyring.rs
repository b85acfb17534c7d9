//! The key-encryption keys, read from a file that only its owner can read.
//!
//! The file has one key a line: 64 hexadecimal digits. The first wraps what is new; the others open what was
//! wrapped before. Empty lines and lines that begin with `#` are skipped.

use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error, SecretSlice,
    envelope::{self, KEY, context},
    tenant::DataKey,
};

/// A key-encryption key.
#[derive(Zeroize, ZeroizeOnDrop)]
struct KeyEncryptionKey {
    #[zeroize(skip)]
    id: String,
    key: [u8; KEY],
}

impl KeyEncryptionKey {
    fn new(key: [u8; KEY]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"halcyon key-encryption key")
            .chain_update(key)
            .finalize();
        Self {
            id: hex::encode(digest.iter().take(8).copied().collect::<Vec<u8>>()),
            key,
        }
    }
}

/// Something encrypted under a key-encryption key, and the name of that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The ciphertext.
    pub bytes: Vec<u8>,
    /// The identifier of the key that opens it.
    pub wrapped_by: String,
}

/// The key-encryption keys, newest first.
pub struct Keyring {
    newest: KeyEncryptionKey,
    older: Vec<KeyEncryptionKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.all().map(|key| key.id.as_str()).collect();
        f.debug_struct("Keyring")
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the key file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or a line is no key.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let file_error = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(file_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Permissions {
                path: path.to_owned(),
                mode,
            });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file_error)?);
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut key = Zeroizing::new([0; KEY]);
            hex::decode_to_slice(line, key.as_mut_slice()).map_err(|_| Error::Format {
                path: path.to_owned(),
                line: index + 1,
                detail: "expected 64 hexadecimal digits",
            })?;
            keys.push(KeyEncryptionKey::new(*key));
        }
        if keys.is_empty() {
            return Err(Error::Format {
                path: path.to_owned(),
                line: 1,
                detail: "there is no key",
            });
        }
        let older = keys.split_off(1);
        let newest = keys.remove(0);
        Ok(Self { newest, older })
    }

    /// Writes a new file with one new key, readable by its owner only.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn create_file(path: &Path) -> Result<(), Error> {
        let key = Zeroizing::new(envelope::random::<KEY>()?);
        let text = Zeroizing::new(format!("{}\n", hex::encode(key.as_slice())));
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The identifier of the key that wraps what is new.
    #[must_use]
    pub fn newest(&self) -> &str {
        &self.newest.id
    }

    /// The identifiers of all keys, the newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.all().map(|key| key.id.clone()).collect()
    }

    /// The identifier of a key as it stands in a line of the file.
    pub(crate) fn id_of(line: &str) -> Option<String> {
        let mut key = Zeroizing::new([0; KEY]);
        hex::decode_to_slice(line.trim(), key.as_mut_slice()).ok()?;
        Some(KeyEncryptionKey::new(*key).id.clone())
    }

    fn all(&self) -> impl Iterator<Item = &KeyEncryptionKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// Wraps a tenant's data key with the newest key.
    ///
    /// # Errors
    /// No random bytes could be had.
    pub fn wrap(
        &self,
        organization: &uuid::Uuid,
        key_id: &uuid::Uuid,
        key: &DataKey,
    ) -> Result<Wrapped, Error> {
        self.seal(
            &[b"tenant key", organization.as_bytes(), key_id.as_bytes()],
            key.bytes(),
        )
    }

    /// Unwraps a tenant's data key.
    ///
    /// # Errors
    /// Its wrapping key is not known, or it belongs to another tenant or was changed.
    pub fn unwrap(
        &self,
        organization: &uuid::Uuid,
        key_id: &uuid::Uuid,
        wrapped: &Wrapped,
    ) -> Result<DataKey, Error> {
        let parts: [&[u8]; 3] = [b"tenant key", organization.as_bytes(), key_id.as_bytes()];
        DataKey::from_secret(&self.open(&parts, wrapped)?)
    }

    /// Encrypts something of the system's own, such as a token key; `label` says what it is.
    ///
    /// # Errors
    /// No random bytes could be had.
    pub fn seal_system(&self, label: &str, plain: &[u8]) -> Result<Wrapped, Error> {
        self.seal(&[b"system", label.as_bytes()], plain)
    }

    /// Decrypts something of the system's own.
    ///
    /// # Errors
    /// Its wrapping key is not known, or the label is another one, or it was changed.
    pub fn open_system(&self, label: &str, wrapped: &Wrapped) -> Result<SecretSlice<u8>, Error> {
        self.open(&[b"system", label.as_bytes()], wrapped)
    }

    fn seal(&self, parts: &[&[u8]], plain: &[u8]) -> Result<Wrapped, Error> {
        let bytes = envelope::seal(&self.newest.key, &context(parts), plain)?;
        Ok(Wrapped {
            bytes,
            wrapped_by: self.newest.id.clone(),
        })
    }

    fn open(&self, parts: &[&[u8]], wrapped: &Wrapped) -> Result<SecretSlice<u8>, Error> {
        let key = self.all().find(|key| key.id == wrapped.wrapped_by);
        let key = key.ok_or_else(|| Error::UnknownKey(wrapped.wrapped_by.clone()))?;
        envelope::open(&key.key, &context(parts), &wrapped.bytes)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use uuid::Uuid;

    use super::*;

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Keyring::create_file(&path).unwrap();
        let keyring = Keyring::from_file(&path).unwrap();
        (folder, keyring)
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (folder, _) = keyring();
        let path = folder.path().join("kek");
        assert!(
            matches!(Keyring::create_file(&path), Err(Error::File { .. })),
            "never overwritten"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Keyring::from_file(&path),
            Err(Error::Permissions { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_line_that_is_no_key_is_named() {
        let (folder, _) = keyring();
        let path = folder.path().join("kek");
        fs::write(&path, "# newest\nabc\n").unwrap();
        assert!(matches!(
            Keyring::from_file(&path),
            Err(Error::Format { line: 2, .. })
        ));
    }

    #[test]
    fn an_older_key_opens_and_the_newest_seals() {
        let (folder, before) = keyring();
        let path = folder.path().join("kek");
        let wrapped = before.seal_system("token key", b"value").unwrap();
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{}\n{old}", "ab".repeat(32))).unwrap();
        let after = Keyring::from_file(&path).unwrap();
        assert_eq!(
            after.open_system("token key", &wrapped).unwrap().expose_secret(),
            b"value"
        );
        assert!(after.open_system("another", &wrapped).is_err());
        let fresh = after.seal_system("token key", b"value").unwrap();
        assert!(matches!(
            before.open_system("token key", &fresh),
            Err(Error::UnknownKey(_))
        ));
    }

    #[test]
    fn a_data_key_belongs_to_one_tenant() {
        let (_folder, keyring) = keyring();
        let (one, other, id) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let key = DataKey::generate().unwrap();
        let wrapped = keyring.wrap(&one, &id, &key).unwrap();
        assert_eq!(keyring.unwrap(&one, &id, &wrapped).unwrap().bytes(), key.bytes());
        assert!(matches!(
            keyring.unwrap(&other, &id, &wrapped),
            Err(Error::CannotOpen)
        ));
        assert!(matches!(
            keyring.unwrap(&one, &other, &wrapped),
            Err(Error::CannotOpen)
        ));
    }

    #[test]
    fn nothing_shows_a_key() {
        let (folder, keyring) = keyring();
        let key = fs::read_to_string(folder.path().join("kek")).unwrap();
        assert!(!format!("{keyring:?}").contains(key.trim()));
        assert_eq!(
            format!("{:?}", DataKey::generate().unwrap()),
            "DataKey([REDACTED])"
        );
    }
}
