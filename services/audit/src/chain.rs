//! The hash chain of the audit trail: each entry's hash covers its text, its place and the hash before it, so
//! that no entry can be changed, removed, added or moved without every later hash being wrong.
//!
//! `hash(n) = SHA-256("halcyon audit 1" || organisation || n || hash(n - 1) || body(n))`, where the organisation is
//! its 16 bytes, `n` is eight bytes big-endian, `hash(0)` is empty, and the body is the entry's JSON text exactly
//! as it is stored.

use halcyon_domain::id::OrganizationId;
use halcyon_store::AuditLink;
use sha2::{Digest, Sha256};

/// The hash of entry `sequence` of an organisation's trail.
#[must_use]
pub fn hash(organization: OrganizationId, sequence: i64, previous: &[u8], body: &str) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(b"halcyon audit 1");
    hasher.update(organization.0.as_bytes());
    hasher.update(sequence.to_be_bytes());
    hasher.update(previous);
    hasher.update(body.as_bytes());
    hasher.finalize().to_vec()
}

/// What is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is missing, or there are two.
    #[error("entry {expected} is missing: {found} follows")]
    Gap {
        /// The place that should come next.
        expected: i64,
        /// The place that does.
        found: i64,
    },
    /// An entry does not continue from the one before it.
    #[error("entry {0} does not continue from the entry before it")]
    Detached(i64),
    /// An entry's text or hash was changed.
    #[error("entry {0} was changed")]
    Changed(i64),
}

/// Checks a trail in order, entry by entry.
#[derive(Clone, Debug)]
pub struct Verifier {
    organization: OrganizationId,
    sequence: i64,
    previous: Vec<u8>,
}

impl Verifier {
    /// A check that begins with the first entry.
    #[must_use]
    pub const fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            sequence: 0,
            previous: Vec::new(),
        }
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&mut self, link: &AuditLink) -> Result<(), Broken> {
        let expected = self.sequence + 1;
        if link.sequence != expected {
            return Err(Broken::Gap {
                expected,
                found: link.sequence,
            });
        }
        if link.prev_hash != self.previous {
            return Err(Broken::Detached(expected));
        }
        let hash = hash(self.organization, expected, &self.previous, &link.body);
        if link.hash != hash {
            return Err(Broken::Changed(expected));
        }
        self.sequence = expected;
        self.previous = hash;
        Ok(())
    }

    /// How many entries were checked.
    #[must_use]
    pub const fn checked(&self) -> i64 {
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::id::AuditEntryId;

    use super::*;

    fn trail(organization: OrganizationId, length: i64) -> Vec<AuditLink> {
        let mut previous = Vec::new();
        (1..=length)
            .map(|sequence| {
                let body = format!("{{\"n\":{sequence}}}");
                let hash = hash(organization, sequence, &previous, &body);
                let prev_hash = std::mem::replace(&mut previous, hash.clone());
                AuditLink {
                    organization,
                    sequence,
                    id: AuditEntryId::generate(),
                    prev_hash,
                    hash,
                    body,
                }
            })
            .collect()
    }

    fn verify(organization: OrganizationId, links: &[AuditLink]) -> Result<(), Broken> {
        let mut verifier = Verifier::new(organization);
        links.iter().try_for_each(|link| verifier.check(link))
    }

    #[test]
    fn every_kind_of_edit_is_located() {
        let organization = OrganizationId::generate();
        let good = trail(organization, 20);
        assert_eq!(verify(organization, &good), Ok(()));
        for place in 0..20 {
            let sequence = i64::try_from(place).unwrap() + 1;
            let mut changed = good.clone();
            changed[place].body.push(' ');
            assert_eq!(verify(organization, &changed), Err(Broken::Changed(sequence)));
            let mut forged = good.clone();
            forged[place].hash[7] ^= 1;
            assert_eq!(verify(organization, &forged), Err(Broken::Changed(sequence)));
            let mut moved = good.clone();
            moved[place].prev_hash.push(1);
            assert_eq!(verify(organization, &moved), Err(Broken::Detached(sequence)));
            if place < 19 {
                let mut removed = good.clone();
                removed.remove(place);
                let gap = Broken::Gap {
                    expected: sequence,
                    found: sequence + 1,
                };
                assert_eq!(verify(organization, &removed), Err(gap));
            }
        }
    }

    #[test]
    fn a_trail_cannot_be_passed_off_as_another_organisations() {
        let good = trail(OrganizationId::generate(), 3);
        assert_eq!(verify(OrganizationId::generate(), &good), Err(Broken::Changed(1)));
    }
}
