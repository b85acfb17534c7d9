//! A document: what a datasource is to be.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{DEFAULT_ENV, DEFAULT_PROJECT, Finding, Origin, fields::Fields};
use crate::yaml::Node;

/// What a published datasource is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Process events.
    Running,
    /// Accept events and process none.
    Stopped,
}

impl RunState {
    /// The API's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A secret that stood in the old registry's file.
#[derive(Clone, Debug)]
pub(crate) struct PlainSecret {
    /// The name that the configuration refers to it by.
    pub(crate) name: String,
    /// Its value; nothing if it was to come from an environment variable that is not set.
    pub(crate) value: Option<SecretString>,
    /// What is told if it is not moved.
    pub(crate) place: Finding,
}

/// What a datasource is to be.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Where it stands.
    pub(crate) origin: Origin,
    pub(crate) name: String,
    pub(crate) env: String,
    pub(crate) connector: String,
    /// The project's name or id.
    pub(crate) project: String,
    pub(crate) owner: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    /// Whether the configuration is to be in effect; if it says nothing, that is for the command to say.
    pub(crate) published: Option<bool>,
    /// Whether it is to take events; as it is if it says nothing.
    pub(crate) enabled: Option<bool>,
    /// What it is to do; as it is if it says nothing.
    pub(crate) state: Option<RunState>,
    /// The configuration; as it is if it says nothing.
    pub(crate) config: Option<Value>,
    /// Secrets that stood in the old registry's file.
    pub(crate) secrets: Vec<PlainSecret>,
    /// Whether it comes from the old registry's file.
    pub(crate) is_old: bool,
}

impl Document {
    /// Reads a document of `kind: Datasource`.
    pub(super) fn read(file: &Arc<str>, node: &Node) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::new(file, node);
        if fields.needed(&["kind"]) != "Datasource"
            && let Some(kind) = node.get("kind")
        {
            fields.wrong(kind.place, "the only kind that there is is `Datasource`");
        }
        let origin = Origin {
            file: Arc::clone(file),
            node: node.clone(),
            moved: Vec::new(),
        };
        let state = fields.text(&["state"]).and_then(|word| {
            let state = [RunState::Running, RunState::Stopped]
                .into_iter()
                .find(|state| state.word() == word);
            if state.is_none() {
                let place = node.place_of("/state");
                fields.wrong(place, "`state` is to be `running` or `stopped`");
            }
            state
        });
        let document = Self {
            origin,
            name: fields.needed(&["name"]),
            env: fields.text(&["env"]).unwrap_or_else(|| DEFAULT_ENV.to_owned()),
            connector: fields.needed(&["type"]),
            project: fields
                .text(&["project"])
                .unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
            owner: fields.text(&["owner"]).unwrap_or_default(),
            description: fields.text(&["description"]).unwrap_or_default(),
            tags: fields.texts("tags", false),
            published: fields.flag("published"),
            enabled: fields.flag("enabled"),
            state,
            config: fields.mapping("config").map(Node::value),
            secrets: Vec::new(),
            is_old: false,
        };
        let findings = fields.finish();
        if findings.is_empty() {
            Ok(document)
        } else {
            Err(findings)
        }
    }

    /// What makes it the one that it is.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.env, &self.name)
    }

    /// The metadata as the API takes it. `project` is the project's id, if it is known.
    pub(crate) fn metadata(&self, project: Option<&str>) -> Value {
        let mut body = json!({
            "name": self.name, "env": self.env, "type": self.connector,
            "owner": self.owner, "description": self.description, "tags": self.tags,
        });
        if let (Some(project), Some(body)) = (project, body.as_object_mut()) {
            body.insert("project".to_owned(), json!(project));
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::read;

    fn wrong(text: &str) -> Vec<String> {
        let file = Arc::from("feeds/edr.yaml");
        let findings = Document::read(&file, &read(text).unwrap()[0]).unwrap_err();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_document_is_read() {
        let text = "kind: Datasource\nname: edr\ntype: http_webhook\ntags: [a]\nstate: stopped\nconfig: {connection: {}}\n";
        let document = Document::read(&Arc::from("f"), &read(text).unwrap()[0]).unwrap();
        assert_eq!(document.key(), ("production", "edr"));
        assert_eq!(document.state, Some(RunState::Stopped));
        assert_eq!((document.published, document.enabled), (None, None));
        assert_eq!(document.config, Some(json!({"connection": {}})));
    }

    #[test]
    fn every_error_has_its_line() {
        let text = "kind: Datasource\nname: 7\ntags: edr\nstate: asleep\npublished: yes\ndescripton: x\nconfig: []\n";
        assert_eq!(
            wrong(text),
            [
                "feeds/edr.yaml:1:1: `type` is missing",
                "feeds/edr.yaml:2:7: `name` is to be a text, and this is a number",
                "feeds/edr.yaml:3:7: `tags` is to be a list, and this is a text",
                "feeds/edr.yaml:4:8: `state` is to be `running` or `stopped`",
                "feeds/edr.yaml:5:12: `published` is to be `true` or `false`, and this is a text",
                "feeds/edr.yaml:6:1: unknown field `descripton`; is `description` meant?",
                "feeds/edr.yaml:7:9: `config` is to be a mapping, and this is a list",
            ]
        );
        assert_eq!(
            wrong("kind: Pipeline\nname: a\ntype: b\n"),
            ["feeds/edr.yaml:1:7: the only kind that there is is `Datasource`"]
        );
        assert_eq!(
            wrong("- a\n"),
            ["feeds/edr.yaml:1:1: a mapping was expected, and this is a list"]
        );
    }
}
