//! Rules between fields.

use halcyon_domain::error::InputError;

use super::url_of;
use crate::http_poller::config::{
    Auth, AuthKind, Connection, CursorKind, Format, Grant, Method, PaginationKind, Place,
};

/// What of the connection does not go together.
pub(super) fn errors(connection: &Connection) -> Vec<InputError> {
    let mut errors = Vec::new();
    of_request(connection, &mut errors);
    of_pages(connection, &mut errors);
    of_cursor(connection, &mut errors);
    of_auth(&connection.auth, &mut errors);
    if let Some(tls) = &connection.tls {
        errors.extend(tls.validate().into_iter().map(|error| InputError {
            pointer: format!("/tls{}", error.pointer),
            ..error
        }));
    }
    errors
}

fn of_request(connection: &Connection, errors: &mut Vec<InputError>) {
    if connection.body.is_some() && connection.method == Method::Get {
        errors.push(InputError::new(
            "/body",
            "invalid",
            "a GET request has no body; set `method` to POST",
        ));
    }
    if connection.format == Format::Ndjson && connection.records.is_some() {
        let detail = "each line of NDJSON is a record, so there is no list to find";
        errors.push(InputError::new("/records", "invalid", detail));
    }
}

fn of_pages(connection: &Connection, errors: &mut Vec<InputError>) {
    let pagination = &connection.pagination;
    if pagination.place == Some(Place::Body) && connection.method == Method::Get {
        let detail = "a GET request has no body; set `method` to POST";
        errors.push(InputError::new("/pagination/in", "invalid", detail));
    }
    let reads_body = matches!(
        pagination.kind,
        PaginationKind::Cursor | PaginationKind::NextUrl | PaginationKind::Odata
    );
    if connection.format == Format::Ndjson && (reads_body || pagination.more.is_some()) {
        let detail = "lines have no place for what comes next; use `page`, `offset` or `link`";
        errors.push(InputError::new("/pagination/type", "invalid", detail));
    }
}

fn of_cursor(connection: &Connection, errors: &mut Vec<InputError>) {
    let Some(cursor) = &connection.cursor else {
        return;
    };
    let timestamp = cursor.kind == CursorKind::Timestamp;
    if cursor.overlap > 0 && cursor.kind == CursorKind::Text {
        let detail = "nothing can be taken off a text; `kind` has to be integer or timestamp";
        errors.push(InputError::new("/cursor/overlap", "invalid", detail));
    }
    for (field, set) in [("format", &cursor.format), ("param_format", &cursor.param_format)] {
        if set.is_some() && !timestamp {
            let detail = "only timestamps have a format";
            errors.push(InputError::new(format!("/cursor/{field}"), "invalid", detail));
        }
    }
}

fn of_auth(auth: &Auth, errors: &mut Vec<InputError>) {
    let mut needs = |field: &str, detail: &str| {
        errors.push(InputError::new(format!("/auth/{field}"), "required", detail));
    };
    match (auth.kind, auth.grant) {
        (AuthKind::Oauth2, None | Some(Grant::ClientCredentials)) if auth.secret.is_none() => {
            needs("secret", "client credentials need the client's secret");
        }
        (AuthKind::Oauth2, Some(Grant::RefreshToken)) if auth.refresh_token.is_none() => {
            needs("refresh_token", "the grant needs a refresh token");
        }
        (AuthKind::Jwt, Some(_)) if auth.token_url.is_none() => {
            needs("token_url", "a grant needs the address that takes it");
        }
        _ => {}
    }
    let fits = match auth.kind {
        AuthKind::Oauth2 => auth.grant != Some(Grant::JwtBearer),
        AuthKind::Jwt => auth.grant != Some(Grant::RefreshToken),
        _ => true,
    };
    if !fits {
        let detail = "the grant does not go with this type of authentication";
        errors.push(InputError::new("/auth/grant", "invalid", detail));
    }
    if auth.place == Some(Place::Body) {
        errors.push(InputError::new(
            "/auth/in",
            "unknown_value",
            "a key is sent in a header or in the query",
        ));
    }
    if let Some(url) = &auth.token_url {
        url_of(url, "/auth/token_url", errors);
    }
}
