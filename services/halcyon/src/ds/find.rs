//! Finds a datasource by what a person calls it.

use anyhow::Result;
use halcyon_domain::id::DatasourceId;
use serde_json::Value;

use crate::{
    client::{Api, Error},
    output::cell,
};

/// Which datasource.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// The datasource's name or id.
    #[arg(value_name = "DATASOURCE")]
    pub(crate) datasource: String,
    /// Its environment, where several have a datasource of this name.
    #[arg(long, value_name = "ENV")]
    pub(crate) env: Option<String>,
}

impl Which {
    /// The datasource, as the API shows it.
    pub(crate) async fn find(&self, api: &Api) -> Result<Value> {
        find(api, &self.datasource, self.env.as_deref()).await
    }

    /// Its id.
    pub(crate) async fn id(&self, api: &Api) -> Result<String> {
        match self.datasource.parse::<DatasourceId>() {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Ok(cell(&self.find(api).await?["id"])),
        }
    }
}

/// The datasource of this id, or of exactly this name.
pub(crate) async fn find(api: &Api, name: &str, env: Option<&str>) -> Result<Value> {
    if let Ok(id) = name.parse::<DatasourceId>() {
        return api.get(&["datasources", &id.to_string()], &[]).await;
    }
    let mut query = vec![("q", name)];
    query.extend(env.map(|env| ("env", env)));
    let mut found = api.all(&["datasources"], &query).await?;
    found.retain(|datasource| datasource["name"] == name);
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(last), others) => {
            let mut lines: Vec<_> = others.iter().chain([&last]).map(line).collect();
            lines.sort();
            let lines = lines.join("\n  ");
            let text = format!("`{name}` may be any of these; give the id or --env:\n  {lines}");
            Err(Error::Usage(text).into())
        }
        (None, _) => {
            let place = env.map(|env| format!(" in `{env}`")).unwrap_or_default();
            Err(Error::NotFound(format!("there is no datasource `{name}`{place}")).into())
        }
    }
}

fn line(datasource: &Value) -> String {
    format!("{}  {}", cell(&datasource["env"]), cell(&datasource["id"]))
}
