//! Hiding secrets in what is shown.

use serde_json::Value;

/// What stands in a secret's place.
pub const MASK: &str = "[REDACTED]";

/// Names, or endings of names, of settings that hold a secret.
const SECRET: [&str; 6] = ["password", "secret", "token", "seed", "credentials", "private_key"];

/// The value with secrets masked and empty settings left out.
///
/// A setting is secret by its name, and so is the password in a URL (`postgres://user:password@host`).
#[must_use]
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| {
                    let hidden = !value.is_object() && SECRET.iter().any(|ending| name.ends_with(ending));
                    let value = if hidden { Value::from(MASK) } else { masked(value) };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) => Value::String(url_masked(text)),
        other => other,
    }
}

fn url_masked(text: String) -> String {
    if !text.contains("://") {
        return text;
    }
    text.split(',').map(one_url_masked).collect::<Vec<_>>().join(",")
}

fn one_url_masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{MASK}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => authority.to_owned(),
    };
    let tail = match tail.split_once('?') {
        Some((path, query)) => format!("{path}?{}", query_masked(query)),
        None => tail.to_owned(),
    };
    format!("{scheme}://{authority}{tail}")
}

fn query_masked(query: &str) -> String {
    let one = |part: &str| match part.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|ending| name.ends_with(ending)) => format!("{name}={MASK}"),
        _ => part.to_owned(),
    };
    query.split('&').map(one).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let value = json!({
            "database": {"url": "postgres://me:pa/ss@db:5432/x?password=p&sslmode=require", "pool": 3},
            "bus": {"url": "nats://a:b@h1:4222,nats://a:b@h2:4222", "nkey_seed_file": "keys/a", "seed": "SU"},
            "list": [{"api_token": "t"}], "nothing": null, "plain": "sqlite://halcyon.db",
        });
        let shown = masked(value);
        assert_eq!(shown["bus"]["url"], "nats://a:[REDACTED]@h1:4222,nats://a:[REDACTED]@h2:4222");
        assert_eq!(shown["bus"]["nkey_seed_file"], "keys/a");
        assert_eq!(shown["bus"]["seed"], MASK);
        assert_eq!(shown["list"][0]["api_token"], MASK);
        assert_eq!(shown["plain"], "sqlite://halcyon.db");
        assert_eq!(shown.get("nothing"), None);
        let url = masked(json!("postgres://me:pass@db:5432/x?password=p&sslmode=require"));
        assert_eq!(url, "postgres://me:[REDACTED]@db:5432/x?password=[REDACTED]&sslmode=require");
    }
}
