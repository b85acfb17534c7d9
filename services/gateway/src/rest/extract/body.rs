//! The body of a request.

use std::fmt::Debug;

use halcyon_domain::error::from_value;
use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    http::ParseError,
    oapi::{Components, Content, EndpointArgRegister, Operation, RequestBody, Required},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{openapi, problem::Problem};

/// The largest body that the API reads, in bytes.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// A JSON body. Fields that are not known, or do not fit, are refused with 422 and a pointer.
pub(crate) struct Body<T>(pub(crate) T);

impl<'ex, T: DeserializeOwned + Send> Extractible<'ex> for Body<T> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let json = req.content_type().is_none_or(|mime| {
            mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json")
        });
        if !json {
            return Err(Problem::unsupported_media_type(
                "the body is to be `application/json`",
            ));
        }
        let bytes = req
            .payload_with_max_size(MAX_BODY)
            .await
            .map_err(|error| match error {
                ParseError::PayloadTooLarge => Problem::too_large(MAX_BODY),
                _ => Problem::bad_request("the body could not be read to its end"),
            })?;
        read_body(bytes).map(Self)
    }
}

/// Reads a body; an empty one is an object without fields.
fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = if bytes.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::bad_request(format!("the body is not valid JSON: {error}")))?
    };
    from_value(value).map_err(|error| Problem::invalid(vec![error]))
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
}
