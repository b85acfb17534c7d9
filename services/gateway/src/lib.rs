//! The gateway: REST API, webhook ingest, access, and the outbox relay.
//!
//! | module | what it is for |
//! |---|---|
//! | [`app`] | the use cases: authorise, validate, store and outbox in one transaction |
//! | `rest`, `routes`, `openapi`, `docs` | the shape of requests and answers, the route table, its description |
//! | `edge` | what surrounds every request: keys, limits, headers, TLS |
//! | [`graphql`] | the same operations by GraphQL |
//! | [`auth`] | passwords, access tokens, the brake on guessing |
//! | [`ingest`] | takes events in, durably |
//! | [`problem`] | every error that leaves the gateway |
//! | `proxies` | which address a request came from |
//! | `relay` | publishes the outbox |
//! | `run`, `server`, [`settings`] | the process |

pub mod app;
pub mod auth;
pub mod context;
pub mod graphql;
pub mod ingest;
pub mod problem;
pub mod settings;

mod captured;
mod docs;
mod edge;
mod openapi;
mod proxies;
mod relay;
mod rest;
mod routes;
mod run;
mod server;

#[cfg(test)]
mod tests;

pub use auth::hash_password;
pub use edge::check_exposure;
pub use openapi::openapi_json;
pub use proxies::ForwardedHeader;
pub use run::{Context, run};
pub use settings::Settings;
