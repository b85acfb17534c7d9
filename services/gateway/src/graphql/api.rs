//! The schema in the making: operations are added to it, types follow from what they take and give.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use async_graphql::{
    Value,
    dynamic::{
        Field, FieldFuture, FieldValue, Interface, InterfaceField, Object, ResolverContext, Schema,
        SchemaBuilder, SchemaError, Subscription, SubscriptionField, SubscriptionFieldFuture, TypeRef,
    },
};
use futures::{StreamExt, stream::BoxStream};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{
    connection::Connection,
    context::Call,
    error::{failure, of_problem},
    input::{self, Arguments},
    output,
    shape::Shapes,
};
use crate::{
    app::{self, views::List},
    openapi,
    problem::Problem,
};

/// The interface of what can be had by its identifier alone.
pub(super) const NODE: &str = "Node";

/// The schema in the making.
pub(super) struct Api {
    inputs: Shapes,
    outputs: Shapes,
    query: Object,
    mutation: Object,
    subscription: Subscription,
    /// What objects have beside the parts of their JSON.
    links: BTreeMap<String, Vec<Field>>,
    /// The types that can be had by their identifier alone.
    nodes: BTreeSet<String>,
    /// REST's operations by their identifier: what they are for.
    described: BTreeMap<String, String>,
    /// Which field stands for which of REST's operations.
    pub(super) operations: BTreeMap<&'static str, String>,
    /// The fields that give pages.
    pub(super) paged: BTreeSet<String>,
}

impl Api {
    /// A schema without operations.
    pub(super) fn new() -> Self {
        Self {
            inputs: Shapes::of_inputs(),
            outputs: Shapes::of_outputs(),
            query: Object::new("Query").description("What can be read."),
            mutation: Object::new("Mutation")
                .description("What can be done. One after the other, in their order."),
            subscription: Subscription::new("Subscription").description("What can be followed."),
            links: BTreeMap::new(),
            nodes: BTreeSet::new(),
            described: described(),
            operations: BTreeMap::new(),
            paged: BTreeSet::new(),
        }
    }

