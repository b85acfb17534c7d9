//! What can go wrong with keys and ciphertexts. No message carries key material or plaintext.

use std::{io, path::PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read the key file.
    #[error("key file {path} has mode {mode:03o}: it must be readable by its owner only (chmod 600)")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no key, or something else.
    #[error("key file {path}, line {line}: {detail}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// The key that wrapped a data key is not in the key file.
    #[error("the key-encryption key `{0}` is not in the key file")]
    UnknownKey(String),
    /// A ciphertext does not open: another key, another place, or changed bytes.
    #[error("the ciphertext cannot be opened")]
    CannotOpen,
    /// Vault cannot be reached, is sealed or overloaded: it may answer later.
    #[error("vault cannot be used now: {0}")]
    Unavailable(String),
    /// Vault refuses what is asked: a role, a policy or a path is not as it should be.
    #[error("vault refuses: {0}")]
    Denied(String),
    /// Vault has no such value, or another one than was written.
    #[error("vault has no such value")]
    Missing,
    /// What is configured cannot be used.
    #[error("the secrets' settings cannot be used: {0}")]
    Settings(String),
    /// The operating system gave no random bytes, or a value is too long to encrypt.
    #[error("the value cannot be encrypted")]
    CannotSeal,
}

impl Error {
    /// Whether the same thing may work later without any change to what is stored.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Denied(_))
    }
}
