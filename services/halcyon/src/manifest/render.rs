//! A datasource as a document: the same text for the same datasource, on whatever system it is.

use anyhow::Result;
use serde_json::{Value, json};

use super::{DEFAULT_PROJECT, MANAGED_BY};
use crate::{output::cell, yaml};

/// A document and the file that it belongs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The path below the folder: environment and name, in letters that every file system takes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Writes a datasource down. `project` is its project's name; `config` is the published version's, or of the newest
/// draft if none was published yet.
pub(crate) fn render(datasource: &Value, project: Option<&str>, config: Option<&Value>) -> Result<Rendered> {
    let published = !datasource["current_version"].is_null();
    let mut tags: Vec<_> = datasource["tags"].as_array().cloned().unwrap_or_default();
    // Who keeps it is no property of the datasource, and differs between systems.
    tags.retain(|tag| !tag.as_str().unwrap_or_default().starts_with(MANAGED_BY));
    let mut fields = vec![
        ("kind", json!("Datasource")),
        ("name", datasource["name"].clone()),
        ("env", datasource["env"].clone()),
        ("type", datasource["type"].clone()),
    ];
    let project = project
        .map(str::to_owned)
        .or_else(|| datasource["project"].as_str().map(str::to_owned));
    if let Some(project) = project.filter(|project| project != DEFAULT_PROJECT) {
        fields.push(("project", json!(project)));
    }
    for name in ["owner", "description"] {
        if datasource[name].as_str().is_some_and(|text| !text.is_empty()) {
            fields.push((name, datasource[name].clone()));
        }
    }
    if !tags.is_empty() {
        fields.push(("tags", Value::Array(tags)));
    }
    fields.push(("published", json!(published)));
    if published {
        fields.push(("enabled", json!(datasource["status"] != "disabled")));
        fields.push(("state", datasource["desired_state"].clone()));
    }
    if let Some(config) = config {
        fields.push(("config", config.clone()));
    }
    // Field by field: the order is for people.
    let mut text = String::new();
    for (name, value) in fields {
        text.push_str(&yaml::write(&json!({ name: value }))?);
    }
    let (env, name) = (cell(&datasource["env"]), cell(&datasource["name"]));
    Ok(Rendered {
        path: format!("{}/{}.yaml", file_name(&env), file_name(&name)),
        text,
    })
}

/// Letters, digits and `-`: the same name for the same text everywhere. Two texts may have one name.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            name.push(character.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-').to_owned();
    if name.is_empty() {
        "datasource".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manifest::Document;

    #[test]
    fn a_datasource_is_written_in_the_order_that_people_read() {
        let datasource = json!({
            "id": "0", "name": "EDR: alerts/../x", "env": "production", "type": "http_webhook", "project": "p1",
            "owner": "", "description": "first\nsecond\n", "tags": ["edr", "managed-by:halcyon"],
            "current_version": 3, "draft_version": 4, "status": "active", "desired_state": "stopped",
            "revision": 9, "updated_at": "2026-01-02T03:04:05Z",
        });
        let config = json!({"connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}}});
        let rendered = render(&datasource, Some("default"), Some(&config)).unwrap();
        assert_eq!(rendered.path, "production/edr-alerts-x.yaml");
        assert_eq!(
            rendered.text,
            "kind: Datasource
name: \"EDR: alerts/../x\"
env: production
type: http_webhook
description: |
  first
  second
tags:
- edr
published: true
enabled: true
state: stopped
config:
  connection:
    auth:
      secret:
        $secret: token
      type: bearer
"
        );
        let read = yaml::read(&rendered.text).unwrap();
        let document = Document::read(&Arc::from("f"), &read[0]).unwrap();
        assert_eq!(document.config, Some(config));
        assert_eq!(document.description, "first\nsecond\n");
    }

    #[test]
    fn a_file_name_cannot_leave_the_folder() {
        for (text, name) in [
            ("..", "datasource"),
            ("../a", "a"),
            ("A b", "a-b"),
            ("日本", "datasource"),
            ("/", "datasource"),
        ] {
            assert_eq!(file_name(text), name);
        }
    }
}
