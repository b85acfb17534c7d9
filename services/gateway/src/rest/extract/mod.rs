//! What a handler takes from a request. Each part refuses what it cannot read with a problem, and describes
//! itself in the API's description.

use std::{fmt::Debug, str::FromStr, sync::Arc};

use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    oapi::{Components, EndpointArgRegister, Operation, Parameter, ParameterIn},
};
use schemars::{JsonSchema, generate::SchemaSettings};

use crate::{
    app::{App, RequestContext},
    context::RequestInfo,
    edge::identity::{self, app},
    openapi,
    problem::Problem,
};

/// Writes the parts of `Extractible` that are the same everywhere.
macro_rules! no_metadata {
    () => {
        fn metadata() -> &'static Metadata {
            static METADATA: Metadata = Metadata::new("");
            &METADATA
        }
    };
}

mod body;
mod precondition;
mod query;

pub(crate) use body::{Body, ExactBody, MAX_BODY, Nothing, PATIENCE, bytes_of, object_of, storable};
pub(crate) use precondition::Precondition;
pub(crate) use query::{Query, none as no_query};

/// A use case's surroundings: the application and a signed-in caller. Where the operation takes no query
/// parameters (`QUERY` is false), there must be none: what is not known is never ignored.
pub(crate) struct Caller<const QUERY: bool = false> {
    /// The application.
    pub(crate) app: Arc<App>,
    /// Who asks, with which request.
    pub(crate) context: RequestContext,
}

/// The caller of an operation that takes a [`Query`].
pub(crate) type QueryCaller = Caller<true>;

impl<'ex, const QUERY: bool> Extractible<'ex> for Caller<QUERY> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        depot: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let app = app(depot)?;
        let context = identity::caller(req, depot).await?;
        if !QUERY {
            query::none(req)?;
        }
        Ok::<_, Problem>(Self { app, context })
    }
}

impl<const QUERY: bool> EndpointArgRegister for Caller<QUERY> {
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
        query::none(req)?;
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
            "token" => "The token's identifier.",
            "connector" => "The connector's type, such as `http_webhook`.",
            "approval" => "The approval's identifier.",
            "comment" => "The comment's identifier.",
            "sample" => "The sample's identifier.",
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
