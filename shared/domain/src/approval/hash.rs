//! The hash of a configuration.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The SHA-256 of a configuration in its canonical form: what an approval is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigHash(pub [u8; 32]);

impl ConfigHash {
    /// The hash of a configuration. Members are taken in the order of their names, so that two spellings of one
    /// configuration have one hash.
    #[must_use]
    pub fn of(config: &Value) -> Self {
        let mut text = String::new();
        canonical(config, &mut text);
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, member) in members {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(member, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        single => text.push_str(&single.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_is_of_what_is_meant_and_not_of_how_it_is_spelt() {
        let one: Value = serde_json::from_str(r#"{"a": {"b": [1, 2], "c": null}, "d": "x"}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"d":"x","a":{"c":null,"b":[1,2]}}"#).unwrap();
        assert_eq!(ConfigHash::of(&one), ConfigHash::of(&other));
        for different in [
            json!({"a": {"b": [2, 1], "c": null}, "d": "x"}),
            json!({"a": {"b": [1, 2]}, "d": "x"}),
            json!({"a": {"b": [1, [2]], "c": null}, "d": "x"}),
            json!({"a": {"b": ["1", 2], "c": null}, "d": "x"}),
        ] {
            assert_ne!(ConfigHash::of(&one), ConfigHash::of(&different), "{different}");
        }
        assert_eq!(ConfigHash::of(&json!({})).to_string().len(), 64);
    }
}
