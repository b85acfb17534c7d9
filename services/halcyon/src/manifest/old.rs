//! The static file of the old registry: `datasources` (or `connectors`), as a list or by name.
//!
//! docs/config-as-code.md describes it. What has no place here is an error, not left out: a field that was dropped
//! in silence is a feed that does something else from then on.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{DEFAULT_ENV, DEFAULT_PROJECT, Document, Finding, Origin, PlainSecret, fields::Fields};
use crate::yaml::{Entry, Fault, Kind, Node, Place};

/// What the old registry called the connectors, and what they are called now.
const CONNECTORS: &[(&str, &str)] = &[
    ("webhook", "http_webhook"),
    ("http", "http_poller"),
    ("rest", "http_poller"),
    ("rest_poller", "http_poller"),
    ("poller", "http_poller"),
    ("object_storage", "s3"),
    ("s3_batch", "s3"),
    ("sql", "sql_poller"),
    ("database", "sql_poller"),
    ("rabbitmq", "amqp"),
];

/// The parts of a configuration, which may stand in an entry beside its other fields.
const PARTS: [&str; 5] = ["connection", "schedule", "mapping", "runtime", "tests"];

/// Where the API's fields are in an entry that has no `config`.
const MOVED: &[(&str, &str)] = &[
    ("/config/connection", "/connection"),
    ("/config/schedule", "/schedule"),
    ("/config/mapping", "/mapping"),
    ("/config/runtime", "/runtime"),
    ("/config/tests", "/tests"),
    ("/config", ""),
    ("/env", "/environment"),
];

/// Whether a document is the old registry's file.
pub(super) fn is_old(node: &Node) -> bool {
    node.get("kind").is_none() && (node.get("datasources").is_some() || node.get("connectors").is_some())
}

/// Reads the entries.
pub(super) fn read(file: &Arc<str>, node: &Node) -> (Vec<Document>, Vec<Finding>) {
    let mut fields = Fields::new(file, node);
    let entries = fields.any(&["datasources", "connectors"]);
    // What the file says of itself.
    fields.any(&["version"]);
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    let mut read = |entry: &Node, name: Option<&Entry>| match one(file, entry, name) {
        Ok(document) => documents.push(document),
        Err(wrong) => findings.extend(wrong),
    };
    match entries.map(|entries| (&entries.kind, entries)) {
        Some((Kind::List(items), _)) => items.iter().for_each(|item| read(item, None)),
        Some((Kind::Map(entries), _)) => entries.iter().for_each(|entry| read(&entry.value, Some(entry))),
        Some((_, other)) => {
            let message = format!("a list of datasources was expected, and this is {}", other.what());
            fields.wrong(other.place, message);
        }
        None => {}
    }
    findings.extend(fields.finish());
    (documents, findings)
}

fn one(file: &Arc<str>, node: &Node, named: Option<&Entry>) -> Result<Document, Vec<Finding>> {
    let mut fields = Fields::new(file, node);
    let name = match named {
        Some(entry) => fields.text(&["name", "id"]).unwrap_or_else(|| entry.key.clone()),
        None => fields.needed(&["name", "id"]),
    };
    let connector = fields
        .needed(&["type", "connector"])
        .to_lowercase()
        .replace('-', "_");
    let now = CONNECTORS.iter().find(|(old, _)| *old == connector);
    let mut config = fields.mapping("config").map(Node::value);
    let moved = if config.is_some() {
        Vec::new()
    } else {
        MOVED.to_vec()
    };
    for part in PARTS {
        if let Some(found) = fields.any(&[part]) {
            let config = config.get_or_insert_with(|| json!({}));
            let twice = config.get(part).is_some();
            if twice {
                fields.wrong(found.place, format!("`{part}` stands in `config`, too"));
            }
            config[part] = found.value();
        }
    }
    let place = named.map_or(node.place, |entry| entry.place);
    let origin = Origin {
        file: Arc::clone(file),
        node: Node {
            place,
            ..node.clone()
        },
        moved,
    };
    // A feed that was switched off must not begin to run by being moved.
    let enabled = fields.flag("enabled").unwrap_or(true);
    let document = Document {
        origin,
        name,
        env: fields
            .text(&["environment", "env"])
            .unwrap_or_else(|| DEFAULT_ENV.to_owned()),
        connector: now.map_or(connector, |(_, now)| (*now).to_owned()),
        project: fields
            .text(&["project"])
            .unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
        owner: fields.text(&["owner"]).unwrap_or_default(),
        description: fields.text(&["description"]).unwrap_or_default(),
        tags: fields.texts("tags", true),
        published: (!enabled).then_some(false),
        enabled: None,
        state: None,
        config,
        secrets: Vec::new(),
        is_old: true,
    };
    let findings = fields.finish();
    if findings.is_empty() {
        Ok(document)
    } else {
        Err(findings)
    }
}

impl Document {
    /// Takes secrets out of the configuration that stood in the old registry's file in plain: wherever the connector
    /// wants a secret and there is a text, a reference is put in its place. `schema` is the connector's.
    pub(crate) fn take_plain_secrets(&mut self, schema: &Value) {
        let marked = marked(schema);
        let Some(mut config) = self.config.take() else {
            return;
        };
        if let Some(connection) = config.get_mut("connection") {
            self.take(connection, &marked, "/config/connection");
        }
        self.config = Some(config);
    }

