//! What other tests ask of the schema.

use std::collections::BTreeMap;

use serde_json::Value;

use super::api;

const QUERY: &str = "{ __schema {
    queryType { ...root } mutationType { ...root } subscriptionType { ...root }
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

/// The field of each operation that REST has, too, as `Query.datasource`.
pub(crate) fn fields() -> BTreeMap<&'static str, String> {
    api().operations
}
