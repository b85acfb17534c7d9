//! The file with the key-encryption keys, for whoever sets the system up: only the registry knows what is in it.

use std::path::Path;

use halcyon_secrets::Keyring;

/// Makes a key file with one new key, readable by its owner only.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn create_key_file(path: &Path) -> Result<(), halcyon_secrets::Error> {
    Keyring::create_file(path)
}

/// Checks that a key file can be used.
///
/// # Errors
/// It cannot be read, others than its owner may read it, or a line is no key.
pub fn check_key_file(path: &Path) -> Result<(), halcyon_secrets::Error> {
    Keyring::from_file(path).map(|_| ())
}
