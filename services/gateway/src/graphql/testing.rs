//! What other tests ask of the schema.

use serde_json::Value;

use super::api;

const QUERY: &str = "{ __schema {
    queryType { ...root } mutationType { ...root }
    types { name inputFields { name type { ...shape } } }
} }
fragment root on __Type { fields { name type { ...shape } args { name type { ...shape } } } }
fragment shape on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The types and the fields of the roots, as introspection tells them.
pub(crate) fn introspection() -> Value {
    let schema = api().finish(|builder| builder).unwrap();
    let answer = futures::executor::block_on(schema.execute(QUERY));
    let mut data = answer.into_result().unwrap().data.into_json().unwrap();
    data["__schema"].take()
}

/// The field that stands for an operation of REST, as `Query.datasource`.
pub(crate) fn field_of(operation: &str) -> Option<String> {
    api().operations.get(operation).cloned()
}
