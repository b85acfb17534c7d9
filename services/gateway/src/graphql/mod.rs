//! GraphQL: the same operations as REST, over the same use cases, with the same inputs, answers and errors.
//!
//! No type is written twice. What a use case takes and gives has a JSON schema (for the OpenAPI description); the
//! GraphQL types are made from it: `created_at` is `createdAt`, a reference such as `project` is `projectId`, words
//! are in capitals, inputs end with `Input`, lists are connections. To add an operation to the file of its area:
//!
//! - `api.page("listThings", "things", |call, list: ListThings| async move { call.app.list_things(&call.context, list).await })`
//! - `api.query("getThing", "thing", |call, of: Of<ThingId>| ...)` for one object, or a short list: `.map(|list| list.items)`
//! - `api.mutation("updateThing", |call, change: Change<ThingId, UpdateThing>| ...)`: its field is the operation's name
//!
//! The first text is the `operation_id` of REST, whose description is the field's, too. The parts of the second
//! parameter's type are the field's arguments: [`arguments`] has the usual ones, a struct of the area's own does as
//! well (`Deserialize` and `JsonSchema`; what is the body in REST is called `input`). What has nothing to say gives
//! `.map(done)`. `api.link("Thing", "owner", ...)` adds what an object has beside its JSON; it goes through a loader
//! (`loaders`), so that a list costs as many queries as one object. `api.node("Thing")` is for what `node(id:)` finds.
//! `api.subscription("name", about, ...)` gives a stream.
//! The parity test fails while REST or GraphQL lacks an operation that the other one has.

mod api;
mod arguments;
mod connection;
mod context;
mod error;
mod input;
mod limits;
mod loaders;
pub(crate) mod names;
mod output;
mod server;
mod settings;
mod shape;
mod socket;

mod access;
mod audit;
mod backfills;
mod captures;
mod catalog;
mod datasources;
mod lifecycle;
mod node;
mod observation;
mod ontology;
mod reviews;
mod secrets;
mod session;
mod subscriptions;
mod versions;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use api::Api;

pub(crate) use server::Graphql;
pub use settings::GraphqlSettings;

/// All operations.
fn api() -> Api {
    let mut api = Api::new();
    for add in [
        session::add,
        access::add,
        node::add,
        catalog::add,
        datasources::add,
        versions::add,
        reviews::add,
        captures::add,
        lifecycle::add,
        backfills::add,
        secrets::add,
        observation::add,
        ontology::add,
        audit::add,
        subscriptions::add,
    ] {
        add(&mut api);
    }
    api
}
