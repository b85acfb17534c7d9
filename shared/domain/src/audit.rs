//! The audit trail: who did what to what, when, and what it changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{AuditEntryId, OrganizationId},
    lifecycle::states,
};

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
