//! Secrets in memory: values that are wiped when dropped and that nothing prints.

use std::{borrow::Borrow, collections::HashMap, fmt};

use halcyon_domain::config::secret_refs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

/// The name of a secret of a datasource, as in `{"$secret": "name"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for SecretName {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for SecretName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret's value: wiped when dropped, never printed or serialised.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes over a value.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The bytes. The only way to them, so that each use can be found.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The opened secrets of one datasource. A name has several values while a rotation overlaps.
#[derive(Clone, Debug, Default)]
pub struct Secrets(HashMap<SecretName, Vec<SecretValue>>);

impl Secrets {
    /// No secrets.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a live value of `name`; earlier values stay live.
    pub fn insert(&mut self, name: impl Into<SecretName>, value: SecretValue) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// The live values of `name`; empty if there are none.
    #[must_use]
    pub fn values(&self, name: &str) -> &[SecretValue] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `name` has a live value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }
}

/// Every secret that `connection` refers to by `{"$secret": "name"}`, each once, sorted.
#[must_use]
pub fn secret_names(connection: &Value) -> Vec<SecretName> {
    let mut names: Vec<SecretName> = secret_refs(connection)
        .into_iter()
        .map(|found| SecretName(found.name))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_never_printed() {
        let mut secrets = Secrets::none();
        secrets.insert("signing", SecretValue::new("canary"));
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("[REDACTED]"));
    }

    #[test]
    fn names_are_found_at_any_depth() {
        let connection =
            json!({"a": [{"$secret": "two"}], "b": {"c": {"$secret": "one"}}, "d": {"$secret": "two"}});
        assert_eq!(secret_names(&connection), vec!["one".into(), "two".into()]);
    }
}
