//! A cell of the matrix as a request of GraphQL, made from the schema's own description.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Map, Value, json};

use super::{
    ask::{Found, verdict_of, verdict_of_item},
    holder::Holder,
    rows::{Row, Verdict},
    world::{Target, World},
};
use crate::graphql::{names, testing};

/// The schema's types and the fields of its roots, as introspection tells them.
static SCHEMA: LazyLock<Value> = LazyLock::new(testing::introspection);

/// The field of each operation that REST has, too.
static FIELDS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(testing::fields);

/// The field of an operation, as `Query.datasource`; none if GraphQL has no such operation.
pub(super) fn field_of(operation: &str) -> Option<(&str, &str)> {
    match operation.split_once('.') {
        Some(field) => Some(field),
        None => FIELDS.get(operation)?.split_once('.'),
    }
}

/// All fields of the roots.
pub(super) fn all() -> BTreeSet<String> {
    let fields = |(root, kind): (&str, &str)| -> Vec<String> {
        let fields = SCHEMA[kind]["fields"].as_array().unwrap().iter();
        let names = fields.map(|field| field["name"].as_str().unwrap());
        names.map(|name| format!("{root}.{name}")).collect()
    };
    let roots = [
        ("Query", "queryType"),
        ("Mutation", "mutationType"),
        ("Subscription", "subscriptionType"),
    ];
    roots.into_iter().flat_map(fields).collect()
}

/// Asks; nothing if GraphQL has no such operation.
pub(super) async fn ask(world: &World, holder: &Holder, row: &Row, target: &Target) -> Option<Found> {
    let (root, name) = field_of(row.operation)?;
    let body = document(root, name, row, target);
    if root == "Subscription" {
        let verdict = world.live.ask(&world.gateway, holder, &body).await;
        return Some(Found {
            verdict,
            changed: false,
        });
    }
    let bearer = holder.token.as_ref().map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
    let answer = world.gateway.ask("POST", "/graphql", &headers, Some(&body)).await;
    let error = &answer.body["errors"][0];
    if !error.is_null() {
        return Some(Found {
            verdict: verdict_of_error(error).unwrap_or_else(|| panic!("{body} {holder}: {}", answer.body)),
            changed: false,
        });
    }
    let given = &answer.body["data"];
    assert!(given.is_object(), "{body}: {}", answer.body);
    let verdict = match row.operation {
        "runBulk" => verdict_of_item(given[name]["items"][0]["outcome"].as_str().unwrap()),
        // What is not there is nothing.
        "Query.node" if given[name].is_null() => Verdict::Hidden,
        _ => Verdict::Allowed,
    };
    Some(Found {
        verdict,
        changed: root == "Mutation",
    })
}

/// What an error says, by the status that REST would give.
pub(super) fn verdict_of_error(error: &Value) -> Option<Verdict> {
    let extensions = &error["extensions"];
    let code = extensions["code"].as_str()?;
    let status = match code {
        "unauthenticated" => 401,
        "forbidden" => 403,
        "not_found" => 404,
        "invalid" => 422,
        "" | "internal" | "bad_request" | "too_many_requests" => return None,
        _ => 409,
    };
    verdict_of(status, code, &extensions["errors"])
}

/// A request for a field with the row's parts as its arguments.
fn document(root: &str, name: &str, row: &Row, target: &Target) -> Value {
    let kind = match root {
        "Query" => "queryType",
        "Mutation" => "mutationType",
        _ => "subscriptionType",
    };
    let fields = SCHEMA[kind]["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["name"] == name).unwrap();
    let arguments = field["args"].as_array().unwrap();
    let mut declared = Vec::new();
    let mut passed = Vec::new();
    let mut variables = Map::new();
    for argument in arguments {
        let argument_name = argument["name"].as_str().unwrap();
        let Some(value) = argument_of(argument, arguments, row, target) else {
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
    let parts = match row.operation {
        "runBulk" => " { items { outcome } }",
        _ if is_object(&field["type"]) => " { __typename }",
        _ => "",
    };
    let operation = root.to_lowercase();
    let (declared, passed) = (list(declared), list(passed));
    let query = format!("{operation}{declared} {{ {name}{passed}{parts} }}");
    json!({"query": query, "variables": variables})
}

/// What is given for an argument: the part of that name, or the object that the operation is about, by its kind or,
/// where the path names nothing below it, as `id`.
fn argument_of(argument: &Value, all: &[Value], row: &Row, target: &Target) -> Option<Value> {
    let name = argument["name"].as_str().unwrap();
    let is_needed = argument["type"]["kind"] == "NON_NULL";
    let parts = match (row.parts)(target) {
        Value::Object(parts) => parts,
        _ => Map::new(),
    };
    if let Some((_, value)) = parts.iter().find(|(part, _)| names_match(part, name)) {
        return Some(value.clone());
    }
    let id = row.id.map(|id| Value::from(id(target)));
    if name == row.kind {
        return id;
    }
    let is_argument = |part: &str| {
        all.iter()
            .any(|known| names_match(part, known["name"].as_str().unwrap()))
    };
    let below = parts.iter().find(|(part, _)| !is_argument(part));
    match name {
        "input" => Some((row.body)(target)).map(|body| if body.is_null() { json!({}) } else { body }),
        _ if !is_needed => None,
        _ => below.map(|(_, value)| value.clone()).or(id),
    }
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
    let kind = named(kind)["kind"].as_str();
    matches!(kind, Some("OBJECT" | "INTERFACE" | "UNION"))
}

/// REST's JSON in the names of an input type.
fn shaped(kind: &Value, value: Value) -> Value {
    let kind = named(kind);
    match (kind["kind"].as_str(), value) {
        (_, Value::Array(items)) => items.into_iter().map(|item| shaped(kind, item)).collect(),
        (Some("ENUM"), Value::String(word)) => names::word(&word).into(),
        (Some("INPUT_OBJECT"), Value::Object(parts)) => {
            let types = SCHEMA["types"].as_array().unwrap();
            let shape = types.iter().find(|known| known["name"] == kind["name"]).unwrap();
            let fields = shape["inputFields"].as_array().unwrap();
            let part = |(name, value): (String, Value)| {
                let mut fields = fields.iter();
                let field = fields.find(|field| names_match(&name, field["name"].as_str().unwrap()));
                let field = field.unwrap_or_else(|| panic!("{} has no {name}", kind["name"]));
                let name = field["name"].as_str().unwrap().to_owned();
                (name, shaped(&field["type"], value))
            };
            Value::Object(parts.into_iter().map(part).collect())
        }
        (_, value) => value,
    }
}
