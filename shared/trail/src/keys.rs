//! The keys of checkpoints: a file of private keys that only the audit service reads, and the public ones that are
//! trusted.
//!
//! The private file has one key a line, the newest first: 64 hexadecimal digits, the seed of an Ed25519 key. The
//! newest signs; the others only vouch for what came after them. The public file beside it has the public keys in the
//! same form. Empty lines and lines that begin with `#` are skipped in both.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest, rand,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use halcyon_domain::{audit::AuditKey, clock::Timestamp, hex::Hex};
use zeroize::Zeroizing;

/// The bytes of a key.
const KEY: usize = 32;

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than the owner may read the private file.
    #[error("{} may be read by others (mode {mode:o}); it must be 0600", path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is no key.
    #[error("{} line {line}: expected 64 hexadecimal digits", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// There is no key.
    #[error("{} holds no key", .0.display())]
    Empty(PathBuf),
    /// No random bytes could be had.
    #[error("no random bytes could be had")]
    Random,
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// A key of its bytes; nothing if there are not 32.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its identifier: 16 hexadecimal digits of a hash of the key.
    #[must_use]
    pub fn id(&self) -> String {
        let named = [b"halcyon audit key".as_slice(), &self.0].concat();
        let digest = digest::digest(&digest::SHA256, &named);
        Hex(digest.as_ref().iter().take(8).copied().collect()).to_string()
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Hex {
        Hex(self.0.to_vec())
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// Reads a file of public keys.
    ///
    /// # Errors
    /// It cannot be read, a line is no key, or there is none.
    pub fn read_file(path: &Path) -> Result<Vec<Self>, KeyError> {
        let lines = read_lines(path)?;
        Ok(lines.iter().map(|key| Self(**key)).collect())
    }
}

/// A private key.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, [REDACTED])", self.id)
    }
}

impl SigningKey {
    fn new(seed: &[u8; KEY]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = PublicKey::new(pair.public_key().as_ref())?;
        Some(Self {
            id: public.id(),
            pair,
            public,
        })
    }

    /// The public key's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its public part.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// The private keys, the newest first.
#[derive(Debug)]
pub struct SigningKeys {
    newest: SigningKey,
    older: Vec<SigningKey>,
}

impl SigningKeys {
    /// Reads the private file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, a line is no key, or there is none.
    pub fn read_file(path: &Path) -> Result<Self, KeyError> {
        let metadata = fs::metadata(path).map_err(|source| file_error(path, source))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions {
                path: path.to_owned(),
                mode,
            });
        }
        let mut keys = Vec::new();
        for (index, seed) in read_lines(path)?.iter().enumerate() {
            let key = SigningKey::new(seed);
            keys.push(key.ok_or_else(|| KeyError::Format {
                path: path.to_owned(),
                line: index + 1,
            })?);
        }
        let older = keys.split_off(1);
        let newest = keys.pop().ok_or_else(|| KeyError::Empty(path.to_owned()))?;
        Ok(Self { newest, older })
    }

    /// Writes a new private file with one new key (0600), and the public file.
    ///
    /// # Errors
    /// The private file is there already, or a file cannot be written.
    pub fn create_file(path: &Path, public: &Path) -> Result<(), KeyError> {
        let seed = new_seed()?;
        write(path, &[&seed], 0o600, true)?;
        Self::read_file(path)?.write_public(public)
    }

    /// Puts a new key before those of the private file, and writes the public file anew. The audit service signs with
    /// it from its next start on.
    ///
    /// # Errors
    /// The private file cannot be read, or a file cannot be written.
    pub fn rotate_file(path: &Path, public: &Path) -> Result<Self, KeyError> {
        Self::read_file(path)?;
        let (seed, kept) = (new_seed()?, read_lines(path)?);
        let seeds: Vec<&Zeroizing<[u8; KEY]>> = std::iter::once(&seed).chain(&kept).collect();
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        write(&fresh, &seeds, 0o600, true)?;
        fs::rename(&fresh, path).map_err(|source| file_error(path, source))?;
        let keys = Self::read_file(path)?;
        keys.write_public(public)?;
        Ok(keys)
    }

    fn write_public(&self, path: &Path) -> Result<(), KeyError> {
        let keys: Vec<Zeroizing<[u8; KEY]>> = self.all().map(|key| Zeroizing::new(key.public.0)).collect();
        write(path, &keys.iter().collect::<Vec<_>>(), 0o644, false)
    }

    /// The key that signs.
    #[must_use]
    pub const fn newest(&self) -> &SigningKey {
        &self.newest
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// The public keys as they are recorded, each vouched for by the one before it.
    #[must_use]
    pub fn records(&self, now: Timestamp) -> Vec<AuditKey> {
        let older = self.all().skip(1).map(Some).chain([None]);
        let pairs = self.all().zip(older);
        let record = |(key, older): (&SigningKey, Option<&SigningKey>)| AuditKey {
            id: key.id.clone(),
            public_key: key.public.bytes(),
            endorsed_by: older.map(|older| older.id.clone()),
            endorsement: older.map(|older| Hex(older.sign(&endorsement(&key.public.0)))),
            created_at: now,
        };
        pairs.map(record).collect()
    }

    /// The public keys as trusted ones.
    #[must_use]
    pub fn trusted(&self) -> TrustedKeys {
        let pinned: Vec<PublicKey> = self.all().map(SigningKey::public).collect();
        TrustedKeys::new(&pinned, &[])
    }
}

