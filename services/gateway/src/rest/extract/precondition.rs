//! The condition that a request names.

use std::fmt::Debug;

use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    http::header,
    oapi::{Components, EndpointArgRegister, Operation, Parameter, ParameterIn, Required},
};

use crate::{app::IfMatch, openapi, problem::Problem};

/// The `If-Match` header.
pub(crate) struct Precondition(pub(crate) IfMatch);

impl<'ex> Extractible<'ex> for Precondition {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let mut headers = req.headers().get_all(header::IF_MATCH).iter();
        Ok::<_, Problem>(Self(match (headers.next(), headers.next()) {
            (None, _) => IfMatch::Any,
            (Some(only), None) => only.to_str().map_or(IfMatch::Unreadable, IfMatch::read),
            (Some(_), Some(_)) => IfMatch::Unreadable,
        }))
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
