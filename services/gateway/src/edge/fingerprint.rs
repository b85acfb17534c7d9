//! The hash by which a repeated request is told from another one with the same key.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Words in the name of a field whose value may be guessed: not even its hash is to be stored.
const GUESSABLE: &[&str] = &["password", "passphrase"];

/// What of a request has to be the same for it to be a repetition.
pub(super) fn of(method: &str, target: &str, condition: &[u8], body: &[u8]) -> Vec<u8> {
    let body = without_guessable(target, body);
    let mut hash = Sha256::new();
    for part in [method.as_bytes(), target.as_bytes(), condition, &body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// The body as it is; if it is JSON with a password or a secret, without their values.
fn without_guessable(target: &str, body: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    let about_secrets = target.contains("/secrets")
        || value
            .get("query")
            .and_then(Value::as_str)
            .is_some_and(|query| query.contains("ecret"));
    if blank(&mut value, about_secrets) {
        // A value that was read from JSON has a JSON form.
        serde_json::to_vec(&value).unwrap_or_default()
    } else {
        body.to_vec()
    }
}

/// Blanks what may be guessed, and says whether there was any.
fn blank(value: &mut Value, about_secrets: bool) -> bool {
    match value {
        Value::Object(fields) => fields.iter_mut().fold(false, |found, (name, value)| {
            let name = name.to_lowercase();
            let guessable =
                GUESSABLE.iter().any(|word| name.contains(word)) || (about_secrets && name == "value");
            if guessable {
                *value = Value::Null;
            }
            guessable | blank(value, about_secrets) | found
        }),
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |found, item| blank(item, about_secrets) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(target: &str, body: &str) -> Vec<u8> {
        of("POST", target, b"", body.as_bytes())
    }

    #[test]
    fn another_path_condition_or_body_is_another_request() {
        let one = hash("/a", "{}");
        assert_eq!(one, hash("/a", "{}"));
        assert_ne!(one, hash("/b", "{}"));
        assert_ne!(one, hash("/a", "{ }"));
        assert_ne!(one, of("POST", "/a", b"\"3\"", b"{}"));
        assert_ne!(one, of("PUT", "/a", b"", b"{}"));
    }

    #[test]
    fn what_may_be_guessed_is_not_in_the_hash() {
        let user = |password: &str| {
            hash(
                "/api/v1/users",
                &format!(r#"{{"name":"A","password":"{password}"}}"#),
            )
        };
        assert_eq!(user("one"), user("two"));
        assert_ne!(
            user("one"),
            hash("/api/v1/users", r#"{"name":"B","password":"one"}"#)
        );
        let rotate = |value: &str| hash("/x/secrets/t/rotate", &format!(r#"{{"value":"{value}"}}"#));
        assert_eq!(rotate("one"), rotate("two"));
        assert_ne!(hash("/x", r#"{"value":"one"}"#), hash("/x", r#"{"value":"two"}"#));
        let graphql = |value: &str| {
            let query = r#"mutation($i: RotateSecret!) { rotateSecret(input: $i) { name } }"#;
            hash(
                "/graphql",
                &serde_json::json!({"query": query, "variables": {"i": {"value": value}}}).to_string(),
            )
        };
        assert_eq!(graphql("one"), graphql("two"));
    }
}