    fn take(&mut self, value: &mut Value, marked: &[String], pointer: &str) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let pointer = format!("{pointer}/{}", halcyon_domain::error::escape(name));
                    match field {
                        Value::String(text) if marked.contains(name) => {
                            let secret = self.plain_secret(name, text, &pointer);
                            *field = json!({"$secret": secret.name});
                            self.secrets.push(secret);
                        }
                        other => self.take(other, marked, &pointer),
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.take(item, marked, &format!("{pointer}/{index}"));
                }
            }
            _ => {}
        }
    }

    /// A text is the value itself, or `${NAME}` for an environment variable.
    fn plain_secret(&self, field: &str, text: &str, pointer: &str) -> PlainSecret {
        let taken = |name: &String| self.secrets.iter().any(|secret| secret.name == *name);
        let mut names = (1..).map(|count: u32| match count {
            1 => field.to_owned(),
            more => format!("{field}_{more}"),
        });
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        let variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let (value, message) = match variable {
            Some(variable) => (
                std::env::var(variable).ok().filter(|value| !value.is_empty()),
                format!("`{field}` comes from the variable `{variable}`: secret `{name}`"),
            ),
            None => (
                Some(text.to_owned()),
                format!("`{field}` stands here in plain: secret `{name}`"),
            ),
        };
        PlainSecret {
            name,
            value: value.map(SecretString::from),
            place: self.origin.finding(pointer, message),
        }
    }
}

/// The names of the fields that a connector's schema marks as secrets.
fn marked(schema: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = vec![schema];
    while let Some(part) = rest.pop() {
        match part {
            Value::Object(object) => {
                let properties = object.get("properties").and_then(Value::as_object);
                let secret = |(_, schema): &(&String, &Value)| schema["x-secret"] == true;
                let found = properties.into_iter().flatten().filter(secret);
                names.extend(found.map(|(name, _)| name.clone()));
                rest.extend(object.values());
            }
            Value::Array(parts) => rest.extend(parts),
            _ => {}
        }
    }
    names
}

/// The finding of a document that is of no format.
pub(super) fn unknown(file: &Arc<str>, place: Place) -> Finding {
    let message =
        "`kind: Datasource` is missing, and there are no `datasources` as in the old registry's file";
    Finding::new(file, Fault::new(place, message))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::yaml;

    const FILE: &str = "version: 1
datasources:
  - id: edr alerts
    type: webhook
    environment: staging
    enabled: false
    tags: edr, endpoint
    connection:
      auth: {type: bearer, secret: hunter2}
    mapping:
      outputs: []
  - name: audit
    type: rest-poller
    config:
      connection: {url: https://example.org, auth: {type: bearer, token: \"${HALCYON_TEST_UNSET}\"}}
";

    fn file() -> Vec<Document> {
        let (documents, findings) = read(&Arc::from("old.yaml"), &yaml::read(FILE).unwrap()[0]);
        assert_eq!(findings, []);
        documents
    }

    #[test]
    fn entries_become_documents() {
        let documents = file();
        let edr = &documents[0];
        assert_eq!(edr.key(), ("staging", "edr alerts"));
        assert_eq!(
            (edr.connector.as_str(), edr.published),
            ("http_webhook", Some(false))
        );
        assert_eq!(edr.tags, ["edr", "endpoint"]);
        assert_eq!(edr.config.as_ref().unwrap()["mapping"], json!({"outputs": []}));
        assert_eq!(edr.origin.line(), "old.yaml:3");
        let finding = edr.origin.finding("/config/mapping/outputs", "x");
        assert_eq!(finding.to_string(), "old.yaml:11:7: x");
        assert_eq!(documents[1].connector, "http_poller");
        assert_eq!(documents[1].published, None);
    }

    #[test]
    fn plain_secrets_leave_the_configuration() {
        let schema = json!({"properties": {"auth": {"oneOf": [
            {"properties": {"secret": {"x-secret": true}, "token": {"x-secret": true}}}]}}});
        let mut documents = file();
        for document in &mut documents {
            document.take_plain_secrets(&schema);
        }
        let config = documents[0].config.as_ref().unwrap();
        assert_eq!(
            config["connection"]["auth"]["secret"],
            json!({"$secret": "secret"})
        );
        let secret = &documents[0].secrets[0];
        assert_eq!(secret.value.as_ref().unwrap().expose_secret(), "hunter2");
        assert_eq!(
            secret.place.to_string(),
            "old.yaml:9:36: `secret` stands here in plain: secret `secret`"
        );
        assert!(!format!("{:?}", documents[0].secrets).contains("hunter2"));
        let unset = &documents[1].secrets[0];
        assert!(unset.value.is_none());
        assert_eq!(
            unset.place.message,
            "`token` comes from the variable `HALCYON_TEST_UNSET`: secret `token`"
        );
    }

    #[test]
    fn entries_may_stand_by_name_and_nothing_is_dropped() {
        let text = "connectors:\n  edr:\n    type: webhook\n    retries: 3\n  audit:\n    type: webhook\nplugins: []\n";
        let (documents, findings) = read(&Arc::from("old.yaml"), &yaml::read(text).unwrap()[0]);
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].name, "audit");
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            [
                "old.yaml:4:5: unknown field `retries`",
                "old.yaml:7:1: unknown field `plugins`"
            ]
        );
    }
}
