//! The questions that services ask each other, and their answers. Nothing here carries a secret in the clear.

use std::collections::BTreeMap;

use halcyon_domain::{
    audit::Actor,
    clock::Timestamp,
    duration::HumanDuration,
    id::{ActorId, BackfillId, DatasourceId, InstanceId, OrganizationId},
    test_run::{TestJob, TestReport},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Service,
    checkpoint::{Checkpoint, EarlierPosition},
    seal::Sealed,
};

/// A question, by its subject.
pub trait Endpoint: 'static {
    /// The service that answers: `registry` or `testrunner`.
    const SERVICE: &'static str;
    /// The endpoint's name within it.
    const NAME: &'static str;
    /// What is asked.
    type Request: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What is answered.
    type Reply: Serialize + DeserializeOwned + Send + Sync + 'static;
}

macro_rules! endpoints {
    ($($(#[doc = $doc:literal])* $name:ident: $service:literal, $endpoint:literal, $request:ty => $reply:ty;)*) => {
        /// Service, endpoint and description of each question.
        #[cfg(test)]
        pub(crate) const ENDPOINTS: &[(&str, &str, &str)] =
            &[$(($service, $endpoint, concat!($($doc),*))),*];
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl Endpoint for $name {
                const SERVICE: &'static str = $service;
                const NAME: &'static str = $endpoint;
                type Request = $request;
                type Reply = $reply;
            }
        )*
    };
}

endpoints! {
    /// The registry's public key, to seal a written secret for. Each registry has its own: the answer of
    /// `SecretPut` is `unknown_key` (retry) if another one than the addressee got it.
    PublicKey: "registry", "public_key", Empty => RegistryKey;
    /// Writes or rotates a secret.
    SecretPut: "registry", "secret_put", PutSecret => SecretInfo;
    /// Deletes a secret, or all of a datasource's.
    SecretDelete: "registry", "secret_delete", DeleteSecret => Empty;
    /// What is known of a datasource's secrets, values excepted.
    SecretList: "registry", "secret_list", ListSecrets => Vec<SecretInfo>;
    /// A ticket with which a test-runner may open named secrets, once.
    TicketIssue: "registry", "ticket_issue", IssueTicket => Ticket;
    /// Secrets, sealed for the asking process.
    SecretsOpen: "registry", "secrets_open", OpenSecrets => OpenedSecrets;
    /// The keys that access tokens are signed with, sealed for the asking gateway.
    TokenKeys: "registry", "token_keys", GetTokenKeys => SealedTokenKeys;
    /// Makes a new key that access tokens are signed with; those before it verify for as long as is needed.
    TokenKeysRotate: "registry", "token_keys_rotate", RotateTokenKeys => RotatedTokenKeys;
    /// A pull datasource's place in its source, of each of its instances.
    CheckpointRead: "registry", "checkpoint_read", ReadCheckpoint => Vec<CheckpointInfo>;
    /// Moves a stopped pull datasource's place in its source, or clears it.
    CheckpointWrite: "registry", "checkpoint_write", WriteCheckpoint => CheckpointInfo;
    /// A test run.
    RunTest: "testrunner", "run", TestJob => TestReport;
}

/// Nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A registry's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryKey {
    /// The public key to seal for.
    pub public_key: String,
}

/// On whose behalf a service asks: what the audit entry needs. The registry writes the entries of what it
/// changes and opens, in the same transaction; the asking service writes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnBehalf {
    /// Who.
    pub actor: Actor,
    /// The request it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
}

/// A secret to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutSecret {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource that owns it.
    pub datasource: DatasourceId,
    /// Its name.
    pub name: String,
    /// The sender's public key.
    pub from: String,
    /// The registry's public key that the value was sealed for.
    pub to: String,
    /// The value.
    pub value: Sealed,
    /// From when on it is no longer used.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What becomes of the versions before.
    #[serde(default)]
    pub change: SecretChange,
    /// Who asks for it.
    pub by: OnBehalf,
}

/// What a written value does to the versions before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    /// They are destroyed.
    #[default]
    Replace,
    /// What comes in may be signed with them for a while; what goes out takes the new one. There must be one.
    Rotate {
        /// For how long; the registry's default if absent.
        overlap: Option<HumanDuration>,
    },
}

/// A secret, or all of a datasource's, to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSecret {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The name; nothing deletes them all.
    #[serde(default)]
    pub name: Option<String>,
    /// Who asks for it.
    pub by: OnBehalf,
}

/// Whose secrets to list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSecrets {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
}

