//! What a handler takes from a request. Each part refuses what it cannot read with a problem, and describes
//! itself in the API's description.

use std::{fmt::Debug, str::FromStr, sync::Arc};

use halcyon_domain::error::{InputError, from_value};
use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    http::{ParseError, header},
    oapi::{
        Components, Content, EndpointArgRegister, Operation, Parameter, ParameterIn, RequestBody, Required,
    },
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    app::{App, IfMatch, RequestContext},
    auth,
    context::RequestInfo,
    openapi,
    problem::Problem,
};

/// The largest body that the API reads, in bytes.
pub(crate) const MAX_BODY: usize = 2 * 1024 * 1024;

/// Writes the parts of `Extractible` that are the same everywhere.
macro_rules! no_metadata {
    () => {
        fn metadata() -> &'static Metadata {
            static METADATA: Metadata = Metadata::new("");
            &METADATA
        }
    };
}

/// The application, as the route table was given it.
fn app(depot: &Depot) -> Result<Arc<App>, Problem> {
    depot
        .get_typed::<Arc<App>>()
        .cloned()
        .map_err(|_| Problem::internal(&"the routes were made without the application"))
}

/// A use case's surroundings: the application and a signed-in caller.
pub(crate) struct Caller {
    /// The application.
    pub(crate) app: Arc<App>,
    /// Who asks, with which request.
    pub(crate) context: RequestContext,
}

impl<'ex> Extractible<'ex> for Caller {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        depot: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let app = app(depot)?;
        let token = auth::token_of(req)?;
        let principal = app.authenticate(&token).await?;
        let context = RequestContext::new(principal, RequestInfo::of(req, depot));
        Ok::<_, Problem>(Self { app, context })
    }
}

impl EndpointArgRegister for Caller {
    fn register(components: &mut Components, operation: &mut Operation, _: &str) {
        openapi::add_security(components, operation);
    }
}

/// The application and a caller who need not be signed in.
pub(crate) struct Anyone {
    /// The application.
    pub(crate) app: Arc<App>,
    /// With which request.
    pub(crate) info: RequestInfo,
}

impl<'ex> Extractible<'ex> for Anyone {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        depot: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let info = RequestInfo::of(req, depot);
        Ok::<_, Problem>(Self {
            app: app(depot)?,
            info,
        })
    }
}

impl EndpointArgRegister for Anyone {
    fn register(_: &mut Components, _: &mut Operation, _: &str) {}
}

/// A part of the path. A part that cannot be read names nothing that exists: 404.
pub(crate) struct Path<T>(pub(crate) T);

impl<'ex, T: FromStr + Send> Extractible<'ex> for Path<T> {
    no_metadata!();

    #[expect(refining_impl_trait, reason = "the error's type is known to be a problem")]
    async fn extract(req: &'ex mut Request, depot: &'ex mut Depot) -> Result<Self, Problem> {
        Self::extract_with_arg(req, depot, "id").await
    }

    #[expect(refining_impl_trait, reason = "the error's type is known to be a problem")]
    async fn extract_with_arg(req: &'ex mut Request, _: &'ex mut Depot, arg: &str) -> Result<Self, Problem> {
        req.params()
            .get(arg)
            .and_then(|text| text.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::not_found("object"))
    }
}

impl<T: JsonSchema> EndpointArgRegister for Path<T> {
    fn register(components: &mut Components, operation: &mut Operation, arg: &str) {
        let description = match arg {
            "id" => "The object's identifier.",
            "number" => "The version's number.",
            "from" => "The number of the version to start from.",
            "to" => "The number of the version to arrive at.",
            "name" => "The secret's name.",
            "connector" => "The connector's type, such as `http_webhook`.",
            _ => "A part of the path.",
        };
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut schema = settings.into_generator().into_root_schema_for::<T>();
        schema.remove("title");
        schema.remove("description");
        let mut parameter = Parameter::new(arg)
            .location(ParameterIn::Path)
            .description(description);
        parameter
            .extensions
            .extend([openapi::parameter_schema(schema.to_value())]);
        operation.parameters.insert(parameter);
        openapi::add_problem(
            components,
            operation,
            "404",
            "There is no such object, or it is not for the caller to know.",
        );
    }
}

/// The query. Parameters that are not known are refused with 400.
pub(crate) struct Query<T>(pub(crate) T);

impl<'ex, T: DeserializeOwned + JsonSchema + Send> Extractible<'ex> for Query<T> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        read_query(
            req.queries()
                .iter_all()
                .map(|(name, values)| (name.as_str(), values.as_slice())),
        )
        .map(Self)
    }
}

