//! `/graphql`: requests by POST (GraphQL over HTTP).

use std::sync::Arc;

use async_graphql::{Request as Query, Response as Answer, Variables, dynamic::Schema};
use halcyon_domain::error::from_value;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{
        HeaderValue, Method, StatusCode,
        header::{ACCEPT, ALLOW, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
        mime::Mime,
    },
    websocket::WebSocketUpgrade,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    GraphqlSettings,
    context::Call,
    error::{complete, of_request},
    limits::{Limits, MAX_DEPTH},
    socket::{self, MAX_MESSAGE, PROTOCOL},
};
use crate::{
    app::App,
    context::RequestInfo,
    edge::{identity, rate::RateLimit},
    problem::Problem,
    rest::{bytes_of, object_of},
};

/// The media type of answers that have a status of their own.
const RESPONSE: &str = "application/graphql-response+json";
/// The media type of answers whose status says nothing of the operation.
const PLAIN: &str = "application/json";

/// Answers `/graphql`.
#[derive(Clone)]
pub(crate) struct Graphql {
    pub(super) app: Arc<App>,
    pub(super) schema: Schema,
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Body {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    /// Extensions of the protocol: none is known, and GraphQL over HTTP leaves them to be ignored.
    #[serde(default, rename = "extensions")]
    _extensions: Option<Map<String, Value>>,
}

impl Body {
    /// What is to be run.
    pub(super) fn query(self) -> Query {
        let mut query = Query::new(self.query);
        if let Some(variables) = self.variables {
            query = query.variables(Variables::from_json(Value::Object(variables)));
        }
        query.operation_name = self.operation_name;
        query
    }
}

impl Graphql {
    /// Answers with the use cases of `app`.
    ///
    /// # Errors
    /// The schema does not fit together: a mistake in this crate.
    pub(crate) fn new(
        app: Arc<App>,
        settings: &GraphqlSettings,
    ) -> Result<Self, async_graphql::dynamic::SchemaError> {
        let open = settings.introspection.unwrap_or(!app.options.production);
        let api = super::api();
        let limits = Limits::new(api.paged.clone());
        let schema = api.finish(|builder| {
            let builder = builder.extension(limits).limit_recursive_depth(MAX_DEPTH);
            if open {
                builder
            } else {
                builder.disable_introspection().disable_suggestions()
            }
        })?;
        Ok(Self { app, schema })
    }

    /// Reads and runs a request. What fails before it runs is a problem.
    async fn run(&self, req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
        let context = identity::caller(req, depot).await?;
        is_json(req)?;
        let body = Value::Object(object_of(bytes_of(req).await?)?);
        let body: Body = from_value(body).map_err(|error| Problem::bad_request(error.to_string()))?;
        let call = Call::new(self.app.clone(), context);
        Ok(self.schema.execute(body.query().data(call)).await)
    }
}

impl Graphql {
    /// Opens a connection for subscriptions.
    async fn open(&self, req: &mut Request, depot: &Depot, res: &mut Response, info: RequestInfo) {
        let offered = req.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offers = |value: &HeaderValue| {
            let protocols = value.to_str().unwrap_or_default().split(',');
            protocols.map(str::trim).any(|protocol| protocol == PROTOCOL)
        };
        if !offered.into_iter().any(offers) {
            let problem = Problem::bad_request(format!("the protocol is to be `{PROTOCOL}`"));
            return problem.render(req, depot, res);
        }
        let (server, rate) = (self.clone(), depot.get_typed::<RateLimit>().ok().cloned());
        let opened = WebSocketUpgrade::new()
            .protocols(&[PROTOCOL])
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .upgrade(req, res, move |socket| socket::serve(socket, server, info, rate))
            .await;
        if opened.is_err() {
            Problem::bad_request("the request does not open a websocket").render(req, depot, res);
        }
    }
}

/// A body of any other type may come from a form of another site, which a browser sends without asking.
fn is_json(req: &Request) -> Result<(), Problem> {
    let json = |mime: Mime| mime.essence_str() == PLAIN;
    if req.content_type().is_some_and(json) {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type(
            "the body is to be `application/json`",
        ))
    }
}

/// The media type of the answer, by what the caller takes.
fn media_type(req: &Request) -> Option<&'static str> {
    let accept = req.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let Some(accept) = accept else {
        return Some(RESPONSE);
    };
    let kinds = || {
        accept
            .split(',')
            .filter_map(|kind| kind.split(';').next())
            .map(str::trim)
    };
    let takes = |wanted: &str| kinds().any(|kind| kind.eq_ignore_ascii_case(wanted));
    if takes(RESPONSE) {
        Some(RESPONSE)
    } else if takes(PLAIN) {
        Some(PLAIN)
    } else {
        (takes("*/*") || takes("application/*")).then_some(RESPONSE)
    }
}

#[async_trait]
impl Handler for Graphql {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let info = RequestInfo::of(req, depot);
        if req.method() == Method::GET && req.headers().contains_key(UPGRADE) {
            return self.open(req, depot, res, info).await;
        }
        if req.method() != Method::POST {
            res.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).render(req, depot, res);
        }
        let Some(media_type) = media_type(req) else {
            let detail = format!("the answer is `{RESPONSE}` or `{PLAIN}`");
            return Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
                .render(req, depot, res);
        };
        let (status, answer) = match self.run(req, depot).await {
            Ok(answer) if was_run(&answer) || media_type == PLAIN => (StatusCode::OK, answer),
            Ok(answer) => (StatusCode::BAD_REQUEST, answer),
            Err(problem) => {
                // For its headers; the body is one of GraphQL.
                problem.render(req, depot, res);
                (problem.status, Answer::from_errors(vec![of_request(&problem)]))
            }
        };
        res.status_code(status);
        res.headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        res.replace_body(document(answer, &info).to_string().into_bytes().into());
    }
}

/// Whether fields were run. A text that does not fit the schema fails as a whole, at no field.
pub(super) fn was_run(answer: &Answer) -> bool {
    answer.data != async_graphql::Value::Null || answer.errors.iter().any(|error| !error.path.is_empty())
}

/// An answer as it is sent.
pub(super) fn document(mut answer: Answer, info: &RequestInfo) -> Value {
    complete(&mut answer.errors, &info.trace_id);
    let mut document = Map::new();
    if !answer.errors.is_empty() {
        document.insert("errors".to_owned(), json!(answer.errors));
    }
    if was_run(&answer) {
        document.insert("data".to_owned(), json!(answer.data));
    }
    Value::Object(document)
}
