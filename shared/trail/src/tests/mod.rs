//! Edits of a trail are located, whatever they are: in rows given to the verifier, in an exported file, and in the
//! tables of both databases, with their triggers out of the way.

mod edits;
mod files;
mod tables;

use halcyon_domain::{
    audit::{Actor, ActorKind, AuditCheckpoint, AuditEntry, AuditOutcome, CheckpointKind, Resource},
    clock::Timestamp,
    id::{AuditEntryId, OrganizationId},
};
use halcyon_store::AuditLink;

use crate::{SigningKeys, TrustedKeys, chain::hash, checkpoint::Statement};

/// How many entries there are between two checkpoints.
const EVERY: i64 = 17;

/// A trail, and what is needed to forge it.
#[derive(Clone)]
struct Trail {
    organization: OrganizationId,
    entries: Vec<AuditEntry>,
    links: Vec<AuditLink>,
    checkpoints: Vec<AuditCheckpoint>,
}

fn keys() -> SigningKeys {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
    SigningKeys::create_file(&private, &public).unwrap();
    SigningKeys::read_file(&private).unwrap()
}

fn entry(organization: OrganizationId, n: i64) -> AuditEntry {
    AuditEntry {
        id: AuditEntryId::generate(),
        organization,
        at: Timestamp::default(),
        actor: Actor {
            kind: ActorKind::User,
            id: Some(uuid::Uuid::nil()),
            name: format!("ann{n}"),
        },
        action: "datasource.update".into(),
        resource: Resource {
            kind: "datasource".into(),
            id: Some(format!("d{}", n % 7)),
            name: Some("=\"EDR\", the feed".into()),
        },
        version: Some(1),
        outcome: AuditOutcome::Succeeded,
        diff: Some(serde_json::json!([{"op": "replace", "path": "/n", "value": n}])),
        summary: Some(format!("change {n}")),
        request_id: Some(format!("r{n}")),
        remote_ip: None,
    }
}

/// The link of a text at a place.
fn link(organization: OrganizationId, sequence: i64, previous: &[u8], id: AuditEntryId, body: String) -> AuditLink {
    AuditLink {
        organization,
        sequence,
        id,
        prev_hash: previous.to_vec(),
        hash: hash(organization, sequence, previous, &body),
        body,
        recorded_at: Timestamp::default(),
    }
}

impl Trail {
    fn new(length: i64, keys: &SigningKeys) -> Self {
        let organization = OrganizationId::generate();
        let mut trail = Self {
            organization,
            entries: (1..=length).map(|n| entry(organization, n)).collect(),
            links: Vec::new(),
            checkpoints: Vec::new(),
        };
        for (entry, sequence) in trail.entries.iter().zip(1..) {
            let previous = trail.links.last().map_or_else(Vec::new, |last| last.hash.clone());
            let body = serde_json::to_string(entry).unwrap();
            trail.links.push(link(organization, sequence, &previous, entry.id, body));
        }
        for sequence in (1..=length).filter(|n| n % EVERY == 0 || *n == length) {
            trail.checkpoint(sequence, keys);
        }
        trail
    }

    fn checkpoint(&mut self, sequence: i64, keys: &SigningKeys) {
        let statement = Statement {
            organization: self.organization,
            kind: CheckpointKind::Head,
            number: self.checkpoints.len() as i64 + 1,
            sequence,
            hash: self.links[sequence as usize - 1].hash.clone(),
            at: Timestamp::default(),
        };
        self.checkpoints.push(statement.sign(keys));
    }

    /// Numbers the links anew, and nothing else.
    fn renumber(&mut self) {
        for (link, sequence) in self.links.iter_mut().zip(1..) {
            link.sequence = sequence;
        }
    }

    /// Makes the hashes anew from an index on, as somebody would who knows how.
    fn rehash_from(&mut self, from: usize) {
        for index in from..self.links.len() {
            let previous = index.checked_sub(1).map_or_else(Vec::new, |before| self.links[before].hash.clone());
            let old = self.links[index].clone();
            self.links[index] = link(self.organization, index as i64 + 1, &previous, old.id, old.body);
        }
    }

    fn trusted(keys: &SigningKeys) -> TrustedKeys {
        keys.trusted()
    }
}

/// Random numbers that come again: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
