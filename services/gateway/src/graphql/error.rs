//! Failures: `extensions` of a GraphQL error say what REST's problem says.

use std::time::Duration;

use async_graphql::{Error, ErrorExtensionValues, ServerError, Value};
use serde_json::json;

use super::input::Arguments;
use crate::problem::Problem;

/// What is neither of ours nor about the request's text.
const INTERNAL: &str = "internal";

/// A use case's failure as a field's error. Pointers into the input lead to the arguments.
pub(super) fn failure(problem: Problem, arguments: &Arguments) -> Error {
    let mut problem = problem;
    for error in &mut problem.errors {
        error.pointer = arguments.pointed(&error.pointer);
    }
    of_problem(&problem)
}

/// A problem as a field's error.
pub(super) fn of_problem(problem: &Problem) -> Error {
    Error {
        message: problem.detail.clone(),
        source: None,
        extensions: Some(extensions(problem)),
    }
}

fn extensions(problem: &Problem) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", problem.code);
    if !problem.errors.is_empty() {
        let errors = Value::from_json(json!(problem.errors)).unwrap_or_default();
        extensions.set("errors", errors);
    }
    if let Some(after) = problem.retry_after {
        extensions.set("retry_after", seconds(after));
    }
    if let Some(revision) = problem.current_revision {
        extensions.set("current_revision", revision);
    }
    extensions
}

/// Whole seconds, at least one, as `Retry-After` has them.
pub(super) fn seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}

/// A problem that concerns a request as a whole.
pub(super) fn of_request(problem: &Problem) -> ServerError {
    let mut error = ServerError::new(problem.detail.clone(), None);
    error.extensions = Some(extensions(problem));
    error
}

/// Completes the errors of an answer: each has a code and the request's trace, and none tells of the inside.
pub(super) fn complete(errors: &mut [ServerError], trace_id: &str) {
    for error in errors {
        let inside = error.message == INTERNAL || error.message.starts_with("internal:");
        if inside {
            tracing::error!(error = %error.message, "a GraphQL field failed");
            let problem = Problem::internal(&error.message);
            error.message = problem.detail;
        }
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", if inside { INTERNAL } else { "bad_request" });
        }
        extensions.set("trace_id", trace_id);
    }
}