    /// A field of the query: what REST's operation `operation` gives.
    pub(super) fn query<A, T, F, Fut>(&mut self, operation: &'static str, name: &str, run: F)
    where
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<T>> + Send + 'static,
    {
        let field = self.operation(name, run).description(self.about(operation));
        self.add_query(field);
        self.operations.insert(operation, format!("Query.{name}"));
    }

    /// A field of the query: the pages of the list that REST's operation `operation` gives.
    pub(super) fn page<A, T, F, Fut>(&mut self, operation: &'static str, name: &str, run: F)
    where
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<List<T>>> + Send + 'static,
    {
        let field = self.pages(name, move |call, _: (), args| run(call, args));
        let field = field.description(self.about(operation));
        self.add_query(field);
        self.operations.insert(operation, format!("Query.{name}"));
    }

    /// A field of the mutation: what REST's operation of the same name does.
    pub(super) fn mutation<A, T, F, Fut>(&mut self, operation: &'static str, run: F)
    where
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<T>> + Send + 'static,
    {
        let field = self.operation(operation, run).description(self.about(operation));
        let mutation = std::mem::replace(&mut self.mutation, Object::new("Mutation"));
        self.mutation = mutation.field(field);
        self.operations.insert(operation, format!("Mutation.{operation}"));
    }

    /// Something that can be followed.
    pub(super) fn subscription<A, T, F, Fut>(&mut self, name: &str, about: &str, run: F)
    where
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send + 'static,
        F: Fn(Call, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<BoxStream<'static, Result<T, Problem>>>> + Send + 'static,
    {
        let arguments = self.arguments::<A>();
        let shape = Arc::new(self.outputs.of::<T>());
        let (run, read) = (Arc::new(run), arguments.clone());
        let field = SubscriptionField::new(name, shape.type_ref(), move |ctx| {
            let (shape, run, arguments) = (shape.clone(), run.clone(), read.clone());
            SubscriptionFieldFuture::new(async move {
                let given = given(&ctx, &arguments)?;
                let items = run(Call::of(&ctx)?, given).await;
                let items = items.map_err(|error| failure(error.into(), &arguments))?;
                Ok(items.map(move |item| {
                    let item = item.map_err(|problem| of_problem(&problem))?;
                    Ok(output::answer(&item, &shape)?.unwrap_or(FieldValue::NULL))
                }))
            })
        });
        let field = arguments.described().fold(field, SubscriptionField::argument);
        let subscription = std::mem::replace(&mut self.subscription, Subscription::new("Subscription"));
        self.subscription = subscription.field(field.description(about));
    }

    /// Something else that objects of a type have: `parent` is what is needed of the object to find it.
    pub(super) fn link<P, T, F, Fut>(&mut self, of: &str, name: &str, about: &str, run: F)
    where
        P: DeserializeOwned + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let shape = Arc::new(self.outputs.of::<T>().or_nothing());
        let run = Arc::new(run);
        let field = Field::new(name, shape.type_ref(), move |ctx| {
            let (shape, run) = (shape.clone(), run.clone());
            FieldFuture::new(async move {
                let found = async {
                    let found = run(Call::of(&ctx)?, parent(&ctx)?).await;
                    output::answer(&found.map_err(|problem| of_problem(&problem))?, &shape)
                };
                Ok(told(&ctx, found.await))
            })
        });
        self.add_link(of, field.description(about));
    }

    /// A list that objects of a type have, in pages.
    pub(super) fn linked_page<P, A, T, F, Fut>(&mut self, of: &str, name: &str, about: &str, run: F)
    where
        P: DeserializeOwned + Send,
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, P, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<List<T>>> + Send + 'static,
    {
        let field = self.pages(name, run).description(about);
        self.add_link(of, field);
    }

    /// A field of the query that is no operation of REST.
    pub(super) fn add_query(&mut self, field: Field) {
        let query = std::mem::replace(&mut self.query, Object::new("Query"));
        self.query = query.field(field);
    }

    /// Says that objects of a type can be had by their identifier alone.
    pub(super) fn node(&mut self, type_name: &str) {
        self.nodes.insert(type_name.to_owned());
    }

    fn add_link(&mut self, of: &str, field: Field) {
        self.links.entry(of.to_owned()).or_default().push(field);
    }

    fn about(&self, operation: &str) -> String {
        self.described.get(operation).cloned().unwrap_or_default()
    }

    /// The arguments that are read as an `A`.
    fn arguments<A: JsonSchema>(&mut self) -> Arc<Arguments> {
        let parts = self.inputs.parts_of::<A>();
        Arc::new(Arguments::new(parts, self.inputs.records.clone()))
    }

    fn operation<A, T, F, Fut>(&mut self, name: &str, run: F) -> Field
    where
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<T>> + Send + 'static,
    {
        let arguments = self.arguments::<A>();
        let shape = Arc::new(self.outputs.of::<T>().or_nothing());
        let (run, read) = (Arc::new(run), arguments.clone());
        let field = Field::new(name, shape.type_ref(), move |ctx| {
            let (shape, run, arguments) = (shape.clone(), run.clone(), read.clone());
            FieldFuture::new(async move {
                let done = async {
                    let given = given(&ctx, &arguments)?;
                    let done = run(Call::of(&ctx)?, given).await;
                    output::answer(&done.map_err(|error| failure(error.into(), &arguments))?, &shape)
                };
                Ok(told(&ctx, done.await))
            })
        });
        arguments.described().fold(field, Field::argument)
    }

    fn pages<P, A, T, F, Fut>(&mut self, name: &str, run: F) -> Field
    where
        P: DeserializeOwned + Send,
        A: DeserializeOwned + JsonSchema + Send,
        T: Serialize + JsonSchema + Send,
        F: Fn(Call, P, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = app::Result<List<T>>> + Send + 'static,
    {
        let arguments = self.arguments::<A>();
        let shape = Arc::new(self.outputs.of::<Connection<T>>().or_nothing());
        self.paged.insert(name.to_owned());
        let (run, read) = (Arc::new(run), arguments.clone());
        let field = Field::new(name, shape.type_ref(), move |ctx| {
            let (shape, run, arguments) = (shape.clone(), run.clone(), read.clone());
            FieldFuture::new(async move {
                let found = async {
                    let after = ctx.args.get("after").filter(|after| !after.is_null());
                    let (parent, given) = (parent(&ctx)?, given(&ctx, &arguments)?);
                    let list = run(Call::of(&ctx)?, parent, given).await;
                    let list = list.map_err(|error| failure(error.into(), &arguments))?;
                    output::answer(&Connection::of(list, after.is_none()), &shape)
                };
                Ok(told(&ctx, found.await))
            })
        });
        arguments.described().fold(field, Field::argument)
    }

    /// The schema. `settle` adds what goes for all of it.
    ///
    /// # Errors
    /// Two types have one name, or a type is missing: a mistake in this crate.
    pub(super) fn finish(
        mut self,
        settle: impl FnOnce(SchemaBuilder) -> SchemaBuilder,
    ) -> Result<Schema, SchemaError> {
        let conflicts = [self.inputs.conflicts.as_slice(), &self.outputs.conflicts].concat();
        if !conflicts.is_empty() {
            return Err(SchemaError(conflicts.join("; ")));
        }
        let mut builder = Schema::build("Query", Some("Mutation"), Some("Subscription"));
        for scalar in output::scalars() {
            builder = builder.register(scalar);
        }
        for words in self.inputs.words_used().chain(self.outputs.words_used()) {
            builder = builder.register(output::enumeration(words));
        }
        for record in self.inputs.records_used() {
            builder = builder.register(input::object(record));
        }
        for record in self.outputs.records_used() {
            let mut object = output::object(record);
            for link in self.links.remove(&record.name).into_iter().flatten() {
                object = object.field(link);
            }
            if self.nodes.contains(&record.name) {
                object = object.implement(NODE);
            }
            builder = builder.register(object);
        }
        let node = Interface::new(NODE)
            .description("Something that has an identifier of its own.")
            .field(InterfaceField::new("id", TypeRef::named_nn(TypeRef::ID)).description("Its identifier."));
        let builder = builder
            .register(node)
            .register(self.query)
            .register(self.mutation)
            .register(self.subscription);
        settle(builder).finish()
    }
}

/// What REST says of its operations.
fn described() -> BTreeMap<String, String> {
    let document = openapi::document(&crate::routes::api());
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    operations
        .filter_map(|(_, operation)| {
            let id = operation["operationId"].as_str()?.to_owned();
            let summary = operation["summary"].as_str()?;
            let rest = operation["description"].as_str().filter(|text| *text != summary);
            let about = rest.map_or_else(|| summary.to_owned(), |rest| format!("{summary}\n\n{rest}"));
            Some((id, about))
        })
        .collect()
}

fn given<A: DeserializeOwned>(ctx: &ResolverContext<'_>, arguments: &Arguments) -> async_graphql::Result<A> {
    arguments.read(ctx).map_err(|problem| failure(problem, arguments))
}

/// What a field gives. One that fails gives nothing, and says why among the answer's errors; its neighbours stay.
fn told<'a>(
    ctx: &ResolverContext<'a>,
    outcome: async_graphql::Result<Option<FieldValue<'a>>>,
) -> Option<FieldValue<'a>> {
    outcome.unwrap_or_else(|error| {
        ctx.add_error(ctx.set_error_path(error.into_server_error(ctx.item.pos)));
        None
    })
}

/// What a link needs to know of the object it belongs to.
fn parent<P: DeserializeOwned>(ctx: &ResolverContext<'_>) -> async_graphql::Result<P> {
    let none = Json::Null;
    let json = match ctx.parent_value.as_value() {
        // The root of the query is nothing.
        Some(Value::Null) => &none,
        _ => ctx.parent_value.try_downcast_ref::<Json>()?,
    };
    P::deserialize(json).map_err(|error| of_problem(&Problem::internal(&error)))
}
