//! What the API says of things: the shapes of its answers.

use halcyon_bus::requests::SecretInfo;
use halcyon_domain::{
    clock::Timestamp,
    datasource::{Datasource, DatasourceMetrics, DatasourceState},
    id::{ActorId, DatasourceId, OrganizationId, ProjectId, SessionId, VersionId},
    lifecycle::{DatasourceStatus, DesiredState},
    version::{VersionRecord, VersionState},
};
use halcyon_store::Page;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

mod access;

pub use access::{
    HeldRole, Me, NewTokenView, OrganizationView, ProjectView, RoleBindingView, ScopeView,
    ServiceAccountView, TokenView, UserView,
};

/// A page of a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
    /// For each object the cursor of the page that begins after it; GraphQL's edges show them.
    #[serde(skip)]
    pub cursors: Vec<String>,
}

impl<T> List<T> {
    /// A page of the store, each row as the API shows it.
    pub fn of<U>(page: Page<U>, show: impl FnMut(U) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(show).collect(),
            next_cursor: page.next_cursor,
            cursors: page.cursors,
        }
    }

    /// A list that is all on one page.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
            cursors: Vec::new(),
        }
    }
}

/// A datasource.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Datasource")]
pub struct DatasourceView {
    /// Its identifier.
    pub id: DatasourceId,
    /// Its name, unique in the organisation and environment.
    pub name: String,
    /// The connector's type.
    pub r#type: String,
    /// The project it belongs to.
    pub project: Option<ProjectId>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The environment.
    pub env: String,
    /// What it is to its admins.
    pub status: DatasourceStatus,
    /// What it is to do.
    pub desired_state: DesiredState,
    /// The number of the published version.
    pub current_version: Option<u32>,
    /// The number of the newest draft that is newer than the published version.
    pub draft_version: Option<u32>,
    /// Grows with every change that matters to a worker.
    pub generation: i64,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
    /// What a worker reached.
    pub state: DatasourceState,
    /// Its numbers.
    pub metrics: DatasourceMetrics,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who changed it last.
    pub updated_by: Option<ActorId>,
}

impl DatasourceView {
    /// A datasource with its state and numbers.
    #[must_use]
    pub fn new(datasource: Datasource, state: DatasourceState, metrics: DatasourceMetrics) -> Self {
        Self {
            id: datasource.id,
            name: datasource.name,
            r#type: datasource.connector,
            project: datasource.project,
            owner: datasource.owner,
            description: datasource.description,
            tags: datasource.tags,
            env: datasource.env,
            status: datasource.status,
            desired_state: datasource.desired_state,
            current_version: datasource.current_version,
            draft_version: datasource.draft_version,
            generation: datasource.generation,
            revision: datasource.revision,
            state,
            metrics,
            created_at: datasource.created_at,
            created_by: datasource.created_by,
            updated_at: datasource.updated_at,
            updated_by: datasource.updated_by,
        }
    }
}

/// A version of a datasource's configuration.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Version")]
pub struct VersionView {
    /// Its identifier.
    pub id: VersionId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Its number within the datasource, from 1.
    pub number: u32,
    /// Its state.
    pub state: VersionState,
    /// The configuration as it was written. Secrets are references.
    pub config: Value,
    /// Why it was made or published.
    pub comment: Option<String>,
    /// Who made it.
    pub created_by: Option<ActorId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited or changed state.
    pub updated_at: Timestamp,
    /// Who published it.
    pub published_by: Option<ActorId>,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<VersionRecord> for VersionView {
    fn from(version: VersionRecord) -> Self {
        Self {
            id: version.id,
            datasource: version.datasource,
            number: version.number,
            state: version.state,
            config: version.config,
            comment: version.comment,
            created_by: version.created_by,
            created_at: version.created_at,
            updated_at: version.updated_at,
            published_by: version.published_by,
            published_at: version.published_at,
            revision: version.revision,
        }
    }
}

/// What a check of a datasource found that nothing is wrong with.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Validation {
    /// The secrets that its configuration refers to: they must be there before it can be published.
    pub secrets: Vec<String>,
    /// The next times at which it would be fetched, if its connector is read by a schedule; without the jitter, which
    /// is the datasource's own.
    pub next_runs: Vec<Timestamp>,
}

