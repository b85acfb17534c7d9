//! What there is on the system.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::{
    client::{Api, Error},
    manifest::DEFAULT_PROJECT,
    output::cell,
};

/// A datasource as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actual {
    /// As the API shows it.
    pub(crate) datasource: Value,
    /// The configuration in effect.
    pub(crate) published: Option<Value>,
    /// The number and the configuration of the newest draft, if it is newer than what is in effect.
    pub(crate) draft: Option<(u64, Value)>,
}

impl Actual {
    /// Reads the configurations of a datasource.
    pub(crate) async fn read(api: &Api, datasource: Value) -> Result<Self> {
        let id = cell(&datasource["id"]);
        let config = async |number: &Value| -> Result<Option<Value>> {
            let Some(number) = number.as_u64() else {
                return Ok(None);
            };
            let version = api
                .get(&["datasources", &id, "versions", &number.to_string()], &[])
                .await?;
            Ok(Some(version["config"].clone()))
        };
        let published = config(&datasource["current_version"]).await?;
        let draft = config(&datasource["draft_version"]).await?;
        let draft = datasource["draft_version"].as_u64().zip(draft);
        Ok(Self {
            datasource,
            published,
            draft,
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> String {
        cell(&self.datasource["id"])
    }

    /// Its revision.
    pub(crate) fn revision(&self) -> Option<i64> {
        self.datasource["revision"].as_i64()
    }

    /// The configuration that an export shows: what is in effect, else what is drafted.
    pub(crate) fn config(&self) -> Option<&Value> {
        self.published
            .as_ref()
            .or(self.draft.as_ref().map(|(_, config)| config))
    }

    /// The configuration that a new draft follows.
    pub(crate) fn newest(&self) -> Option<&Value> {
        self.draft
            .as_ref()
            .map(|(_, config)| config)
            .or(self.published.as_ref())
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> Vec<String> {
        let tags = self.datasource["tags"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        tags.iter().map(cell).collect()
    }
}

/// What there is on the system.
#[derive(Debug, Default)]
pub(crate) struct Server {
    datasources: BTreeMap<(String, String), Value>,
    /// Names of projects by id.
    projects: BTreeMap<String, String>,
    /// Schemas of connectors by type.
    schemas: BTreeMap<String, Value>,
}

impl Server {
    /// A system with these projects, by id and name, and nothing in them.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(projects: [(&str, &str); N]) -> Self {
        let owned = |(id, name): (&str, &str)| (id.to_owned(), name.to_owned());
        Self {
            projects: projects.into_iter().map(owned).collect(),
            ..Self::default()
        }
    }

    /// Reads what the caller may see.
    pub(crate) async fn read(api: &Api) -> Result<Self> {
        let datasources = api.all(&["datasources"], &[("sort", "name")]).await?;
        let key = |datasource: &Value| (cell(&datasource["env"]), cell(&datasource["name"]));
        // Who may see one datasource only may not see projects: then none is compared.
        let projects = match api.all(&["projects"], &[]).await {
            Err(error) if is_forbidden(&error) || is_not_found(&error) => Vec::new(),
            projects => projects?,
        };
        let name = |project: &Value| (cell(&project["id"]), cell(&project["name"]));
        Ok(Self {
            datasources: datasources.into_iter().map(|it| (key(&it), it)).collect(),
            projects: projects.iter().map(name).collect(),
            schemas: BTreeMap::new(),
        })
    }

    /// All datasources, by environment and name.
    pub(crate) fn datasources(&self) -> impl Iterator<Item = &Value> {
        self.datasources.values()
    }

    /// The datasource of this environment and name, with its configurations.
    pub(crate) async fn actual(&self, api: &Api, key: (&str, &str)) -> Result<Option<Actual>> {
        let known = self.datasources.get(&(key.0.to_owned(), key.1.to_owned()));
        match known {
            Some(datasource) => Ok(Some(Actual::read(api, datasource.clone()).await?)),
            None => Ok(None),
        }
    }

    /// The id of a project, by its name or id.
    pub(crate) fn project_id(&self, project: &str) -> Option<&str> {
        let mut known = self.projects.iter();
        let found = known.find(|(id, name)| *id == project || *name == project);
        found.map(|(id, _)| id.as_str())
    }

    /// Whether a project can be named: one that there is, or the one that the system takes by itself.
    pub(crate) fn takes_project(&self, project: &str) -> bool {
        self.project_id(project).is_some() || project == DEFAULT_PROJECT && self.projects.is_empty()
    }

    /// The name of a project, by its id.
    pub(crate) fn project_name(&self, id: &str) -> Option<&str> {
        self.projects.get(id).map(String::as_str)
    }

    /// What a document says of a project: its name. Who may see no projects writes none.
    pub(crate) fn project_to_write(&self, id: &str) -> Option<&str> {
        let unseen = self.projects.is_empty().then_some(DEFAULT_PROJECT);
        self.project_name(id).or(unseen)
    }

    /// The schema of a connector's connection; nothing if there is no such connector.
    pub(crate) async fn schema(&mut self, api: &Api, connector: &str) -> Result<Value> {
        if let Some(known) = self.schemas.get(connector) {
            return Ok(known.clone());
        }
        let schema = match api.get(&["connectors", connector], &[]).await {
            Ok(connector) => connector["config_schema"].clone(),
            Err(error) if is_not_found(&error) => Value::Null,
            Err(error) => return Err(error),
        };
        self.schemas.insert(connector.to_owned(), schema.clone());
        Ok(schema)
    }
}

/// Whether the system says that there is no such thing.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Refused(problem)) if problem.status == 404)
}

/// Whether the system says that the caller may not.
pub(crate) fn is_forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Refused(problem)) if problem.status == 403)
}
