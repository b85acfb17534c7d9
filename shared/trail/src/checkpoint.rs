//! What is signed: the place and hash that a trail has reached, and the place up to which it was removed.
//!
//! The signature (Ed25519) is of `"halcyon audit checkpoint 1" || organisation || kind || number || sequence || time ||
//! hash`, where the organisation is its 16 bytes, the kind one byte (1 head, 2 cut), the numbers and the time
//! (microseconds since 1970) eight bytes big-endian each.

use halcyon_domain::{
    audit::{AuditCheckpoint, CheckpointKind},
    clock::{Timestamp, truncate},
    hex::Hex,
    id::OrganizationId,
};

use crate::keys::{SigningKeys, TrustedKeys};

/// A checkpoint that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The tenant.
    pub organization: OrganizationId,
    /// What it says.
    pub kind: CheckpointKind,
    /// Its number.
    pub number: i64,
    /// The entry that it is about.
    pub sequence: i64,
    /// That entry's hash.
    pub hash: Vec<u8>,
    /// When it is signed.
    pub at: Timestamp,
}

impl Statement {
    /// The checkpoint with its signature.
    #[must_use]
    pub fn sign(self, keys: &SigningKeys) -> AuditCheckpoint {
        let at = truncate(self.at);
        let mut checkpoint = AuditCheckpoint {
            organization: self.organization,
            kind: self.kind,
            number: self.number,
            sequence: self.sequence,
            hash: Hex(self.hash),
            at,
            key: keys.newest().id().to_owned(),
            signature: Hex::default(),
        };
        checkpoint.signature = Hex(keys.newest().sign(&message(&checkpoint)));
        checkpoint
    }
}

/// Whether a trusted key signed the checkpoint.
#[must_use]
pub fn holds(checkpoint: &AuditCheckpoint, keys: &TrustedKeys) -> bool {
    keys.verify(&checkpoint.key, &message(checkpoint), &checkpoint.signature.0)
}

fn message(checkpoint: &AuditCheckpoint) -> Vec<u8> {
    let kind: u8 = match checkpoint.kind {
        CheckpointKind::Head => 1,
        CheckpointKind::Cut => 2,
    };
    let mut message = b"halcyon audit checkpoint 1".to_vec();
    message.extend(checkpoint.organization.0.as_bytes());
    message.push(kind);
    message.extend(checkpoint.number.to_be_bytes());
    message.extend(checkpoint.sequence.to_be_bytes());
    message.extend(checkpoint.at.timestamp_micros().to_be_bytes());
    message.extend(&checkpoint.hash.0);
    message
}