/// What changed between two versions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VersionDiff {
    /// The version to start from.
    pub from: u32,
    /// The version to arrive at.
    pub to: u32,
    /// A JSON Patch (RFC 6902) from the one configuration to the other.
    pub patch: Value,
    /// The same for people, one line for each change.
    pub summary: Vec<String>,
}

/// What is known of a secret. Its value goes in and never comes out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// How often it was written.
    pub version: u32,
    /// When the oldest version that is kept was written.
    pub created_at: Timestamp,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// The age of this version in seconds.
    pub age_seconds: i64,
    /// From when on it is no longer used.
    pub expires_at: Option<Timestamp>,
    /// Its versions that are kept, the newest first: the one in use, and those that a rotation has replaced and that
    /// are still accepted.
    pub versions: Vec<SecretVersionView>,
}

/// What is known of a version of a secret; never its value.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SecretVersionView {
    /// Its number.
    pub version: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Option<ActorId>,
    /// Its age in seconds.
    pub age_seconds: i64,
    /// From when on it is no longer used.
    pub expires_at: Option<Timestamp>,
    /// A replaced version: until when what comes in may still be signed with it.
    pub valid_until: Option<Timestamp>,
    /// When it was last opened for a service, to the minute.
    pub last_read_at: Option<Timestamp>,
}

impl SecretView {
    /// What is known of a secret at `now`; nothing without a version.
    #[must_use]
    pub fn new(secret: SecretInfo, now: Timestamp) -> Option<Self> {
        let age_seconds = |since: Timestamp| (now - since).num_seconds().max(0);
        let versions: Vec<_> = secret
            .versions
            .into_iter()
            .map(|version| SecretVersionView {
                version: version.version,
                created_at: version.created_at,
                created_by: version.created_by,
                age_seconds: age_seconds(version.created_at),
                expires_at: version.expires_at,
                valid_until: version.valid_until,
                last_read_at: version.last_read_at,
            })
            .collect();
        let (newest, oldest) = (versions.first()?, versions.last()?);
        Some(Self {
            name: secret.name,
            version: newest.version,
            created_at: oldest.created_at,
            updated_at: newest.created_at,
            age_seconds: newest.age_seconds,
            expires_at: newest.expires_at,
            versions,
        })
    }
}

/// A login.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Session {
    /// The token to send as `Authorization: Bearer`.
    pub access_token: String,
    /// How to send it: `Bearer`.
    pub token_type: &'static str,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// The session it belongs to.
    pub session: SessionId,
    /// The organisation that the user acts in.
    pub organization: OrganizationId,
    /// What gets the next access token, once; only if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who signed in.
    pub user: UserView,
}

/// A login that has not ended.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SessionInfo")]
pub struct SessionInfo {
    /// Its identifier.
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The organisation that its user acts in.
    pub organization: OrganizationId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last got an access token.
    pub last_seen_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The program that it was last used with, as that program says.
    pub user_agent: Option<String>,
    /// The address that it was last used from.
    pub remote_ip: Option<String>,
}

/// A pull datasource's place in its source.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Checkpoint")]
pub struct CheckpointView {
    /// Of which of the instances in which its source runs; 0 is the first.
    pub instance: u16,
    /// The place, as its connector writes it; null before the first record.
    pub position: Value,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it: a worker, or whoever moved it by hand.
    pub by: Option<String>,
    /// Changes with each write; sent as `ETag`.
    pub revision: u64,
    /// Where it was before, the newest first: at most the last 20 places, those of one worker a minute or more apart.
    pub history: Vec<EarlierPlace>,
    /// The instances that have a place; more than one where the source runs, or ran, in several.
    pub instances: Vec<u16>,
}

/// Where a source was before.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EarlierPlace {
    /// The place, as its connector writes it.
    pub position: Value,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: Option<String>,
}
