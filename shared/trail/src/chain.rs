//! The hash chain: each entry's hash covers its text, its place and the hash before it, so that no entry can be
//! changed, removed, added or moved without every later hash being wrong.
//!
//! `hash(n) = SHA-256("halcyon audit 1" || organisation || n || hash(n - 1) || body(n))`, where the organisation is
//! its 16 bytes, `n` is eight bytes big-endian, `hash(0)` is empty, and the body is the entry's JSON text exactly
//! as it is stored.

use aws_lc_rs::digest::{Context, SHA256};
use halcyon_domain::id::OrganizationId;

/// The hash of entry `sequence` of an organisation's trail.
#[must_use]
pub fn hash(organization: OrganizationId, sequence: i64, previous: &[u8], body: &str) -> Vec<u8> {
    let mut hasher = Context::new(&SHA256);
    hasher.update(b"halcyon audit 1");
    hasher.update(organization.0.as_bytes());
    hasher.update(&sequence.to_be_bytes());
    hasher.update(previous);
    hasher.update(body.as_bytes());
    hasher.finish().as_ref().to_vec()
}
