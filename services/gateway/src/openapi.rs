//! The OpenAPI description. The framework collects operations from the route table; schemas come from the
//! types' own `JsonSchema`, so that one description serves the API, the settings and the messages.
//!
//! Schemas travel to the finished document as extensions (`x-schema...`) and are moved to their places at the
//! end, because the framework's own schema type cannot carry all of JSON Schema 2020-12.

use salvo::{
    Router,
    oapi::{
        Components, Content, Info, OpenApi, OpenApiVersion, Operation, Ref, Response, SecurityRequirement,
        SecurityScheme, Tag,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme},
    },
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{auth::SESSION_COOKIE, edge::describe::describe, problem};

/// The extension that carries one named schema.
const NAMED: &str = "x-schema:";
/// The extension that carries a parameter's schema.
const INLINE: &str = "x-schema";

/// The groups of operations, in the order of the documentation.
const TAGS: &[(&str, &str)] = &[
    ("session", "Who is signed in."),
    ("organizations", "Tenants and their projects."),
    ("access", "Users, service accounts and role bindings."),
    (
        "connectors",
        "The kinds of feed there are, their forms and ready-made presets.",
    ),
    ("datasources", "Configured feeds."),
    (
        "versions",
        "Configurations of a datasource: drafts, published and archived ones.",
    ),
    ("approvals", "Asking for a second pair of eyes, and comments."),
    ("lifecycle", "Publishing, rolling back, starting and stopping."),
    ("bulk", "One action on many datasources."),
    (
        "tests",
        "Trying a configuration on a payload, with no effect on production.",
    ),
    ("samples", "Saved payloads to test a mapping with."),
    (
        "secrets",
        "Names and ages of secrets; values go in and never come out.",
    ),
    (
        "observation",
        "History, numbers, log lines and dead letters of a datasource.",
    ),
    ("ingest", "Where events come in."),
    ("ontology", "Alerts, entities and relationships."),
    ("audit", "Who did what."),
];

/// A reference to the schema of `T`, which is put among `components`.
pub(crate) fn schema_of<T: JsonSchema>(components: &mut Components) -> Ref {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let schema = generator.subschema_for::<T>();
    for (name, definition) in generator.take_definitions(true) {
        components.extensions.insert(format!("{NAMED}{name}"), definition);
    }
    if let Some(location) = schema.get("$ref").and_then(Value::as_str) {
        return Ref::new(location);
    }
    let name = T::schema_name();
    components
        .extensions
        .insert(format!("{NAMED}{name}"), schema.to_value());
    Ref::from_schema_name(name)
}

/// The properties of `T` with their schemas, and whether each is required: the query parameters it reads.
pub(crate) fn properties_of<T: JsonSchema>() -> Vec<(String, Value, bool)> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    properties
        .iter()
        .map(|(name, schema)| (name.clone(), without_null(schema.clone()), is_required(name)))
        .collect()
}

/// A parameter's schema without the null that stands for an absent one.
fn without_null(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut kinds)) = object.remove("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        match kinds.as_mut_slice() {
            [Value::Object(only)] => {
                // What is said of the parameter goes before what is said of its type.
                for (key, value) in std::mem::take(only) {
                    object.entry(key).or_insert(value);
                }
            }
            _ => drop(object.insert("anyOf".to_owned(), Value::Array(kinds))),
        }
    }
    schema
}

/// The extension that gives a parameter its schema.
pub(crate) fn parameter_schema(schema: Value) -> (String, Value) {
    (INLINE.to_owned(), schema)
}

/// Says that the operation may answer with a problem of this status.
pub(crate) fn add_problem(components: &mut Components, operation: &mut Operation, status: &str, text: &str) {
    let schema = schema_of::<problem::ProblemDocument<'_>>(components);
    let response = Response::new(text).add_content(problem::MEDIA_TYPE, Content::new(schema));
    operation.responses.insert(status, response);
}

/// Says that the operation needs a signed-in caller.
pub(crate) fn add_security(components: &mut Components, operation: &mut Operation) {
    let none: [&str; 0] = [];
    operation.securities = Some(vec![
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("session", none),
    ]);
    add_problem(components, operation, "401", "No credentials, or none that hold.");
    add_problem(components, operation, "403", "Known, and not allowed.");
}

/// The description of the operations of `router`, complete and in its final form.
pub(crate) fn document(router: &Router) -> Value {
    let info = Info::new("HALCYON Datasource Studio", env!("CARGO_PKG_VERSION")).description(
        "Create, configure, test, publish, run, watch and audit external data feeds. Errors are problem \
         details (RFC 9457). Lists are paged by opaque cursors. Every object has a revision, sent as `ETag`.",
    );
    let bearer = Http::new(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description("The `access_token` of a login.");
    let session = ApiKey::Cookie(ApiKeyValue::with_description(
        SESSION_COOKIE,
        "The cookie that a login sets.",
    ));
    let tags = TAGS.iter().map(|(name, text)| Tag::new(*name).description(*text));
    let document = OpenApi::with_info(info)
        .openapi_version(OpenApiVersion::Version3_1)
        .tags(tags)
        .add_security_scheme("bearer", SecurityScheme::Http(bearer))
        .add_security_scheme("session", SecurityScheme::ApiKey(session))
        .merge_router(router);
    // A document that the framework built always has a JSON form; an empty one would fail the tests.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    settle(&mut document);
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        describe(paths);
        paths.insert("/ingest/{datasource_id}".to_owned(), ingest());
    }
    document
}

