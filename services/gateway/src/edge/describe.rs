//! What the edge adds to the API's description: it is the same for every operation.

use serde_json::{Map, Value, json};

use super::idempotency::MAX_KEY;
use crate::problem;

const API: &str = "/api/v1/";
const AUTH: &str = "/api/v1/auth/";

/// Describes keys, limits and deadlines on every operation of the API.
pub(crate) fn describe(paths: &mut Map<String, Value>) {
    for (path, item) in paths.iter_mut().filter(|(path, _)| path.starts_with(API)) {
        let Some(item) = item.as_object_mut() else {
            continue;
        };
        for (method, operation) in item.iter_mut() {
            let Some(operation) = operation.as_object_mut() else {
                continue;
            };
            limits(operation);
            if method == "post" && !path.starts_with(AUTH) {
                key(operation);
            }
        }
    }
}

fn limits(operation: &mut Map<String, Value>) {
    answer(operation, "429", "Too many requests; see `Retry-After`.");
    answer(
        operation,
        "504",
        "It took too long; what became of it is not known.",
    );
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(|all| all.values_mut()) {
        let Some(response) = response.as_object_mut() else {
            continue;
        };
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        for (name, text) in [
            (
                "RateLimit",
                "What the caller has left: `\"subject\";r=<requests>;t=<seconds until all are back>`.",
            ),
            (
                "RateLimit-Policy",
                "What the caller may send: `\"subject\";q=<requests>;w=<seconds>`.",
            ),
            (
                "X-Request-Id",
                "Identifies the request in logs and in the audit trail.",
            ),
        ] {
            headers[name] = json!({"description": text, "schema": {"type": "string"}});
        }
    }
}

fn key(operation: &mut Map<String, Value>) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Sent again with the same key, path and body within a day, the request takes effect once \
                            and gets the first one's answer, with `Idempotency-Replayed: true`.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
        }));
    }
    answer(
        operation,
        "409",
        "It makes no sense in the present state; or the request with this `Idempotency-Key` is being carried out, or \
         its answer is not kept.",
    );
    answer(
        operation,
        "422",
        "The `Idempotency-Key` was used for another request.",
    );
}

/// Says that the operation may answer with a problem of this status, unless it says so itself.
fn answer(operation: &mut Map<String, Value>, status: &str, text: &str) {
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    if let Some(responses) = responses.as_object_mut() {
        responses.entry(status).or_insert_with(
            || json!({"description": text, "content": {problem::MEDIA_TYPE: {"schema": schema}}}),
        );
    }
}
