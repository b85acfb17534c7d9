//! Envelope encryption of secrets.
//!
//! A value is encrypted with its tenant's data key, and the data key is wrapped by a key-encryption key that is
//! never in the database. Every ciphertext is bound (as additional authenticated data) to what it is for: a value
//! to organisation, datasource, name and version; a data key to its organisation and identifier. One that is moved
//! to another row, tenant or name does not open.
//!
//! All encryption is AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce.

//!
//! | module | what it is for |
//! |---|---|
//! | `keyring`, `key_file` | the key-encryption keys of a file, and the file itself |
//! | `keys` | what wraps the data keys: the file's keys, or a key of Vault's transit engine |
//! | [`vault`] | values in Vault (KV version 2) instead of the database, and key wrapping |

mod envelope;
mod error;
mod key_file;
mod keyring;
mod keys;
mod tenant;
mod token_key;
pub mod vault;

pub use error::Error;
pub use key_file::KeyFile;
pub use keyring::{Keyring, Wrapped};
pub use keys::{Keys, Wrapping};
pub use secrecy::{ExposeSecret, SecretSlice, SecretString};
pub use tenant::{DataKey, SecretContext};
pub use token_key::TokenKey;
