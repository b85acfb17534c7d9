//! Ingest: `POST /ingest/{datasource_id}`. A request is judged on its raw bytes with what the gateway holds in
//! memory, so that it goes on with the database and the registry down; 202 is answered only after JetStream's ack.
//!
//! [`router`] has the path `{datasource_id}` and is mounted under `/ingest`.

mod events;
mod feeds;
mod follower;
mod handler;
mod headers;
mod opened;
mod refusal;
mod state;
#[cfg(test)]
mod tests;

pub use handler::router;
pub use state::{IngestContext, IngestState};
