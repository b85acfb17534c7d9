//! A cell of the matrix as a request of GraphQL, made from the schema's own description.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value, json};

use super::{
    ask::Verdict,
    rows::Row,
    world::{Holder, Target, World},
};
use crate::graphql::{names, testing};

/// The schema's types and the fields of its roots, as introspection tells them.
static SCHEMA: LazyLock<Value> = LazyLock::new(testing::introspection);

/// The field of each operation.
static FIELDS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let fields = super::rows::ROWS
        .iter()
        .filter_map(|row| Some((row.operation, testing::field_of(row.operation)?)));
    fields.collect()
});

/// Asks; nothing if GraphQL has no such operation.
pub(super) async fn ask(world: &World, holder: &Holder, row: &Row, target: &Target) -> Option<Verdict> {
    let field = FIELDS.get(row.operation)?;
    let (root, name) = field.split_once('.').unwrap();
    let (query, variables) = document(root, name, row, target);
    let bearer = holder.token.as_ref().map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
    let body = json!({"query": query, "variables": variables});
    let answer = world.gateway.ask("POST", "/graphql", &headers, Some(&body)).await;
    if answer.status == 401 {
        return Some(Verdict::Unauthenticated);
    }
    let Some(error) = answer.body["errors"].get(0) else {
        assert!(answer.body["data"].is_object(), "{name}: {}", answer.body);
        return Some(Verdict::Allowed);
    };
    Some(match error["extensions"]["code"].as_str().unwrap_or_default() {
        "unauthenticated" => Verdict::Unauthenticated,
        "forbidden" => Verdict::Forbidden,
        "not_found" => Verdict::Hidden,
        "" | "internal" | "invalid_query" => panic!("{query} {variables}: {}", answer.body),
        _ => Verdict::Allowed,
    })
}

/// A request for a field with the row's parts as its arguments.
fn document(root: &str, name: &str, row: &Row, target: &Target) -> (String, Value) {
    let kind = if root == "Query" {
        "queryType"
    } else {
        "mutationType"
    };
    let fields = SCHEMA[kind]["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["name"] == name).unwrap();
    let mut given = match (row.parts)(target) {
        Value::Object(parts) => parts,
        _ => Map::new(),
    };
    let id = row.id.map(|id| Value::from(id(target)));
    given.insert("input".to_owned(), (row.body)(target));
    let mut declared = Vec::new();
    let mut passed = Vec::new();
    let mut variables = Map::new();
    for argument in field["args"].as_array().unwrap() {
        let argument_name = argument["name"].as_str().unwrap();
        let found = given
            .iter()
            .find(|(part, _)| names_match(part, argument_name))
            .map(|(_, value)| value.clone());
        // The object that the operation is about is `id`, or named by its kind where it has something in it.
        let about = || {
            id.clone()
                .filter(|_| argument_name == "id" || argument_name == row.kind)
        };
        let Some(value) = found.filter(|value| !value.is_null()).or_else(about) else {
            continue;
        };
        let value = shaped(&argument["type"], value);
        declared.push(format!("${argument_name}: {}", written(&argument["type"])));
        passed.push(format!("{argument_name}: ${argument_name}"));
        variables.insert(argument_name.to_owned(), value);
    }
    let list = |texts: Vec<String>| {
        if texts.is_empty() {
            String::new()
        } else {
            format!("({})", texts.join(", "))
        }
    };
    let parts = if is_object(&field["type"]) {
        " { __typename }"
    } else {
        ""
    };
    let operation = root.to_lowercase();
    let query = format!(
        "{operation}{} {{ {name}{}{parts} }}",
        list(declared),
        list(passed)
    );
    (query, Value::Object(variables))
}

fn names_match(part: &str, argument: &str) -> bool {
    names::field(part) == argument || names::reference(part) == argument
}

/// A type as a query writes it.
fn written(kind: &Value) -> String {
    match kind["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", written(&kind["ofType"])),
        "LIST" => format!("[{}]", written(&kind["ofType"])),
        _ => kind["name"].as_str().unwrap().to_owned(),
    }
}

fn named(kind: &Value) -> &Value {
    match kind["kind"].as_str().unwrap() {
        "NON_NULL" | "LIST" => named(&kind["ofType"]),
        _ => kind,
    }
}

fn is_object(kind: &Value) -> bool {
    matches!(
        named(kind)["kind"].as_str(),
        Some("OBJECT" | "INTERFACE" | "UNION")
    )
}

/// REST's JSON in the names of an input type.
fn shaped(kind: &Value, value: Value) -> Value {
    let kind = named(kind);
    match (kind["kind"].as_str(), value) {
        (_, Value::Array(items)) => items.into_iter().map(|item| shaped(kind, item)).collect(),
        (Some("ENUM"), Value::String(word)) => names::word(&word).into(),
        (Some("INPUT_OBJECT"), Value::Object(parts)) => {
            let types = SCHEMA["types"].as_array().unwrap();
            let shape = types
                .iter()
                .find(|candidate| candidate["name"] == kind["name"])
                .unwrap();
            let fields = shape["inputFields"].as_array().unwrap();
            let part = |(name, value): (String, Value)| {
                let field = fields
                    .iter()
                    .find(|field| names_match(&name, field["name"].as_str().unwrap()));
                let field = field.unwrap_or_else(|| panic!("{} has no {name}", kind["name"]));
                (
                    field["name"].as_str().unwrap().to_owned(),
                    shaped(&field["type"], value),
                )
            };
            Value::Object(parts.into_iter().map(part).collect())
        }
        (_, value) => value,
    }
}