/// What is known of a secret, its value excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretInfo {
    /// Its name.
    pub name: String,
    /// Its versions that are kept, the newest first; there is one at least.
    pub versions: Vec<SecretVersionInfo>,
}

/// What is known of a secret's version, its value excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersionInfo {
    /// Its number: how often the secret had been written then.
    pub version: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// By whom.
    #[serde(default)]
    pub created_by: Option<ActorId>,
    /// From when on it is no longer used.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// A replaced version: until when it is still accepted.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
    /// When it was last opened for a service.
    #[serde(default)]
    pub last_read_at: Option<Timestamp>,
}

/// Whose place in its source is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCheckpoint {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
}

/// A pull datasource's place in its source, to be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteCheckpoint {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Which of its instances; null as a position clears those of all.
    #[serde(default)]
    pub instance: u16,
    /// The place, as its connector writes it; null begins anew.
    pub position: serde_json::Value,
    /// The revision it is expected at; nothing writes whatever is there.
    #[serde(default)]
    pub revision: Option<u64>,
    /// Who asks for it.
    pub by: OnBehalf,
}

/// A pull datasource's place in its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Which of its instances is there.
    #[serde(default)]
    pub instance: u16,
    /// The place, as its connector writes it; null before the first record.
    pub position: serde_json::Value,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    #[serde(default)]
    pub by: Option<String>,
    /// Changes with each write.
    pub revision: u64,
    /// Where it was before, the oldest first.
    #[serde(default)]
    pub history: Vec<EarlierPosition>,
}

impl CheckpointInfo {
    /// What is told of a checkpoint.
    #[must_use]
    pub fn new(instance: u16, checkpoint: Checkpoint, revision: u64) -> Self {
        Self {
            instance,
            position: checkpoint.position,
            at: checkpoint.at,
            by: checkpoint.by,
            revision,
            history: checkpoint.history,
        }
    }
}

/// A gateway asks for a ticket, for the test-runner that it sends a job to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueTicket {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The secrets' names.
    pub names: Vec<String>,
    /// Who runs the test.
    pub by: OnBehalf,
}

/// A ticket: whoever shows it as a test-runner gets the named secrets, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// What to show.
    pub ticket: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A process asks for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSecrets {
    /// The service of the asking process.
    pub service: Service,
    /// The asking process; its public key stands in the instances bucket.
    pub instance: InstanceId,
    /// The public key to seal for: the same as in the bucket.
    pub public_key: String,
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The secrets' names.
    pub names: Vec<String>,
    /// A test-runner shows the ticket of its job.
    #[serde(default)]
    pub ticket: Option<String>,
    /// The backfill of the datasource that a worker asks for; without one it asks for the datasource's own source.
    #[serde(default)]
    pub backfill: Option<BackfillId>,
}

/// Secrets, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedSecrets {
    /// The registry's public key, to open with.
    pub from: String,
    /// The live versions of each name, the newest first; a name that is not known is missing.
    pub secrets: BTreeMap<String, Vec<SealedSecret>>,
}

/// One version of a secret, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Its version.
    pub version: u32,
    /// The value.
    pub value: Sealed,
    /// From when on it no longer counts.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A gateway asks for the token keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetTokenKeys {
    /// The asking process; its public key stands in the instances bucket.
    pub instance: InstanceId,
    /// The public key to seal for.
    pub public_key: String,
}

/// The keys that access tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTokenKeys {
    /// The registry's public key, to open with.
    pub from: String,
    /// The keys, the one to sign with first.
    pub keys: Vec<SealedTokenKey>,
}

/// A key that access tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTokenKey {
    /// Its identifier (`kid`).
    pub id: String,
    /// The public key (Ed25519, 32 bytes) in base64url without padding: the `x` of its JWK.
    pub public_key: String,
    /// The private key (PKCS #8 DER), sealed; none of a key that only verifies any more.
    #[serde(default)]
    pub private_key: Option<Sealed>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when, or from when on, it signs. Everybody knows a key before anybody signs with it.
    pub signs_from: Timestamp,
}

/// An administrator of the installation asks for a new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateTokenKeys {
    /// The organisation that the administrator acts in: where the audit entry goes.
    pub organization: OrganizationId,
    /// Whether the keys before it are of no use from now on, and so all tokens that they signed: for when one of them
    /// has leaked.
    #[serde(default)]
    pub drop_old: bool,
    /// Who asks for it.
    pub by: OnBehalf,
}

/// The new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotatedTokenKeys {
    /// Its identifier (`kid`).
    pub id: String,
    /// From when on it signs.
    pub signs_from: Timestamp,
}