/// Reads parameters by the schema of `T`, which says of each whether it is a number, a truth or a text.
fn read_query<'a, T: DeserializeOwned + JsonSchema>(
    given: impl Iterator<Item = (&'a str, &'a [String])>,
) -> Result<T, Problem> {
    let known = openapi::properties_of::<T>();
    let refuse = |name: &str, code: &str, detail: String| {
        let problem = Problem::bad_request(format!("query parameter `{name}`: {detail}"));
        Err(problem.with_errors(vec![InputError::new(format!("/{name}"), code, detail)]))
    };
    let mut object = Map::new();
    for (name, values) in given {
        let Some((_, schema, _)) = known.iter().find(|(known, _, _)| known == name) else {
            let names: Vec<_> = known.iter().map(|(name, _, _)| name.as_str()).collect();
            let detail = format!("unknown; known are {}", names.join(", "));
            return refuse(name, "unknown_parameter", detail);
        };
        let [value] = values else {
            return refuse(name, "repeated", "given more than once".to_owned());
        };
        object.insert(name.to_owned(), typed(schema, value));
    }
    from_value(Value::Object(object)).or_else(|error| {
        let name = error.pointer.trim_start_matches('/').to_owned();
        refuse(&name, &error.code, error.detail)
    })
}

/// The value of a parameter's text, by its schema's `type`.
fn typed(schema: &Value, text: &str) -> Value {
    let is = |wanted: &str| match schema.get("type") {
        Some(Value::String(kind)) => kind == wanted,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
        _ => false,
    };
    if is("integer")
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if is("boolean")
        && let Ok(truth) = text.parse::<bool>()
    {
        return truth.into();
    }
    Value::from(text)
}

impl<T: JsonSchema> EndpointArgRegister for Query<T> {
    fn register(_: &mut Components, operation: &mut Operation, _: &str) {
        for (name, mut schema, required) in openapi::properties_of::<T>() {
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .and_then(|text| text.as_str().map(str::to_owned))
                .unwrap_or_default();
            let mut parameter = Parameter::new(name)
                .location(ParameterIn::Query)
                .required(if required { Required::True } else { Required::False })
                .description(description);
            parameter.extensions.extend([openapi::parameter_schema(schema)]);
            operation.parameters.insert(parameter);
        }
    }
}

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

/// The `If-Match` header.
pub(crate) struct Precondition(pub(crate) IfMatch);

impl<'ex> Extractible<'ex> for Precondition {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let header = req.headers().get(header::IF_MATCH);
        Ok::<_, Problem>(Self(header.map_or(IfMatch::Any, |value| {
            value.to_str().map_or(IfMatch::Unreadable, IfMatch::read)
        })))
    }
}

impl EndpointArgRegister for Precondition {
    fn register(components: &mut Components, operation: &mut Operation, _: &str) {
        let schema = serde_json::json!({"type": "string", "examples": ["\"3\""]});
        let mut parameter = Parameter::new("If-Match")
            .location(ParameterIn::Header)
            .required(Required::False)
            .description("The `ETag` of the object as the caller knows it.");
        parameter.extensions.extend([openapi::parameter_schema(schema)]);
        operation.parameters.insert(parameter);
        openapi::add_problem(
            components,
            operation,
            "412",
            "The object was changed meanwhile, or `If-Match` cannot be read.",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        limit: Option<u32>,
        q: Option<String>,
    }

    fn query(pairs: &[(&str, &str)]) -> Result<Filter, Problem> {
        let pairs: Vec<(&str, Vec<String>)> = pairs
            .iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()]))
            .collect();
        read_query(pairs.iter().map(|(name, values)| (*name, values.as_slice())))
    }

    #[test]
    fn a_query_is_read_by_its_types() {
        let filter = query(&[("limit", "7"), ("q", "12")]).unwrap();
        assert_eq!((filter.limit, filter.q.as_deref()), (Some(7), Some("12")));
    }

    #[test]
    fn an_unknown_or_unfit_parameter_is_400() {
        for (name, value, code) in [("limt", "7", "unknown_parameter"), ("limit", "x", "invalid")] {
            let problem = query(&[(name, value)]).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400);
            assert_eq!(
                (
                    problem.errors[0].pointer.as_str(),
                    problem.errors[0].code.as_str()
                ),
                (&*format!("/{name}"), code)
            );
        }
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
