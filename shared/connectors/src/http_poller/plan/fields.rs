//! Which fields belong to which type of authentication and of pagination.

use halcyon_domain::error::{InputError, escape};
use serde_json::Value;

/// A type's word, the fields it needs, and those it may have.
type Kinds = &'static [(&'static str, &'static [&'static str], &'static [&'static str])];

const AUTH: Kinds = &[
    ("none", &[], &[]),
    ("basic", &["username", "secret"], &[]),
    ("bearer", &["secret"], &["scheme"]),
    ("api_key", &["name", "secret"], &["in", "prefix"]),
    (
        "oauth2",
        &["token_url", "client_id"],
        &[
            "grant",
            "secret",
            "refresh_token",
            "scope",
            "parameters",
            "client_auth",
            "scheme",
        ],
    ),
    (
        "jwt",
        &["algorithm", "secret"],
        &[
            "key_id",
            "issuer",
            "subject",
            "audience",
            "claims",
            "lifetime",
            "token_url",
            "grant",
            "client_id",
            "scope",
            "parameters",
            "scheme",
        ],
    ),
];

const PAGINATION: Kinds = &[
    ("none", &[], &[]),
    ("page", &["param"], &["in", "start", "size", "more"]),
    ("offset", &["param"], &["in", "start", "size", "more"]),
    (
        "cursor",
        &["param", "next"],
        &["in", "more", "alone", "stop_on_empty"],
    ),
    ("next_url", &["next"], &["more", "stop_on_empty"]),
    ("link", &[], &["stop_on_empty"]),
    ("odata", &[], &["stop_on_empty"]),
];

/// What is missing or has no meaning where it stands.
pub(super) fn errors(connection: &Value) -> Vec<InputError> {
    let mut errors = Vec::new();
    for (name, kinds) in [("auth", AUTH), ("pagination", PAGINATION)] {
        if let Some(part) = connection.get(name) {
            of_part(part, &format!("/{name}"), kinds, &mut errors);
        }
    }
    errors
}

fn of_part(part: &Value, at: &str, kinds: Kinds, errors: &mut Vec<InputError>) {
    let word = part.get("type").and_then(Value::as_str).unwrap_or("none");
    let Some((_, needed, possible)) = kinds.iter().find(|(kind, ..)| *kind == word) else {
        return;
    };
    for name in *needed {
        if part.get(*name).is_none() {
            let detail = format!("`{word}` needs `{name}`");
            errors.push(InputError::new(format!("{at}/{name}"), "required", detail));
        }
    }
    for name in part
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
    {
        if name != "type" && !needed.contains(&name) && !possible.contains(&name) {
            let detail = format!("`{name}` has no meaning with `{word}`");
            errors.push(InputError::new(
                format!("{at}/{}", escape(name)),
                "unknown_field",
                detail,
            ));
        }
    }
}
