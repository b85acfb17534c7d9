//! REST: the shape of requests and answers around the use cases, one file for each group.

mod answer;
mod extract;

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod backfills;
pub(crate) mod bulk;
pub(crate) mod captures;
pub(crate) mod catalog;
pub(crate) mod checkpoints;
pub(crate) mod comments;
pub(crate) mod datasources;
pub(crate) mod dead_letters;
pub(crate) mod lifecycle;
pub(crate) mod observe;
pub(crate) mod ontology;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod role_bindings;
pub(crate) mod samples;
pub(crate) mod secrets;
pub(crate) mod service_accounts;
pub(crate) mod session;
pub(crate) mod tests;
pub(crate) mod token_keys;
pub(crate) mod users;
pub(crate) mod versions;

pub(crate) use extract::{MAX_BODY, PATIENCE, bytes_of, no_query, object_of, storable};
