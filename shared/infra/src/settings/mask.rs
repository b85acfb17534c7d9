//! Settings as they may be shown.

use serde::Serialize;
use serde_json::Value;

/// What stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// What the names of settings that hold a secret end in.
const SECRET: [&str; 5] = ["password", "secret", "token", "seed", "private_key"];

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|end| name.ends_with(end))
}

/// The settings as JSON, with whatever may be a secret masked: values of keys that end in `password`, `secret`,
/// `token`, `seed` or `private_key`, and passwords within URLs.
#[must_use]
pub fn masked<T: Serialize>(settings: &T) -> Value {
    let mut value = serde_json::to_value(settings).unwrap_or_default();
    mask(&mut value);
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, item) in object {
                if is_secret(key) && item.is_string() {
                    *item = Value::from(REDACTED);
                } else {
                    mask(item);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => *text = text.split(',').map(mask_url).collect::<Vec<_>>().join(","),
        _ => {}
    }
}

/// `url` with passwords masked: that of its user information, and those among its query parameters.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // A password may hold a slash that was not escaped, so the last `@` decides.
    let (authority, tail) = match rest.rfind('@') {
        Some(at) => rest.split_at(at),
        None => ("", rest),
    };
    let user = match authority.split_once(':') {
        Some((name, _)) => format!("{name}:{REDACTED}"),
        None => authority.to_owned(),
    };
    let tail = match tail.split_once('?') {
        Some((path, query)) => format!("{path}?{}", mask_query(query)),
        None => tail.to_owned(),
    };
    format!("{scheme}://{user}{tail}")
}

fn mask_query(query: &str) -> String {
    let one = |part: &str| match part.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        _ => part.to_owned(),
    };
    query.split('&').map(one).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let settings = json!({
            "database": {"url": "postgres://user:hunter2@host/db?x=1&password=hunter2"},
            "bus": {"url": "nats://a:hunter2@h1:4222,nats://a:hunter2@h2:4222"},
            "nats": {"password": "hunter2", "seed_file": "/keys/seed"},
            "list": [{"api_token": "hunter2"}],
        });
        let shown = masked(&settings);
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(
            shown["database"]["url"],
            "postgres://user:[REDACTED]@host/db?x=1&password=[REDACTED]"
        );
        assert_eq!(shown["nats"]["seed_file"], "/keys/seed");
    }

    #[test]
    fn what_holds_no_secret_stays() {
        for url in [
            "sqlite://halcyon.db?mode=rwc",
            "postgres://user@host:5432/db",
            "http://host/a,b",
            "text",
        ] {
            assert_eq!(masked(&url), url);
        }
        assert_eq!(
            mask_url("postgres://user:pa/s@s@host/db"),
            "postgres://user:[REDACTED]@host/db"
        );
    }
}
