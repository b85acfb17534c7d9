//! Every error that leaves the gateway: problem details (RFC 9457). A problem carries only what the caller may
//! know; the cause of an internal failure is logged where the problem is made and never sent.

use std::time::Duration;

use halcyon_domain::error::InputError;
use salvo::{
    Depot, Request, Response, Writer, async_trait,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    oapi::{Components, EndpointOutRegister, Operation},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{context::RequestInfo, edge, openapi};

/// The media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs; the last part of `type`.
    pub code: &'static str,
    /// What happened, for people. Never an internal message.
    pub detail: String,
    /// What is wrong with which field of the input.
    pub errors: Vec<InputError>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The revision that the object has now, when `If-Match` did not match it.
    pub current_revision: Option<i64>,
    /// Which limit was reached, where it is not the one on the caller's requests.
    pub limit: Option<&'static str>,
}

/// A problem as it is sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemDocument<'a> {
    /// Identifies the kind of problem: `urn:halcyon:problem:` and a stable word.
    r#type: String,
    /// The kind of problem, for people.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, for people.
    detail: &'a str,
    /// The path that was asked for.
    instance: String,
    /// Identifies this request in logs and traces.
    trace_id: String,
    /// What is wrong with which field of the input.
    #[serde(skip_serializing_if = "<[InputError]>::is_empty")]
    #[schemars(default)]
    errors: &'a [InputError],
    /// The revision that the object has now, when `If-Match` did not match it.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_revision: Option<i64>,
}

impl Problem {
    /// A problem of the given kind.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            current_revision: None,
            limit: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 401: no credentials, or none that hold.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// 403: known, and not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: does not exist, or is not for the caller to know.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    /// 409: makes no sense in the present state.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: `If-Match` names another revision than `current`.
    #[must_use]
    pub fn stale(current: i64) -> Self {
        let detail = format!("the object was changed meanwhile; its revision is {current} now");
        let mut problem = Self::new(StatusCode::PRECONDITION_FAILED, "stale", detail);
        problem.current_revision = Some(current);
        problem
    }

    /// 408: the body did not come in within the time that there is for it.
    #[must_use]
    pub fn too_slow() -> Self {
        let detail = "the body took too long to come in";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 415: the body is of a type that is not read here.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        )
    }

    /// 422: fields of the input do not fit.
    #[must_use]
    pub fn invalid(errors: Vec<InputError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => only.to_string(),
            several => format!("{} fields do not fit", several.len()),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.errors = errors;
        problem
    }

    /// 429: too many requests; try again later.
    pub fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// 504: it took too long, and nobody knows what became of it.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        let detail = "it took too long; what became of it is not known";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail)
    }

    /// 503: a part of the system that is needed cannot be reached now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        problem.retry_after = Some(Duration::from_secs(2));
        problem
    }

    /// 500: something went wrong that the caller can do nothing about. `cause` is logged here.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong; the trace identifier leads to the log",
        )
    }

    /// The problem of a bare status, for what the framework answers by itself.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("path"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method_not_allowed", "the path does not take this method")
            }
            StatusCode::REQUEST_TIMEOUT => Self::too_slow(),
            StatusCode::GATEWAY_TIMEOUT => Self::deadline_exceeded(),
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(&"a handler ended unexpectedly"),
            other => Self::new(
                other,
                "error",
                other.canonical_reason().unwrap_or("error").to_lowercase(),
            ),
        }
    }

    /// Adds field errors.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<InputError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names the limit that was reached (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub const fn limited_by(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    fn document(&self, instance: String, trace_id: String) -> ProblemDocument<'_> {
        ProblemDocument {
            r#type: format!("urn:halcyon:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            trace_id,
            errors: &self.errors,
            current_revision: self.current_revision,
        }
    }

    /// Writes the problem as the answer to `req`.
    pub fn render(&self, req: &Request, depot: &Depot, res: &mut Response) {
        let trace_id = RequestInfo::of(req, depot).trace_id;
        let document = self.document(req.uri().path().to_owned(), trace_id);
        // The document consists of texts and numbers only, which always have a JSON form.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        res.status_code(self.status);
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            let left = self
                .limit
                .map(|limit| format!("\"{limit}\";r=0;t={}", seconds.max(1)));
            if let Some(left) = left.and_then(|left| HeaderValue::from_str(&left).ok()) {
                headers.insert(edge::rate::LEFT, left);
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        res.replace_body(body.into());
    }
}

#[async_trait]
impl Writer for Problem {
    async fn write(self, req: &mut Request, depot: &mut Depot, res: &mut Response) {
        self.render(req, depot, res);
    }
}

impl EndpointOutRegister for Problem {
    fn register(components: &mut Components, operation: &mut Operation) {
        for (status, description) in [
            ("400", "The request cannot be understood."),
            ("500", "Something went wrong inside."),
            (
                "503",
                "A part of the system cannot be reached now; see `Retry-After`.",
            ),
        ] {
            openapi::add_problem(components, operation, status, description);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_cause_is_not_told() {
        let problem = Problem::internal(&"connection to 10.0.0.7 refused: password=hunter2");
        let text = serde_json::to_string(&problem.document("/x".into(), "t".into())).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("10.0.0.7"), "{text}");
    }

    #[test]
    fn a_document_has_the_fields_of_the_contract() {
        let problem = Problem::invalid(vec![InputError::new("/name", "required", "missing")]);
        let document = serde_json::to_value(problem.document("/api/v1/x".into(), "abc".into())).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:halcyon:problem:invalid", "title": "Unprocessable Entity", "status": 422,
                "detail": "/name: missing", "instance": "/api/v1/x", "trace_id": "abc",
                "errors": [{"pointer": "/name", "code": "required", "detail": "missing"}],
            })
        );
    }

    #[test]
    fn a_stale_revision_names_the_current_one() {
        let document =
            serde_json::to_value(Problem::stale(7).document(String::new(), String::new())).unwrap();
        assert_eq!(
            (&document["status"], &document["current_revision"]),
            (&412.into(), &7.into())
        );
    }
}
