//! What HALCYON is, with nothing of how it is stored, sent or shown: identifiers, datasources and their
//! lifecycle, versions and their configuration, the ontology, access rules and the messages' contents.
//!
//! Everything here is pure: time and identifiers come in as arguments, and no function does I/O.

pub mod access;
pub mod approval;
pub mod assignment;
pub mod audit;
pub mod backfill;
pub mod capture;
pub mod clock;
pub mod comment;
pub mod config;
pub mod datasource;
pub mod duration;
pub mod error;
pub mod event;
pub mod hex;
pub mod id;
pub mod impact;
pub mod lease;
pub mod lifecycle;
pub mod mapping;
pub mod merge;
pub mod network;
pub mod ontology;
pub mod organization;
pub mod partition;
pub mod redact;
pub mod sample;
pub mod schedule;
pub mod session;
pub mod shape;
pub mod test_run;
pub mod version;
