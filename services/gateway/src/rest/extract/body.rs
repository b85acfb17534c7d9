//! The body of a request.

use std::{fmt::Debug, time::Duration};

use halcyon_domain::error::{InputError, escape, from_path_error, from_value};
use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    http::{ParseError, header::CONTENT_TYPE},
    oapi::{Components, Content, EndpointArgRegister, Operation, RequestBody, Required},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{openapi, problem::Problem};

/// The largest body that the API reads, in bytes.
pub(crate) const MAX_BODY: usize = 2 * 1024 * 1024;
/// How long a body may take to come in.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The field that is handed on and never stored, so that any text may be tried: a test run's payload.
const UNSTORED: &str = "payload";

/// A JSON body. Fields that are not known, or do not fit, are refused with 422 and a pointer.
pub(crate) struct Body<T>(pub(crate) T);

impl<'ex, T: DeserializeOwned + Send> Extractible<'ex> for Body<T> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        read_body(json_bytes(req).await?).map(Self)
    }
}

/// A JSON body of which parts are kept as they are written: numbers that no machine number holds, white space.
pub(crate) struct ExactBody<T>(pub(crate) T);

impl<'ex, T: DeserializeOwned + Send> Extractible<'ex> for ExactBody<T> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        read_exact(json_bytes(req).await?).map(Self)
    }
}

impl<T: JsonSchema> EndpointArgRegister for ExactBody<T> {
    fn register(components: &mut Components, operation: &mut Operation, arg: &str) {
        <Body<T> as EndpointArgRegister>::register(components, operation, arg);
    }
}

/// The bytes of a body that says it is JSON.
async fn json_bytes(req: &mut Request) -> Result<&[u8], Problem> {
    let is_json = match req.content_type() {
        Some(mime) => mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"),
        None => !req.headers().contains_key(CONTENT_TYPE),
    };
    if !is_json {
        return Err(Problem::unsupported_media_type(
            "the body is to be `application/json`",
        ));
    }
    bytes_of(req).await
}

/// The bytes of a body, within the limits of size and time.
pub(crate) async fn bytes_of(req: &mut Request) -> Result<&[u8], Problem> {
    let bytes: &[u8] = tokio::time::timeout(PATIENCE, req.payload_with_max_size(MAX_BODY))
        .await
        .map_err(|_| Problem::too_slow())?
        .map_err(|error| match error {
            ParseError::PayloadTooLarge => Problem::too_large(MAX_BODY),
            _ => Problem::bad_request("the body could not be read to its end"),
        })?;
    Ok(bytes)
}

/// Reads a body whose parts are kept as they are written.
fn read_exact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // What must hold of every body is looked at first; what is read of it here has lost nothing.
    read_body::<Value>(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(if bytes.is_empty() { b"{}" } else { bytes });
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Problem::invalid(vec![from_path_error(&error)]))
}

/// Reads a body; an empty one is an object without fields.
fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let fields = object_of(bytes)?;
    storable(&fields)
        .and_then(|()| from_value(Value::Object(fields)))
        .map_err(|error| Problem::invalid(vec![error]))
}

/// The object that a body is.
pub(crate) fn object_of(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let value = if bytes.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::bad_request(format!("the body is not valid JSON: {error}")))?
    };
    // A list would be taken as the fields of an object in the order of their declaration.
    match value {
        Value::Object(fields) => Ok(fields),
        _ => {
            let error = InputError::new("", "invalid", "the body is to be an object");
            Err(Problem::invalid(vec![error]))
        }
    }
}

/// Checks that an input can be stored.
pub(crate) fn storable(fields: &Map<String, Value>) -> Result<(), InputError> {
    for (name, field) in fields.iter().filter(|(name, _)| *name != UNSTORED) {
        if let Some(pointer) = nul_in(name, field) {
            return Err(InputError::new(
                pointer,
                "invalid",
                "the character NUL cannot be stored",
            ));
        }
    }
    Ok(())
}

/// Where in a field, or in its name, there is a NUL: Postgres takes it neither in texts nor in JSON.
fn nul_in(name: &str, value: &Value) -> Option<String> {
    let inside = match value {
        _ if name.contains('\0') => Some(String::new()),
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| nul_in(&index.to_string(), item))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| nul_in(name, field)),
        _ => None,
    };
    inside.map(|rest| format!("/{}{rest}", escape(name)))
}

impl<T: JsonSchema> EndpointArgRegister for Body<T> {
    fn register(components: &mut Components, operation: &mut Operation, _: &str) {
        let schema = openapi::schema_of::<T>(components);
        let needed = openapi::properties_of::<T>()
            .iter()
            .any(|(_, _, required)| *required);
        let body = RequestBody::new()
            .required(if needed { Required::True } else { Required::False })
            .add_content("application/json", Content::new(schema));
        operation.request_body = Some(body);
        for (status, text) in [
            ("408", "The body took too long to come in."),
            ("413", "The body is too large."),
            ("415", "The body is not JSON."),
            ("422", "Fields of the body do not fit."),
        ] {
            openapi::add_problem(components, operation, status, text);
        }
    }
}

/// A body that says nothing: absent, or an object without fields.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        limit: Option<u32>,
    }

    #[test]
    fn an_unknown_field_is_422_and_broken_json_is_400() {
        let problem = read_body::<Filter>(br#"{"limit": 1, "more": 2}"#).unwrap_err();
        assert_eq!(
            (problem.status.as_u16(), problem.errors[0].pointer.as_str()),
            (422, "/more")
        );
        assert_eq!(read_body::<Filter>(b"{").unwrap_err().status.as_u16(), 400);
        assert!(read_body::<Filter>(b"").unwrap().limit.is_none());
    }

    #[test]
    fn a_body_is_an_object_and_says_nothing_back() {
        for body in [&b"[1]"[..], b"\"hunter2\"", b"7", b"null"] {
            let problem = read_body::<Filter>(body).unwrap_err();
            assert_eq!(problem.status.as_u16(), 422);
            assert!(!problem.detail.contains("hunter2"), "{}", problem.detail);
        }
    }

    #[test]
    fn an_exact_body_keeps_what_is_written_and_refuses_what_others_do() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Kept {
            payload: Box<serde_json::value::RawValue>,
        }
        let kept = read_exact::<Kept>(br#"{"payload": [1.10, 123456789012345678901]}"#).unwrap();
        assert_eq!(kept.payload.get(), "[1.10, 123456789012345678901]");
        let problem = read_exact::<Kept>(br#"{"payload": 1, "more": 2}"#).unwrap_err();
        assert_eq!(
            (problem.status.as_u16(), problem.errors[0].code.as_str()),
            (422, "unknown_field")
        );
        assert!(!problem.detail.contains("line"), "{}", problem.detail);
        assert_eq!(read_exact::<Kept>(b"").unwrap_err().errors[0].pointer, "/payload");
        assert_eq!(read_exact::<Kept>(b"[1]").unwrap_err().status.as_u16(), 422);
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let problem = |body: &str| read_body::<Map<String, Value>>(body.as_bytes()).unwrap_err();
        let pointer = |body: &str| problem(body).errors[0].pointer.clone();
        assert_eq!(pointer(r#"{"a": [{"b/c": "x\u0000"}]}"#), "/a/0/b~1c");
        assert_eq!(pointer(r#"{"a": {"b\u0000": 1}}"#), "/a/b\0");
        assert!(read_body::<Map<String, Value>>(br#"{"payload": "\u0000"}"#).is_ok());
    }
}
