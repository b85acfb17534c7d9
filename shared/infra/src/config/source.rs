//! Where values come from besides files. Each value remembers the variable or flag that set it.

use config::{ConfigError, Map, Source, Value, ValueKind};

/// A value given by a flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, with dots between its parts: `gateway.listen`.
    pub key: &'static str,
    /// The flag's name: `--listen`.
    pub name: &'static str,
    /// The value as text.
    pub value: String,
}

/// The flags that were given.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<Flag>);

impl Flags {
    /// Adds a flag if it was given.
    #[must_use]
    pub fn with(mut self, key: &'static str, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| Flag { key, name, value: value.to_string() }));
        self
    }

    pub(super) fn layer(&self) -> Layer {
        Layer(self.0.iter().map(|flag| (flag.key.to_owned(), format!("flag {}", flag.name), flag.value.clone())).collect())
    }
}

/// The variables of this process that start with `prefix`, as pairs.
#[must_use]
pub fn environment(prefix: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort_unstable();
    found
}

/// Variables become keys: `HALCYON__TEST_RUNNER__TIMEOUT` is `test_runner.timeout`.
pub(super) fn variables(prefix: &str, pairs: &[(String, String)]) -> Layer {
    let key = |name: &str| name.trim_start_matches(prefix).replace("__", ".").to_lowercase();
    Layer(pairs.iter().map(|(name, value)| (key(name), format!("variable {name}"), value.clone())).collect())
}

/// Key, origin and text of each value.
#[derive(Clone, Debug)]
pub(super) struct Layer(Vec<(String, String, String)>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        self.0.iter().map(|(key, origin, text)| Ok((key.clone(), value(key, origin, text)?))).collect()
    }
}

/// Text stays text (it is made a number where the setting is one); only what starts with a bracket is read as TOML.
fn value(key: &str, origin: &String, text: &str) -> Result<Value, ConfigError> {
    if !text.starts_with(['[', '{']) {
        return Ok(Value::new(Some(origin), ValueKind::String(text.to_owned())));
    }
    let table: toml::Table = toml::from_str(&format!("value = {text}")).map_err(|error| ConfigError::At {
        error: Box::new(ConfigError::Message(error.message().to_owned())),
        origin: Some(origin.clone()),
        key: Some(key.to_owned()),
    })?;
    Ok(table.get("value").map_or_else(|| Value::new(Some(origin), ValueKind::Nil), |it| from_toml(origin, it)))
}

fn from_toml(origin: &String, value: &toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(truth) => ValueKind::Boolean(*truth),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => ValueKind::Array(items.iter().map(|item| from_toml(origin, item)).collect()),
        toml::Value::Table(table) => {
            ValueKind::Table(table.iter().map(|(key, item)| (key.clone(), from_toml(origin, item))).collect())
        }
    };
    Value::new(Some(origin), kind)
}
