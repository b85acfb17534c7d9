//! The audit trail's proof that it is whole: the hash chain of each organisation, signed checkpoints, and the check
//! of both, in the database or in an exported file.
//!
//! | module | what it is for |
//! |---|---|
//! | [`chain`] | the hash of an entry |
//! | [`keys`] | the key that signs, and the keys that are trusted |
//! | [`checkpoint`] | what is signed |
//! | [`verifier`] | the check, entry by entry |
//! | [`verify`] | the check of what is in the database |
//! | [`export`] | a trail as a file: JSON lines that can be verified elsewhere, or CSV for people |
//! | [`file`] | the check of such a file |

pub mod chain;
pub mod checkpoint;
pub mod export;
pub mod file;
pub mod keys;
pub mod verifier;
pub mod verify;

pub use keys::{KeyError, PublicKey, SigningKeys, TrustedKeys};
pub use verifier::{Report, Verifier};
pub use verify::{Options, Progress, verify};
