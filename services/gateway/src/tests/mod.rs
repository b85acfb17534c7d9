//! The API over an SQLite store, with stand-ins for the other services.

mod access;
mod approvals;
mod audit;
mod bulk;
mod data_ops;
mod datasources;
mod edge;
mod ends;
mod error_codes;
mod escalation;
mod external;
mod granting;
mod graphql;
mod idempotency;
mod matrix;
mod people;
mod process;
mod publish;
mod reviews;
mod revocation;
mod session;
mod sessions;
mod standing;
mod support;
mod tenants;
mod tls;
