//! The JSON Schema of the settings, and the page that shows it to people.

use halcyon_infra::settings::PREFIX;
use halcyon_tests::reference::{check, code, codes, page, table};
use serde_json::Value;

use crate::settings::Settings;

const SCHEMA: &str = "config.schema.json";

fn schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

/// The page's rows, from the schema with the definitions that it refers to.
struct Rows<'a> {
    root: &'a Value,
    rows: Vec<Vec<String>>,
}

impl<'a> Rows<'a> {
    /// What the schema refers to; itself if it does not.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let schema = given(schema);
        let reference = schema["$ref"].as_str();
        let place = reference.and_then(|it| self.root.pointer(it.trim_start_matches('#')));
        place.unwrap_or(schema)
    }

    /// The rows of a setting, or of all within it.
    ///
    /// `default` is what stands if nothing is said: what the setting around it says of it, or it itself.
    fn add(&mut self, key: &str, field: &'a Value, default: Option<&'a Value>) {
        let target = self.resolve(field);
        if let Some(fields) = target["properties"].as_object() {
            for (name, field) in fields {
                let outer = default.and_then(|all| all.get(name));
                self.add(&format!("{key}.{name}"), field, outer.or(field.get("default")));
            }
            return;
        }
        let map = target["additionalProperties"].is_object();
        let key = if map {
            format!("{key}.<name>")
        } else {
            key.to_owned()
        };
        self.rows.push(vec![
            code(&key),
            self.kind(field),
            written(default),
            word(&field["description"]),
            code(&variable(&key)),
        ]);
    }

    fn kind(&self, field: &'a Value) -> String {
        let target = self.resolve(field);
        if target["additionalProperties"].is_object() {
            return self.kind(&target["additionalProperties"]);
        }
        if let Some(values) = target["oneOf"].as_array() {
            return codes(values.iter().filter_map(|value| value["const"].as_str()));
        }
        let name = match (given(field)["$ref"].as_str(), &target["type"]) {
            // A definition that is one value is a type with a name of its own: a duration.
            (Some(reference), Value::String(_)) => {
                reference.rsplit('/').next().unwrap_or_default().to_lowercase()
            }
            (None, Value::String(name)) => name.clone(),
            (_, Value::Array(names)) => names.iter().map(word).filter(|name| name != "null").collect(),
            other => panic!("the page has no words for {other:?}"),
        };
        match field["x-secret"].as_bool() {
            Some(true) => format!("{name}, may hold a secret"),
            _ => name,
        }
    }
}

/// The schema of what is said, where nothing may be said.
fn given(schema: &Value) -> &Value {
    let kinds = schema["anyOf"].as_array();
    let said = kinds.and_then(|kinds| kinds.iter().find(|kind| kind["type"] != "null"));
    said.unwrap_or(schema)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The default as it is written in TOML; nothing where there is none.
fn written(default: Option<&Value>) -> String {
    match default {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(map)) if map.is_empty() => String::new(),
        Some(value) => code(&value.to_string()),
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

#[test]
fn the_settings_schema_reference_is_up_to_date() {
    check(SCHEMA, &serde_json::to_string_pretty(&schema()).unwrap());
}

#[test]
fn the_settings_reference_is_up_to_date() {
    let schema = schema();
    let mut text = page("Settings", &["services/halcyon/src/settings.rs"]);
    text.push_str(&format!(
        "Defaults, then TOML files (`--config`, as often as wanted), then environment variables, then flags (`--set \
         key=value`): each later one wins. A variable is `{PREFIX}` and the key's parts joined by `__`. A value that \
         begins with a bracket is read as TOML. Durations are written like `500ms`, `30s` or `1h 30m`. An unknown key \
         is an error. `halcyon config` shows what is in effect and whatever may be a secret masked; [{SCHEMA}]({SCHEMA}) \
         is the JSON Schema, as `halcyon config schema` prints it.\n\n",
    ));
    for (section, field) in schema["properties"].as_object().unwrap() {
        let mut rows = Rows {
            root: &schema,
            rows: Vec::new(),
        };
        rows.add(section, field, field.get("default"));
        let description = word(&field["description"]).replace('\n', " ");
        text.push_str(&format!("## {section}\n\n{description}\n\n"));
        let head = ["Key", "Type", "Default", "What", "Variable"];
        text.push_str(&table(&head, rows.rows));
    }
    check("configuration.md", &text);
}