fn endorsement(key: &[u8]) -> Vec<u8> {
    [b"halcyon audit key 1".as_slice(), key].concat()
}

/// The public keys whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: BTreeMap<String, PublicKey>,
    pinned: bool,
}

impl TrustedKeys {
    /// Trusts the `pinned` keys, and those of `known` that a trusted one vouches for. Without any pinned key all that
    /// are known are trusted, which proves nothing against somebody who can write to where they were read from.
    #[must_use]
    pub fn new(pinned: &[PublicKey], known: &[AuditKey]) -> Self {
        let of = |key: &AuditKey| PublicKey::new(&key.public_key.0).filter(|public| public.id() == key.id);
        if pinned.is_empty() {
            let all = known.iter().filter_map(|key| Some((key.id.clone(), of(key)?)));
            return Self {
                keys: all.collect(),
                pinned: false,
            };
        }
        let mut keys: BTreeMap<String, PublicKey> = pinned.iter().map(|key| (key.id(), *key)).collect();
        loop {
            let endorsed = known.iter().find_map(|key| {
                let by = keys.get(key.endorsed_by.as_ref()?)?;
                let new = of(key).filter(|_| !keys.contains_key(&key.id))?;
                let vouches = by.verify(&endorsement(&new.0), &key.endorsement.as_ref()?.0);
                vouches.then_some(new)
            });
            match endorsed {
                Some(key) => keys.insert(key.id(), key),
                None => return Self { keys, pinned: true },
            };
        }
    }

    /// Whether they come from somewhere else than the trail itself.
    #[must_use]
    pub const fn pinned(&self) -> bool {
        self.pinned
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the key of this identifier is trusted and signed the message.
    #[must_use]
    pub fn verify(&self, key: &str, message: &[u8], signature: &[u8]) -> bool {
        self.keys
            .get(key)
            .is_some_and(|key| key.verify(message, signature))
    }
}

fn new_seed() -> Result<Zeroizing<[u8; KEY]>, KeyError> {
    let mut seed = Zeroizing::new([0; KEY]);
    rand::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
    Ok(seed)
}

fn file_error(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        source,
    }
}

fn read_lines(path: &Path) -> Result<Vec<Zeroizing<[u8; KEY]>>, KeyError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| file_error(path, source))?);
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bytes = line.parse::<Hex>().ok().map(|hex| Zeroizing::new(hex.0));
        let key = bytes.and_then(|bytes| <[u8; KEY]>::try_from(bytes.as_slice()).ok());
        keys.push(Zeroizing::new(key.ok_or_else(|| KeyError::Format {
            path: path.to_owned(),
            line: index + 1,
        })?));
    }
    if keys.is_empty() {
        return Err(KeyError::Empty(path.to_owned()));
    }
    Ok(keys)
}

fn write(path: &Path, keys: &[&Zeroizing<[u8; KEY]>], mode: u32, fresh: bool) -> Result<(), KeyError> {
    let mut text = Zeroizing::new(String::new());
    for key in keys {
        for byte in key.iter() {
            text.push_str(&format!("{byte:02x}"));
        }
        text.push('\n');
    }
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .create_new(fresh)
            .truncate(!fresh)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| file_error(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_rotated_and_vouched_for() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
        SigningKeys::create_file(&private, &public).unwrap();
        assert!(SigningKeys::create_file(&private, &public).is_err());
        let first = PublicKey::read_file(&public).unwrap();
        let keys = SigningKeys::rotate_file(&private, &public).unwrap();
        assert_eq!(
            fs::metadata(&private).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(PublicKey::read_file(&public).unwrap().len(), 2);
        let records = keys.records(Timestamp::default());
        let trusted = TrustedKeys::new(&first, &records);
        let signature = keys.newest().sign(b"x");
        assert!(trusted.pinned() && trusted.verify(keys.newest().id(), b"x", &signature));
        assert!(!trusted.verify(keys.newest().id(), b"y", &signature));
        // A key that nobody vouches for is not trusted, whatever the database says.
        let mut forged = records;
        forged[0].endorsement = Some(Hex(vec![0; 64]));
        let trusted = TrustedKeys::new(&first, &forged);
        assert!(!trusted.verify(keys.newest().id(), b"x", &signature));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
        SigningKeys::create_file(&private, &public).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            SigningKeys::read_file(&private),
            Err(KeyError::Permissions { mode: 0o644, .. })
        ));
        assert!(!format!("{:?}", SigningKey::new(&[7; 32])).contains("0707"));
    }
}