/// The description of ingest, which is written for speed and not as an operation of the framework.
fn ingest() -> Value {
    let id = json!({"type": "string"});
    let stored = json!({"type": "object", "properties": {
        "id": {"type": "string", "description": "The event's identifier."},
        "ids": {"type": "array", "items": id, "description": "The events' identifiers, of NDJSON."},
    }});
    json!({"get": handshake(), "post": {
        "tags": ["ingest"],
        "operationId": "ingest",
        "summary": "Takes an event in.",
        "description": "The answer comes once the event is kept durably. How a sender shows who it is depends on \
                        the datasource's configuration: a signature, a bearer token, an API key or a password. A \
                        provider's delivery identifier makes a redelivery harmless.",
        "security": [],
        "parameters": [datasource_parameter()],
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": {}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        }},
        "responses": {
            "200": {"description": "The answer to a provider's handshake."},
            "202": {"description": "Kept.", "content": {"application/json": {"schema": stored}}},
            "400": problem("The body cannot be read."),
            "401": problem("The sender is not who it has to be."),
            "403": problem("The sender's address is not allowed."),
            "404": problem("There is no such datasource."),
            "408": problem("The body took too long to come in."),
            "409": problem("The datasource is disabled or was never published."),
            "413": problem("The body is too large."),
            "415": problem("The body is of a type that the datasource does not read."),
            "429": problem("Too many events; see `Retry-After`."),
            "500": problem("Something went wrong inside."),
            "503": problem("The event cannot be kept now; see `Retry-After`."),
        },
    }})
}

/// The description of a provider's handshake, which comes to the same path.
fn handshake() -> Value {
    json!({
        "tags": ["ingest"],
        "operationId": "ingestHandshake",
        "summary": "Answers a provider's handshake.",
        "description": "Where the configuration has a handshake of this kind, such as Okta's challenge.",
        "security": [],
        "parameters": [datasource_parameter()],
        "responses": {
            "200": {"description": "The answer."},
            "401": problem("The provider is not who it has to be."),
            "403": problem("The sender's address is not allowed."),
            "404": problem("There is no such datasource."),
            "405": problem("The request is no handshake that the datasource answers."),
            "409": problem("The datasource is disabled or was never published."),
            "500": problem("Something went wrong inside."),
            "503": problem("The request cannot be judged now; see `Retry-After`."),
        },
    })
}

fn datasource_parameter() -> Value {
    json!({
        "name": "datasource_id", "in": "path", "required": true, "description": "The datasource.",
        "schema": {"type": "string", "format": "uuid"},
    })
}

/// A problem as an answer that is described by hand.
fn problem(text: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({"description": text, "content": {problem::MEDIA_TYPE: {"schema": schema}}})
}

/// Moves the schemas that travelled as extensions to their places.
fn settle(document: &mut Value) {
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        let (named, rest): (Map<_, _>, Map<_, _>) = std::mem::take(components)
            .into_iter()
            .partition(|(name, _)| name.starts_with(NAMED));
        *components = rest;
        let schemas = components
            .entry("schemas")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(schemas) = schemas.as_object_mut() {
            for (name, mut schema) in named {
                if let Some(schema) = schema.as_object_mut() {
                    schema.remove("$schema");
                }
                schemas.insert(name[NAMED.len()..].to_owned(), schema);
            }
        }
    }
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return;
    };
    let operations = paths.values_mut().filter_map(Value::as_object_mut);
    for operation in operations.flat_map(|item| item.values_mut()) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
            if let Some(schema) = parameter.remove(INLINE) {
                parameter.insert("schema".to_owned(), schema);
            }
        }
    }
}

/// The committed description, as `docs/reference/openapi.json` keeps it.
#[must_use]
pub fn openapi_json() -> String {
    let document = document(&crate::routes::api());
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_reference_is_up_to_date() {
        halcyon_tests::reference::check("openapi.json", &openapi_json());
    }

    #[test]
    fn every_operation_is_described_in_full() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 30, "{} paths", paths.len());
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let name = format!("{method} {path}");
                assert!(
                    !operation["tags"].as_array().unwrap().is_empty(),
                    "{name} has no tag"
                );
                assert!(operation["summary"].is_string(), "{name} has no summary");
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(
                    !id.contains('.') && ids.insert(id),
                    "{name} has no identifier of its own"
                );
                let responses = operation["responses"].as_object().unwrap();
                assert!(
                    responses.keys().any(|status| status.starts_with('2')),
                    "{name} never succeeds"
                );
                assert!(responses.contains_key("500"), "{name} never fails");
                let entry = ["/auth/login", "/auth/refresh", "/auth/logout"];
                let open = entry.iter().any(|entry| path.ends_with(entry)) || path.starts_with("/ingest/");
                let secured = operation["security"]
                    .as_array()
                    .is_some_and(|any| !any.is_empty());
                assert_eq!(secured, !open, "{name}: security");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["schema"].is_object(), "{name}: {parameter}");
                    assert!(parameter["description"].is_string(), "{name}: {parameter}");
                }
            }
        }
    }

    #[test]
    fn a_parameter_is_of_the_type_it_takes() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let parameters = &document["paths"]["/api/v1/alerts"]["get"]["parameters"];
        let schema_of = |name: &str| {
            let all = parameters.as_array().unwrap();
            all.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
        };
        assert_eq!(schema_of("limit")["type"], "integer");
        assert_eq!(schema_of("datasource")["format"], "uuid");
        assert!(schema_of("severity").to_string().contains("critical"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let mut pending = vec![&document];
        while let Some(value) = pending.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(location) = object.get("$ref").and_then(Value::as_str) {
                        let pointer = location.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{location}");
                    }
                    pending.extend(object.values());
                }
                Value::Array(items) => pending.extend(items),
                _ => {}
            }
        }
        assert!(!document.to_string().contains("\"x-schema"));
    }
}
