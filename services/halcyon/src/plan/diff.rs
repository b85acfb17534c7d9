//! What differs between two values, field by field.

use serde_json::{Map, Value, json};

/// A field that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Where: the names and indices on the way to it, with dots.
    pub(crate) path: String,
    /// What there is; nothing if there is no such field.
    pub(crate) before: Option<Value>,
    /// What there is to be; nothing if the field is to go.
    pub(crate) after: Option<Value>,
}

impl Change {
    /// The change as JSON.
    pub(crate) fn value(&self) -> Value {
        let mut value = Map::new();
        value.insert("path".to_owned(), json!(self.path));
        value.extend(self.before.clone().map(|before| ("before".to_owned(), before)));
        value.extend(self.after.clone().map(|after| ("after".to_owned(), after)));
        Value::Object(value)
    }

    /// `+`, `-` or `~`.
    pub(crate) const fn sign(&self) -> char {
        match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

/// Adds to `changes` what differs between two values at `path`.
pub(crate) fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    let field = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                pair(&field(name), old.get(name), new.get(name), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for index in 0..old.len().max(new.len()) {
                pair(
                    &field(&index.to_string()),
                    old.get(index),
                    new.get(index),
                    changes,
                );
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(Change {
            path: path.to_owned(),
            before: Some(old.clone()),
            after: Some(new.clone()),
        }),
    }
}

fn pair(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, changes),
        (before, after) => changes.push(Change {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_told_apart() {
        let before = json!({"a": {"b": 1, "c": [1, 2, 3]}, "d": "x", "same": [{}]});
        let after = json!({"a": {"b": 2, "c": [1, 5]}, "e": null, "same": [{}]});
        let mut changes = Vec::new();
        compare("config", &before, &after, &mut changes);
        let lines: Vec<_> = changes
            .iter()
            .map(|change| format!("{} {} {}", change.sign(), change.path, change.value()["after"]))
            .collect();
        assert_eq!(
            lines,
            [
                "~ config.a.b 2",
                "~ config.a.c.1 5",
                "- config.a.c.2 null",
                "- config.d null",
                "+ config.e null",
            ]
        );
    }
}
