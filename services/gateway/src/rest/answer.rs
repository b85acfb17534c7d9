//! What a handler gives back: a status, a body with its description, and the object's revision as `ETag`.

use salvo::{
    Depot, Request, Response, Writer, async_trait,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, ETAG, LOCATION},
    },
    oapi::{
        Components, Content, EndpointOutRegister, Header, Operation, Response as ResponseDescription,
        Responses, ToResponses,
    },
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{app, openapi, problem::Problem};

/// A JSON answer with status `STATUS`.
pub(crate) struct Answer<const STATUS: u16, T> {
    body: T,
    revision: Option<i64>,
    location: Option<String>,
}

/// 200.
pub(crate) type Found<T> = Answer<200, T>;
/// 201.
pub(crate) type Created<T> = Answer<201, T>;
/// 202.
pub(crate) type Accepted<T> = Answer<202, T>;

/// What a handler returns.
pub(crate) type Outcome<T> = Result<T, Problem>;

impl<const STATUS: u16, T> Answer<STATUS, T> {
    /// An answer without a revision.
    pub(crate) const fn new(body: T) -> Self {
        Self {
            body,
            revision: None,
            location: None,
        }
    }

    /// An answer about an object at `revision`.
    pub(crate) const fn at(body: T, revision: i64) -> Self {
        Self {
            body,
            revision: Some(revision),
            location: None,
        }
    }

    /// Says where the new object is.
    pub(crate) fn located(mut self, path: String) -> Self {
        self.location = Some(path);
        self
    }
}

#[async_trait]
impl<const STATUS: u16, T: Serialize + Send + Sync> Writer for Answer<STATUS, T> {
    async fn write(self, req: &mut Request, depot: &mut Depot, res: &mut Response) {
        let body = match serde_json::to_vec(&self.body) {
            Ok(body) => body,
            Err(error) => return Problem::internal(&error).render(req, depot, res),
        };
        res.status_code(StatusCode::from_u16(STATUS).unwrap_or_default());
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let etag = self
            .revision
            .map(app::etag)
            .and_then(|tag| HeaderValue::from_str(&tag).ok());
        if let Some(etag) = etag {
            headers.insert(ETAG, etag);
        }
        if let Some(location) = self.location.and_then(|path| HeaderValue::from_str(&path).ok()) {
            headers.insert(LOCATION, location);
        }
        res.replace_body(body.into());
    }
}

impl<const STATUS: u16, T: JsonSchema> EndpointOutRegister for Answer<STATUS, T> {
    fn register(components: &mut Components, operation: &mut Operation) {
        let schema = openapi::schema_of::<T>(components);
        let text = match STATUS {
            201 => "Made.",
            202 => "Taken in; the state shows when it is reached.",
            _ => "As asked.",
        };
        let etag = Header::default().description("The object's revision, where it has one.");
        let response = ResponseDescription::new(text)
            .add_content("application/json", Content::new(schema))
            .add_header("ETag", etag);
        operation.responses.insert(STATUS.to_string(), response);
    }
}

/// 204: done, nothing to say.
pub(crate) struct Done;

#[async_trait]
impl Writer for Done {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        res.status_code(StatusCode::NO_CONTENT);
    }
}

impl EndpointOutRegister for Done {
    fn register(_: &mut Components, operation: &mut Operation) {
        operation
            .responses
            .insert("204", ResponseDescription::new("Done."));
    }
}

/// What answers that an operation makes no sense in the present state, or that a name is taken.
pub(crate) struct StateConflict;

impl ToResponses for StateConflict {
    fn to_responses(components: &mut Components) -> Responses {
        let mut operation = Operation::new();
        let text = "It makes no sense in the present state, or the name is taken.";
        openapi::add_problem(components, &mut operation, "409", text);
        operation.responses
    }
}
