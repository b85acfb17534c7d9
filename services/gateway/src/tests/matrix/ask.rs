//! A cell of the matrix as a request of REST.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    rows::Row,
    world::{Holder, Target, World},
};

/// What an answer says of who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They have to say who they are.
    Unauthenticated,
    /// They may not.
    Forbidden,
    /// For them there is no such thing.
    Hidden,
    /// They may. It may still make no sense.
    Allowed,
}

impl Verdict {
    /// What a status says.
    fn of(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::Hidden,
            503 => Self::Allowed,
            500.. => panic!("the answer is {status}"),
            _ => Self::Allowed,
        }
    }

    /// Whether it is what was wanted. Where something below the object is missing, 404 says nothing, and a wrong
    /// password is 401 although anybody may try.
    pub(super) fn fits(self, wanted: Self, row: &Row) -> bool {
        let missing = row.misses && matches!(self, Self::Hidden | Self::Unauthenticated | Self::Forbidden);
        self == wanted || (wanted == Self::Allowed && missing && self != Self::Forbidden)
    }
}

/// The operations of REST, by the API's description.
pub(super) struct Operations(BTreeMap<String, (String, String)>);

impl Operations {
    pub(super) fn read() -> Self {
        let document: Value = serde_json::from_str(&crate::openapi_json()).unwrap();
        let mut operations = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            // Events come in by what their senders show, not by roles.
            if path.starts_with("/ingest/") {
                continue;
            }
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                operations.insert(name, (method.to_uppercase(), path.clone()));
            }
        }
        Self(operations)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is such an operation.
    pub(super) fn knows(&self, operation: &str) -> bool {
        self.0.contains_key(operation)
    }

    /// Whether an operation changes nothing.
    pub(super) fn reads(&self, operation: &str) -> bool {
        self.find(operation).0 == "GET"
    }

    /// The method and the path of an operation.
    pub(super) fn find(&self, operation: &str) -> (&str, &str) {
        let (method, path) = &self.0[operation];
        (method, path)
    }

    pub(super) async fn ask(&self, world: &World, holder: &Holder, row: &Row, target: &Target) -> Verdict {
        let (method, path) = self.find(row.operation);
        let path = filled(path, row, target);
        let body = (row.body)(target);
        let body = (!body.is_null()).then_some(body);
        let bearer = holder.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer
            .iter()
            .map(|bearer| ("authorization", bearer.as_str()))
            .collect();
        let answer = world.gateway.ask(method, &path, &headers, body.as_ref()).await;
        Verdict::of(answer.status)
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
        let text = text(value);
        let is_part = path.contains(&hole);
        path = path.replace(&hole, &text);
        !is_part
    });
    assert!(
        !path.contains('{'),
        "{}: a part of {path} is not given",
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
