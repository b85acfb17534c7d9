//! Identifiers: one type for each kind of thing, so that they cannot be mixed up.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier: UUID version 7 (RFC 9562), so that identifiers sort by creation time.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    OrganizationId
    /// A request that dead letters be processed anew.
    ReplayId
    /// A capture of live records.
    CaptureId
    /// A project of an organisation.
    ProjectId
    /// A person who signs in.
    UserId
    /// A program that signs in with a token of its own.
    ServiceAccountId
    /// A service account's token.
    ServiceAccountTokenId
    /// Whoever made or changed something: a user or a service account.
    ActorId
    /// A role given to a user or service account at a scope.
    RoleBindingId
    /// A login, until it ends.
    SessionId
    /// A configured feed.
    DatasourceId
    /// A version of a datasource's configuration.
    VersionId
    /// A request to publish a draft, and what became of it.
    ApprovalId
    /// A remark on a version.
    CommentId
    /// A saved payload to test a mapping with.
    SampleId
    /// A request to fetch a past range of a feed again.
    BackfillId
    /// A stored secret's version.
    SecretId
    /// A row of a datasource's history.
    DatasourceEventId
    /// A row of the outbox.
    OutboxId
    /// An entry of the audit trail.
    AuditEntryId
    /// An alert, entity or relationship.
    ObjectId
    /// A worker process.
    WorkerId
    /// A running process of any service.
    InstanceId
}

/// The namespace of every name-based identifier (UUID version 5) of this system.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a0c_4f0e_3b1d_4c58_9d3e_5a7e_11c9_0d42);

/// A name-based identifier of `parts`. Each part is prefixed with its length, so that no two lists of parts
/// give the same name.
#[must_use]
pub fn name_based(parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(name_based(&["ab", "c"]), name_based(&["a", "bc"]));
        assert_eq!(name_based(&["a", "b"]), name_based(&["a", "b"]));
    }

    #[test]
    fn an_identifier_reads_back_what_it_prints() {
        let id = DatasourceId::generate();
        assert_eq!(id.to_string().parse::<DatasourceId>().unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
}
