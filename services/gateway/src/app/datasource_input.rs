//! What is given of datasources, and what must hold of it.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    datasource::{Datasource, check_name, check_tags},
    error::InputError,
    id::ProjectId,
    lifecycle::DatasourceStatus,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Error, Result, paged, validation};

paged! {
    /// Which datasources to list.
    ListDatasources {
        /// Those of this status.
        status: Option<DatasourceStatus>,
        /// Those of this connector.
        r#type: Option<String>,
        /// Those that this owner answers for.
        owner: Option<String>,
        /// Those that have this tag.
        tag: Option<String>,
        /// Those of this project.
        project: Option<ProjectId>,
        /// Those of this environment.
        env: Option<String>,
        /// Those with this text in their name or description.
        q: Option<String>,
    }
}

/// A datasource to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDatasource {
    /// Its name, unique in the organisation and environment.
    pub name: String,
    /// The connector's type, such as `http_webhook`.
    pub r#type: String,
    /// The project; the organisation's project `default` if absent.
    #[serde(default)]
    pub project: Option<ProjectId>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The environment; `production` if absent.
    #[serde(default)]
    pub env: Option<String>,
    /// The configuration of draft version 1.
    #[serde(default)]
    pub config: Option<Value>,
    /// Why the draft is made.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What to change of a datasource; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateDatasource {
    /// Its name.
    pub name: Option<String>,
    /// The connector's type, which cannot change: to be left out, or as it is.
    pub r#type: Option<String>,
    /// The project.
    pub project: Option<ProjectId>,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The environment.
    pub env: Option<String>,
    /// A configuration: replaces that of the newest draft, or makes a draft.
    pub config: Option<Value>,
    /// Why the draft is made or changed.
    pub comment: Option<String>,
}

/// How to name a copy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneDatasource {
    /// The copy's name.
    pub name: String,
    /// The copy's environment; the same if absent.
    #[serde(default)]
    pub env: Option<String>,
}

pub(super) fn unknown_connector(name: &str) -> InputError {
    InputError::new(
        "/type",
        "unknown_value",
        format!("there is no connector `{name}`"),
    )
}

pub(super) fn check_update(known: &Datasource, input: &UpdateDatasource) -> Result<()> {
    let mut errors = Vec::new();
    errors.extend(input.name.as_deref().and_then(|name| check_name(name).err()));
    errors.extend(input.tags.as_deref().and_then(|tags| check_tags(tags).err()));
    errors.extend(input.env.as_deref().and_then(|env| check_word(env, "/env").err()));
    errors.extend(check_text(input.owner.as_deref(), "/owner", 200).err());
    errors.extend(check_text(input.description.as_deref(), "/description", 4_000).err());
    errors.extend(check_comment(input.comment.as_deref()).err());
    if input
        .r#type
        .as_ref()
        .is_some_and(|connector| *connector != known.connector)
    {
        let detail = "the connector of a datasource cannot change; make another datasource";
        errors.push(InputError::new("/type", "immutable", detail));
    } else if let (Some(config), Some(connector)) = (&input.config, find_connector(&known.connector)) {
        errors.extend(validation::draft(connector, config));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}

pub(super) fn merge(datasource: &mut Datasource, input: &UpdateDatasource, project: Option<ProjectId>) {
    datasource.project = project;
    if let Some(name) = &input.name {
        datasource.name.clone_from(name);
    }
    if let Some(tags) = &input.tags {
        datasource.tags.clone_from(tags);
    }
    if let Some(env) = &input.env {
        datasource.env.clone_from(env);
    }
    if input.owner.is_some() {
        datasource.owner.clone_from(&input.owner);
    }
    if input.description.is_some() {
        datasource.description.clone_from(&input.description);
    }
}

/// The longest comment, in characters.
const MAX_COMMENT: usize = 2_000;

/// Checks a comment.
pub(super) fn check_comment(comment: Option<&str>) -> std::result::Result<(), InputError> {
    check_text(comment, "/comment", MAX_COMMENT)
}

pub(super) fn check_word(word: &str, pointer: &str) -> std::result::Result<(), InputError> {
    let fits = (1..=64).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let detail = "1 to 64 letters, digits, `-`, `_` and `.`";
    if fits {
        Ok(())
    } else {
        Err(InputError::new(pointer, "invalid", detail))
    }
}

pub(super) fn check_text(
    text: Option<&str>,
    pointer: &str,
    most: usize,
) -> std::result::Result<(), InputError> {
    let fits = text.is_none_or(|text| text.chars().count() <= most && !text.contains('\0'));
    let detail = format!("at most {most} characters, none of them NUL");
    if fits {
        Ok(())
    } else {
        Err(InputError::new(pointer, "invalid", detail))
    }
}

/// Checks the name and the description of what has both.
pub(super) fn check_named(name: Option<&str>, description: Option<&str>) -> Result<()> {
    let errors: Vec<InputError> = name
        .and_then(|name| check_name(name).err())
        .into_iter()
        .chain(check_text(description, "/description", 4_000).err())
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}
