//! What must hold of a configuration: its shape whenever it is written, all of it when it is published.

use halcyon_connectors::{Connector, validate_feed};
use halcyon_domain::{
    config::{DriftPolicy, SECRET_KEY, VersionConfig, is_secret_name, secret_refs},
    error::{InputError, escape},
};
use halcyon_mapping::{CompiledMapping, ScriptMapping};
use serde_json::{Value, json};

/// Where a configuration stands in what the API takes.
const CONFIG: &str = "/config";

fn under(prefix: &str, errors: impl IntoIterator<Item = InputError>) -> Vec<InputError> {
    errors.into_iter().map(|error| error.under(prefix)).collect()
}

/// What is wrong with a draft. It may be unfinished, but its fields are known ones, and no secret stands in it.
pub(crate) fn draft(connector: &dyn Connector, config: &Value) -> Vec<InputError> {
    if !config.is_object() {
        return vec![InputError::new(CONFIG, "invalid", "a configuration is an object")];
    }
    let mut errors = under(CONFIG, VersionConfig::parse(config).err());
    let spec = connector.spec();
    if !spec.capabilities.scheduled && config.get("schedule").is_some_and(|schedule| !schedule.is_null()) {
        let detail = format!(
            "a `{}` datasource is not read by a schedule: its events come when they come",
            spec.type_name
        );
        errors.push(InputError::new("/config/schedule", "not_scheduled", detail));
    }
    let able = spec.capabilities;
    if able.pull && !able.resumable && config.pointer("/schema/drift") == Some(&json!(DriftPolicy::Stop)) {
        let detail = format!(
            "what a `{}` datasource has read cannot be read again: stopping at a record would lose it; take `warn`",
            spec.type_name
        );
        errors.push(InputError::new("/config/schema/drift", "not_resumable", detail));
    }
    if let Some(connection) = config.get("connection") {
        let marked = secret_fields(&connector.spec().config_schema);
        let mut found = Vec::new();
        find_plain_secrets(connection, &marked, &mut String::new(), &mut found);
        errors.extend(under("/config/connection", found));
    }
    errors
}

/// What is wrong with a configuration that is to be published, secrets and tests aside. `has_pool` says which pools of
/// workers have partitions.
pub(crate) fn publishable(
    connector: &dyn Connector,
    config: &Value,
    has_pool: impl Fn(&str) -> bool,
) -> Vec<InputError> {
    let parsed = match VersionConfig::parse(config) {
        Ok(parsed) => parsed,
        Err(error) => return under(CONFIG, [error]),
    };
    let type_name = connector.spec().type_name;
    let mut errors = draft(connector, config);
    errors.extend(under(
        "/config/connection",
        validate_feed(type_name, &parsed.connection, parsed.runtime.parallelism),
    ));
    if connector.spec().capabilities.push {
        errors.extend(pool_fault(&parsed.runtime.worker_labels, has_pool));
    }
    // A script itself is never read in this process: the test-runner does that.
    let compiled = match &parsed.mapping.script {
        Some(_) => ScriptMapping::compile(&parsed.mapping).map(drop),
        None => CompiledMapping::compile(&parsed.mapping).map(drop),
    };
    if let Err(wrong) = compiled {
        errors.extend(under("/config/mapping", wrong));
    }
    if parsed.mapping.outputs.is_empty() && parsed.mapping.script.is_none() {
        let detail = "a mapping without outputs makes nothing of what comes in";
        errors.push(InputError::new("/config/mapping/outputs", "required", detail));
    }
    for reference in secret_refs(config)
        .into_iter()
        .filter(|found| !is_secret_name(&found.name))
    {
        let detail = "a secret's name has 1 to 64 of `a-z A-Z 0-9 _ -`";
        errors.push(InputError::new(
            format!("{CONFIG}{}", reference.pointer),
            "invalid",
            detail,
        ));
    }
    errors.dedup();
    errors
}

/// What is pushed travels on the partitions of one pool.
fn pool_fault(labels: &[String], has_pool: impl Fn(&str) -> bool) -> Option<InputError> {
    const FIELD: &str = "/config/runtime/worker_labels";
    let (pool, further) = labels.split_first()?;
    if !further.is_empty() {
        let detail = "a datasource that is sent its events asks for one label: the name of a pool";
        return Some(InputError::new(format!("{FIELD}/1"), "too_many", detail));
    }
    let detail = format!("no pool `{pool}` has partitions (setting `bus.pools`)");
    (!has_pool(pool)).then(|| InputError::new(format!("{FIELD}/0"), "unknown_pool", detail))
}

/// The references to secrets that are not among `known`.
pub(crate) fn missing_secrets(config: &Value, known: &[String]) -> Vec<InputError> {
    secret_refs(config)
        .into_iter()
        .filter(|reference| !known.contains(&reference.name))
        .map(|reference| {
            let detail = format!("there is no secret `{}`; write it first", reference.name);
            InputError::new(format!("{CONFIG}{}", reference.pointer), "secret_missing", detail)
        })
        .collect()
}

/// The names of the fields that a schema marks with `x-secret`.
fn secret_fields(schema: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect_marked(schema, &mut names);
    names
}

fn collect_marked(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                let marked = properties.iter().filter(|(_, schema)| schema["x-secret"] == true);
                names.extend(marked.map(|(name, _)| name.clone()));
            }
            object.values().for_each(|part| collect_marked(part, names));
        }
        Value::Array(parts) => parts.iter().for_each(|part| collect_marked(part, names)),
        _ => {}
    }
}

