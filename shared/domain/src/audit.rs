//! The audit trail: who did what to what, when, and what it changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    hex::Hex,
    id::{AuditEntryId, OrganizationId},
    lifecycle::states,
};

/// The most bytes of an entry's text. What is longer loses its diff, and then its summary, with a mark.
pub const MAX_ENTRY: usize = 256 * 1024;

/// The most bytes that are kept of a summary that is too long.
const SHORT_SUMMARY: usize = 1_000;

states! {
    /// How an operation ended.
    AuditOutcome {
        /// It took effect.
        Succeeded = "succeeded",
        /// The actor was not allowed to.
        Refused = "refused",
        /// It was allowed and did not work.
        Failed = "failed",
    }
}

states! {
    /// What kind of actor.
    ActorKind {
        /// A person.
        User = "user",
        /// A program that signs in with a token of its own.
        ServiceAccount = "service_account",
        /// A part of the system.
        System = "system",
        /// Somebody who is not known, such as a failed login.
        Anonymous = "anonymous",
    }
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// The user's identifier, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// A name that still reads well when the user is gone.
    pub name: String,
}

/// What was acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// What kind: `datasource`, `version`, `secret`, `session`...
    pub kind: String,
    /// Its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its identifier; an entry that arrives twice counts once.
    pub id: AuditEntryId,
    /// The tenant.
    pub organization: OrganizationId,
    /// When it happened.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What they did, such as `datasource.publish`.
    pub action: String,
    /// To what.
    pub resource: Resource,
    /// The version concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// What changed: a JSON Patch (RFC 6902) from before to after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Value>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The request it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
}

/// An entry as it stands in the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedEntry {
    /// Its number in the organisation's chain, from 1, without gaps.
    pub sequence: i64,
    /// Its hash, which covers all before it.
    pub hash: Hex,
    /// When it was added to the chain.
    pub recorded_at: Timestamp,
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

impl AuditEntry {
    /// The entry with a text of [`MAX_ENTRY`] bytes at most: a larger diff is replaced by
    /// `{"truncated": true, "bytes": n}`, a longer summary is cut.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let size = |entry: &Self| serde_json::to_vec(entry).map_or(0, |text| text.len());
        if size(&self) <= MAX_ENTRY {
            return self;
        }
        if let Some(diff) = self.diff.take() {
            let bytes = diff.to_string().len();
            self.diff = Some(serde_json::json!({"truncated": true, "bytes": bytes}));
        }
        if size(&self) > MAX_ENTRY {
            let texts = [
                self.summary.as_mut(),
                self.resource.name.as_mut(),
                self.resource.id.as_mut(),
            ];
            for text in texts.into_iter().flatten().chain([&mut self.actor.name]) {
                shorten(text);
            }
        }
        self
    }
}

/// Cuts a text that is longer than anybody reads.
fn shorten(text: &mut String) {
    if text.len() > SHORT_SUMMARY {
        let end = text.floor_char_boundary(SHORT_SUMMARY);
        text.truncate(end);
        text.push_str("... (truncated)");
    }
}

states! {
    /// What a checkpoint says.
    CheckpointKind {
        /// The chain reached this place with this hash.
        Head = "head",
        /// The entries up to this place were removed because they were past their time.
        Cut = "cut",
    }
}

/// A signed statement about an organisation's trail. Who keeps it elsewhere can later show that the trail was cut
/// or rewritten, whoever did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditCheckpoint {
    /// The tenant.
    pub organization: OrganizationId,
    /// What it says.
    pub kind: CheckpointKind,
    /// Its number, from 1, without gaps. A cut bears the number of the last checkpoint that went with the entries.
    pub number: i64,
    /// The entry that it is about.
    pub sequence: i64,
    /// That entry's hash.
    pub hash: Hex,
    /// When it was signed.
    pub at: Timestamp,
    /// The key that signed it.
    pub key: String,
    /// The signature (Ed25519).
    pub signature: Hex,
}

/// A public key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditKey {
    /// Its identifier: the beginning of a hash of the key.
    pub id: String,
    /// The key (Ed25519).
    pub public_key: Hex,
    /// The key before it, which vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed_by: Option<String>,
    /// That key's signature of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement: Option<Hex>,
    /// Since when it is in use.
    pub created_at: Timestamp,
}

states! {
    /// In what way a trail is not what was written.
    FaultKind {
        /// An entry's text, hash or a column beside it was changed.
        Changed = "changed",
        /// Entries are missing.
        Deleted = "deleted",
        /// There is an entry that was not written.
        Inserted = "inserted",
        /// Entries are not in the order in which they were written.
        Reordered = "reordered",
        /// Entries were changed and their hashes made anew.
        Rehashed = "rehashed",
        /// The newest entries are missing.
        CutTail = "cut_tail",
        /// A checkpoint's signature does not hold.
        ForgedCheckpoint = "forged_checkpoint",
        /// A checkpoint is missing.
        DeletedCheckpoint = "deleted_checkpoint",
    }
}

/// The first thing that is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The entry at which it is; the first of them if there are several.
    pub sequence: i64,
    /// The last of them, where the fault may lie at any of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<i64>,
    /// What.
    pub kind: FaultKind,
    /// The same for people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            id: AuditEntryId::generate(),
            organization: OrganizationId::generate(),
            at: Timestamp::default(),
            actor: Actor {
                kind: ActorKind::System,
                id: None,
                name: "test".into(),
            },
            action: "datasource.update".into(),
            resource: Resource {
                kind: "datasource".into(),
                id: None,
                name: None,
            },
            version: None,
            outcome: AuditOutcome::Succeeded,
            diff: None,
            summary: Some("a summary".into()),
            request_id: None,
            remote_ip: None,
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_with_a_mark() {
        let small = entry();
        assert_eq!(small.clone().fitted(), small);
        let large = AuditEntry {
            diff: Some(Value::String("x".repeat(MAX_ENTRY))),
            ..small.clone()
        };
        let fitted = large.fitted();
        assert_eq!(fitted.diff.as_ref().unwrap()["truncated"], true);
        assert_eq!(fitted.summary, small.summary);
        let long = AuditEntry {
            summary: Some("\u{e9}".repeat(MAX_ENTRY)),
            ..small
        };
        let fitted = long.fitted();
        assert!(fitted.summary.as_ref().unwrap().ends_with("(truncated)"));
        assert!(serde_json::to_vec(&fitted).unwrap().len() < MAX_ENTRY);
    }
}
