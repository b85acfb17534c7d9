//! A cell of the matrix as a request of REST.

use std::collections::BTreeMap;

use salvo::{
    http::Method,
    test::{RequestBuilder, ResponseExt},
};
use serde_json::{Map, Value};

use super::{
    holder::Holder,
    rows::{Row, Verdict},
    table::NOT_BY_ROLE,
    world::{Target, World},
};

/// What was answered.
pub(super) struct Found {
    pub(super) verdict: Verdict,
    /// Whether something is not as it was.
    pub(super) changed: bool,
}

/// What a status and a problem's code say. What makes no sense at the moment, or is against a rule other than that of
/// roles, is allowed; what is named beside the path and is not there is hidden.
pub(super) fn verdict_of(status: u16, code: &str, errors: &Value) -> Option<Verdict> {
    let unknown = |error: &Value| error["code"] == "unknown_value";
    let names_nothing = || errors.as_array().is_some_and(|errors| errors.iter().any(unknown));
    Some(match status {
        401 => Verdict::Unauthenticated,
        403 if code == "forbidden" => Verdict::Forbidden,
        404 => Verdict::Hidden,
        422 if names_nothing() => Verdict::Hidden,
        200..=299 | 403 | 409 | 412 | 422 | 503 => Verdict::Allowed,
        _ => return None,
    })
}

/// How an action on many datasources ended for the one there is.
pub(super) fn verdict_of_item(outcome: &str) -> Verdict {
    match outcome.to_lowercase().as_str() {
        "refused" => Verdict::Forbidden,
        "not_found" => Verdict::Hidden,
        _ => Verdict::Allowed,
    }
}

/// The operations of REST, by the API's description.
pub(super) struct Operations(BTreeMap<String, (String, String)>);

impl Operations {
    pub(super) fn read() -> Self {
        let document: Value = serde_json::from_str(&crate::openapi_json()).unwrap();
        let mut operations = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                if NOT_BY_ROLE.iter().all(|(known, _)| *known != name) {
                    operations.insert(name.to_owned(), (method.to_uppercase(), path.clone()));
                }
            }
        }
        Self(operations)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The method and the path of an operation.
    pub(super) fn find(&self, operation: &str) -> Option<(&str, &str)> {
        let (method, path) = self.0.get(operation)?;
        Some((method, path))
    }

    /// Asks; nothing if REST has no such operation.
    pub(super) async fn ask(
        &self,
        world: &World,
        holder: &Holder,
        row: &Row,
        target: &Target,
    ) -> Option<Found> {
        let (method, path) = self.find(row.operation)?;
        let url = format!("http://localhost{}", filled(path, row, target));
        let mut request = RequestBuilder::new(&url, method.parse::<Method>().unwrap());
        if let Some(token) = &holder.token {
            request = request.add_header("authorization", format!("Bearer {token}"), true);
        }
        let body = (row.body)(target);
        if !body.is_null() {
            request = request.json(&body);
        }
        let mut response = request.send(&world.gateway.service).await;
        let status = response.status_code.unwrap_or_default().as_u16();
        let kind = response.headers().get("content-type");
        let is_endless = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let text = if is_endless {
            String::new()
        } else {
            response.take_string().await.unwrap_or_default()
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let code = body["type"].as_str().and_then(|kind| kind.rsplit(':').next());
        let verdict = verdict_of(status, code.unwrap_or_default(), &body["errors"]);
        let verdict = verdict.unwrap_or_else(|| panic!("{method} {url} {holder}: {status} {text}"));
        let item = body["items"][0]["outcome"]
            .as_str()
            .filter(|_| row.operation == "runBulk");
        Some(Found {
            verdict: item.map_or(verdict, verdict_of_item),
            changed: (200..300).contains(&status) && method != "GET",
        })
    }
}

/// The path with its parts, what is left of them as a query.
fn filled(path: &str, row: &Row, target: &Target) -> String {
    let mut parts = match (row.parts)(target) {
        Value::Object(parts) => parts,
        _ => Map::new(),
    };
    if let Some(id) = row.id {
        parts.insert("id".to_owned(), id(target).into());
    }
    let mut path = path.to_owned();
    parts.retain(|name, value| {
        let hole = format!("{{{name}}}");
        let is_part = path.contains(&hole);
        path = path.replace(&hole, &text(value));
        !is_part
    });
    assert!(
        !path.contains('{'),
        "{}: a part of {path} is missing",
        row.operation
    );
    for (index, (name, value)) in parts.iter().enumerate() {
        let joint = if index == 0 { '?' } else { '&' };
        path = format!("{path}{joint}{name}={}", text(value));
    }
    path
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
