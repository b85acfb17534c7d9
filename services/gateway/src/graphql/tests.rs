//! The schema as a whole: its description, and that it and REST have the same operations.

use std::collections::BTreeSet;

use super::api;

/// REST's operations that GraphQL has not, each with its reason.
const ONLY_REST: &[(&str, &str)] = &[
    ("login", "sets a cookie, and nobody is signed in yet"),
    ("logout", "clears cookies"),
    ("refresh", "takes and sets a cookie"),
    ("switchOrganization", "sets cookies"),
    ("exportAudit", "is a file"),
    ("downloadDeadLetters", "is a file"),
    ("followAudit", "is a stream of server-sent events"),
    (
        "ingest",
        "takes events of any media type in, signed by their senders",
    ),
    ("ingestHandshake", "answers a provider's handshake"),
];
/// Fields of the query that are no operation of REST.
const ONLY_GRAPHQL: &[&str] = &["node"];

fn sdl() -> String {
    let schema = api().finish(|builder| builder).unwrap();
    let options = async_graphql::SDLExportOptions::new();
    schema.sdl_with_options(options)
}

#[test]
fn graphql_reference_is_up_to_date() {
    halcyon_tests::reference::check("schema.graphql", &sdl());
}

#[test]
fn rest_and_graphql_have_the_same_operations() {
    let document: serde_json::Value = serde_json::from_str(&crate::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let rest: BTreeSet<&str> = paths
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let api = api();
    let graphql: BTreeSet<&str> = api.operations.keys().copied().collect();
    let only_rest: BTreeSet<&str> = ONLY_REST.iter().map(|(name, _)| *name).collect();
    let missing: Vec<_> = rest
        .difference(&graphql)
        .filter(|name| !only_rest.contains(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "GraphQL lacks {missing:?}: see graphql/mod.rs"
    );
    let unknown: Vec<_> = graphql.difference(&rest).collect();
    assert!(unknown.is_empty(), "REST lacks {unknown:?}");
    let stale: Vec<_> = only_rest
        .iter()
        .filter(|name| !rest.contains(*name) || graphql.contains(*name))
        .collect();
    assert!(stale.is_empty(), "no longer exceptions: {stale:?}");
}

#[test]
fn every_root_field_is_an_operation_of_rest_or_a_stated_exception() {
    let api = api();
    let known: BTreeSet<String> = api.operations.values().cloned().collect();
    let schema = api.finish(|builder| builder).unwrap();
    let query = "{ __schema { queryType { fields { name description } } mutationType { fields { name description } } } }";
    let answer = futures::executor::block_on(schema.execute(query))
        .into_result()
        .unwrap();
    let data = answer.data.into_json().unwrap();
    for (root, key) in [("Query", "queryType"), ("Mutation", "mutationType")] {
        for field in data["__schema"][key]["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let stated = root == "Query" && ONLY_GRAPHQL.contains(&name);
            assert!(
                stated || known.contains(&format!("{root}.{name}")),
                "{root}.{name}"
            );
            assert!(
                !field["description"].as_str().unwrap_or_default().is_empty(),
                "{root}.{name} is not described"
            );
        }
    }
}