/// A secret that stands in a configuration would be shown to all who may read it: only references may.
fn find_plain_secrets(value: &Value, marked: &[String], pointer: &mut String, found: &mut Vec<InputError>) {
    let length = pointer.len();
    match value {
        Value::Object(object) => {
            for (name, part) in object {
                pointer.push('/');
                pointer.push_str(&escape(name));
                if marked.contains(name) {
                    check_marked(part, pointer, found);
                } else {
                    find_plain_secrets(part, marked, pointer, found);
                }
                pointer.truncate(length);
            }
        }
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                find_plain_secrets(part, marked, pointer, found);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

fn check_marked(value: &Value, pointer: &str, found: &mut Vec<InputError>) {
    let is_reference = |value: &Value| match value {
        // Nothing stands beside the name: it would be kept and shown like the rest of the configuration.
        Value::Object(object) => object.len() == 1 && object.get(SECRET_KEY).is_some_and(Value::is_string),
        other => other.is_null(),
    };
    let fits = match value {
        Value::Array(values) => values.iter().all(is_reference),
        value => is_reference(value),
    };
    if !fits {
        let detail =
            "write the value under the datasource's secrets, and refer to it by {\"$secret\": \"name\"}";
        found.push(InputError::new(pointer, "plain_secret", detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> &'static dyn Connector {
        halcyon_connectors::find("http_webhook").unwrap()
    }

    fn config(secret: Value, title: &str) -> Value {
        json!({
            "connection": {"auth": {"type": "bearer", "secret": secret}},
            "mapping": {"outputs": [{"kind": "alert", "fields": {
                "external_id": "id", "title": title, "time": {"expr": "ts", "as": "timestamp"}}}]},
        })
    }

    #[test]
    fn a_feed_that_cannot_be_read_again_does_not_stop_for_its_records() {
        let config = |drift: &str| json!({"schema": {"drift": drift, "expected": {"properties": {}}}});
        let find = |connector| halcyon_connectors::find(connector).unwrap();
        let errors = draft(find("syslog"), &config("stop"));
        assert_eq!(
            (errors[0].pointer.as_str(), errors[0].code.as_str()),
            ("/config/schema/drift", "not_resumable")
        );
        assert_eq!(draft(find("syslog"), &config("warn")), []);
        for connector in ["http_webhook", "generator", "kafka"] {
            assert_eq!(draft(find(connector), &config("stop")), []);
        }
    }

    #[test]
    fn a_draft_may_be_unfinished_but_holds_no_secret_and_no_unknown_field() {
        assert_eq!(draft(webhook(), &json!({})), []);
        assert_eq!(
            draft(webhook(), &config(json!({"$secret": "token"}), "join(")),
            []
        );
        let errors = draft(webhook(), &config(json!("hunter2"), "t"));
        assert_eq!(errors[0].pointer, "/config/connection/auth/secret");
        assert_eq!(errors[0].code, "plain_secret");
        assert!(!errors[0].detail.contains("hunter2"));
        let beside = config(json!({"$secret": "token", "value": "hunter2"}), "t");
        assert_eq!(draft(webhook(), &beside)[0].code, "plain_secret");
        assert_eq!(draft(webhook(), &json!([]))[0].pointer, "/config");
        assert_eq!(
            draft(webhook(), &json!({"maping": {}}))[0].pointer,
            "/config/maping"
        );
    }

    #[test]
    fn what_does_not_compile_cannot_be_published() {
        assert_eq!(
            publishable(webhook(), &config(json!({"$secret": "token"}), "title"), |_| true),
            []
        );
        let errors = publishable(webhook(), &config(json!({"$secret": "token"}), "join("), |_| true);
        assert!(
            errors
                .iter()
                .any(|e| e.pointer.starts_with("/config/mapping/outputs/0/fields/title")),
            "{errors:?}"
        );
        let errors = publishable(
            webhook(),
            &json!({"connection": {"auth": {"type": "magic"}}}),
            |_| true,
        );
        assert!(
            errors
                .iter()
                .any(|e| e.pointer.starts_with("/config/connection/auth")),
            "{errors:?}"
        );
        assert!(
            errors.iter().any(|e| e.pointer == "/config/mapping/outputs"),
            "{errors:?}"
        );
    }

    #[test]
    fn instances_that_would_each_get_everything_cannot_be_published() {
        let mqtt = halcyon_connectors::find("mqtt").unwrap();
        let mut config = config(json!({"$secret": "token"}), "title");
        config["connection"] = json!({"host": "h", "client_id": "c", "topics": ["a"]});
        assert_eq!(publishable(mqtt, &config, |_| true), []);
        config["runtime"] = json!({"parallelism": 2});
        let errors = publishable(mqtt, &config, |_| true);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].pointer, "/config/connection/group");
    }

    #[test]
    fn a_missing_secret_is_named_where_it_is_meant() {
        let config = config(json!({"$secret": "token"}), "t");
        assert_eq!(missing_secrets(&config, &["token".into()]), []);
        let errors = missing_secrets(&config, &[]);
        assert_eq!(errors[0].pointer, "/config/connection/auth/secret");
        assert!(errors[0].detail.contains("token"));
    }

    #[test]
    fn what_is_pushed_asks_for_one_pool_that_is_there() {
        let asking = |labels: Value| {
            let mut config = config(json!({"$secret": "token"}), "title");
            config["runtime"] = json!({"worker_labels": labels});
            let errors = publishable(webhook(), &config, |pool| pool == "edge");
            errors
                .into_iter()
                .map(|error| (error.pointer, error.code.to_string()))
                .next()
        };
        let at =
            |place: u8, code: &str| Some((format!("/config/runtime/worker_labels/{place}"), code.to_owned()));
        assert_eq!(asking(json!(["edge"])), None);
        assert_eq!(asking(json!(["far"])), at(0, "unknown_pool"));
        assert_eq!(asking(json!(["edge", "far"])), at(1, "too_many"));
    }
}
