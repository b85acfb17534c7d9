//! What is asked of many datasources at once.

use halcyon_domain::{
    id::{DatasourceId, ProjectId},
    lifecycle::DatasourceStatus,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, ListDatasources, Operation, Result, access::Action, datasource_input::check_comment};

/// The most datasources of one request.
pub(crate) const MAX_BULK: usize = 1_000;

/// What to do to each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Process events.
    Start,
    /// Accept events and process none.
    Stop,
    /// Begin anew.
    Restart,
    /// Read the configuration again.
    Reload,
    /// Take events again.
    Enable,
    /// Take no events.
    Disable,
    /// Delete it and destroy its secrets.
    Delete,
    /// Publish the newest draft.
    Publish,
    /// Change tags, owner or project.
    Update,
}

impl BulkAction {
    /// The operation, where it is one.
    pub(crate) const fn operation(self) -> Option<Operation> {
        match self {
            Self::Start => Some(Operation::Start),
            Self::Stop => Some(Operation::Stop),
            Self::Restart => Some(Operation::Restart),
            Self::Reload => Some(Operation::Reload),
            Self::Enable => Some(Operation::Enable),
            Self::Disable => Some(Operation::Disable),
            Self::Delete | Self::Publish | Self::Update => None,
        }
    }

    pub(crate) const fn action(self) -> Action {
        match (self.operation(), self) {
            (Some(operation), _) => operation.action(),
            (None, Self::Delete) => Action::DELETE,
            (None, Self::Publish) => Action::PUBLISH,
            (None, _) => Action::UPDATE,
        }
    }

    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Delete => "delete",
            Self::Publish => "publish",
            Self::Update => "change",
        }
    }
}

/// Which datasources: those of the list with the same conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BulkFilter {
    /// Those of this status.
    pub status: Option<DatasourceStatus>,
    /// Those of this connector.
    pub r#type: Option<String>,
    /// Those that this owner answers for.
    pub owner: Option<String>,
    /// Those that have this tag.
    pub tag: Option<String>,
    /// Those of this project.
    pub project: Option<ProjectId>,
    /// Those of this environment.
    pub env: Option<String>,
    /// Those with this text in their name or description.
    pub q: Option<String>,
}

impl From<BulkFilter> for ListDatasources {
    fn from(filter: BulkFilter) -> Self {
        Self {
            status: filter.status,
            r#type: filter.r#type,
            owner: filter.owner,
            tag: filter.tag,
            project: filter.project,
            env: filter.env,
            q: filter.q,
            limit: Some(halcyon_store::MAX_LIMIT),
            cursor: None,
            sort: Some("created_at".to_owned()),
        }
    }
}

/// What to change of each of them; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BulkChange {
    /// Words to be found by, too.
    pub add_tags: Option<Vec<String>>,
    /// Words to be found by no more.
    pub remove_tags: Option<Vec<String>>,
    /// Who answers for them.
    pub owner: Option<String>,
    /// The project to move them to.
    pub project: Option<ProjectId>,
}

/// One action on many datasources. Exactly one of `ids` and `filter` says which.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunBulk {
    /// What to do to each of them.
    pub action: BulkAction,
    /// These datasources, at most 1,000.
    #[serde(default)]
    pub ids: Option<Vec<DatasourceId>>,
    /// Those that fit, of the ones that the caller may see; at most 1,000, and with at least one condition.
    #[serde(default)]
    pub filter: Option<BulkFilter>,
    /// What to change, for `update`.
    #[serde(default)]
    pub change: Option<BulkChange>,
    /// Why, for `publish`.
    #[serde(default)]
    pub comment: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

impl RunBulk {
    /// Checks what can be checked before any datasource is looked at.
    pub(crate) fn check(&self) -> Result<()> {
        match (&self.ids, &self.filter) {
            (Some(_), Some(_)) | (None, None) => {
                return Err(Error::field("/ids", "ambiguous", "give either `ids` or `filter`"));
            }
            (Some(ids), None) if ids.is_empty() => {
                return Err(Error::field("/ids", "required", "name at least one datasource"));
            }
            (Some(ids), None) if ids.len() > MAX_BULK => return Err(too_many("/ids")),
            (None, Some(filter)) if *filter == BulkFilter::default() => {
                return Err(Error::field("/filter", "required", "name at least one condition"));
            }
            _ => {}
        }
        let changes = self
            .change
            .as_ref()
            .is_some_and(|change| *change != BulkChange::default());
        match (self.action, changes) {
            (BulkAction::Update, false) => {
                return Err(Error::field("/change", "required", "say what to change"));
            }
            (BulkAction::Update, true) => {}
            _ if self.change.is_some() => {
                return Err(Error::field(
                    "/change",
                    "not_needed",
                    "only `update` changes fields",
                ));
            }
            _ => {}
        }
        if self.comment.is_some() && self.action != BulkAction::Publish {
            return Err(Error::field("/comment", "not_needed", "only `publish` takes one"));
        }
        Ok(check_comment(self.comment.as_deref())?)
    }
}

pub(crate) fn too_many(pointer: &str) -> Error {
    let detail = "at most 1,000 datasources at a time";
    Error::field(pointer, "too_many", detail)
}
