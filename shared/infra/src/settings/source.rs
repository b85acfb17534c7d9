//! Variables and flags. Each value remembers which of them set it.

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::PREFIX;

/// A name that cannot be a variable's, and how it is spelled there. Both are the same key: what is set by one spelling
/// must win over, or give way to, what is set by the other.
const SPELLINGS: (&str, &str) = ("test-runner", "test_runner");

/// A source whose keys are spelled as variables spell them.
#[derive(Clone, Debug)]
pub(super) struct Respelled<S>(pub(super) S);

impl<S: Source + Clone + Send + Sync + 'static> Source for Respelled<S> {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(respelled(self.0.collect()?))
    }
}

fn respelled(table: Map<String, Value>) -> Map<String, Value> {
    let one = |(key, mut value): (String, Value)| {
        if let ValueKind::Table(inner) = value.kind {
            value.kind = ValueKind::Table(respelled(inner));
        }
        let parts = key
            .split('.')
            .map(|part| if part == SPELLINGS.0 { SPELLINGS.1 } else { part });
        (parts.collect::<Vec<_>>().join("."), value)
    };
    table.into_iter().map(one).collect()
}

/// Key, origin and text of each value.
#[derive(Clone, Debug)]
pub(super) struct Layer(Vec<(String, String, String)>);

impl Layer {
    /// Variables that start with the prefix: `HALCYON__TEST_RUNNER__TIMEOUT` is `test_runner.timeout`.
    pub(super) fn variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let one = |(name, text): (String, String)| {
            let key = name.strip_prefix(PREFIX)?.replace("__", ".").to_lowercase();
            Some((key, format!("variable {name}"), text))
        };
        Self(variables.into_iter().filter_map(one).collect())
    }

    /// Flags that name the key themselves.
    pub(super) fn flags(flags: &[(String, String)]) -> Self {
        Self(
            flags
                .iter()
                .map(|(key, text)| (key.clone(), "flag".to_owned(), text.clone()))
                .collect(),
        )
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        self.0
            .iter()
            .map(|(key, origin, text)| Ok((key.clone(), value(key, origin, text)?)))
            .collect()
    }
}

/// Text stays text, and becomes a number where the setting is one; only what starts with a bracket is read as TOML.
fn value(key: &str, origin: &String, text: &str) -> Result<Value, ConfigError> {
    if !text.starts_with(['[', '{']) {
        return Ok(Value::new(Some(origin), ValueKind::String(text.to_owned())));
    }
    let table: toml::Table = toml::from_str(&format!("value = {text}")).map_err(|error| ConfigError::At {
        error: Box::new(ConfigError::Message(error.message().to_owned())),
        origin: Some(origin.clone()),
        key: Some(key.to_owned()),
    })?;
    Ok(table.get("value").map_or_else(
        || Value::new(Some(origin), ValueKind::Nil),
        |it| from_toml(origin, it),
    ))
}

fn from_toml(origin: &String, value: &toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(truth) => ValueKind::Boolean(*truth),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => {
            ValueKind::Array(items.iter().map(|item| from_toml(origin, item)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table
                .iter()
                .map(|(key, item)| (key.clone(), from_toml(origin, item)))
                .collect(),
        ),
    };
    Value::new(Some(origin), kind)
}
