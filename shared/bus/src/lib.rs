//! The bus: the only crate that names a subject, a stream or a bucket.
//!
//! | module | what it is for |
//! |---|---|
//! | [`settings`], [`identity`], [`connection`] | who connects, to where, and the connection itself |
//! | [`subjects`], [`topology`], [`server`] | names, streams and buckets, the server's configuration and permissions |
//! | [`codec`], [`publisher`], [`consumer`], [`delivery`] | the data path: frames, group commit, deliveries |
//! | [`bucket`], [`mirror`], [`lease`], [`checkpoint`], [`instances`] | state that is shared through key-value buckets |
//! | [`rpc`], [`requests`], [`seal`] | questions and answers, and what is sealed in them |
//! | [`audit`], [`captures`], [`config_changes`], [`dead_letters`], [`heartbeats`], [`logs`], [`objects`], [`parked`], [`replays`] | the other messages |
//! | [`trim`], [`trace`] | upkeep of the ingest stream, W3C trace context |

pub mod asyncapi;
pub mod audit;
pub mod bucket;
pub mod captures;
pub mod checkpoint;
pub mod codec;
pub mod config_changes;
pub mod connection;
pub mod consumer;
pub mod dead_letters;
pub mod delivery;
pub mod error;
pub mod heartbeats;
pub mod identity;
pub mod instances;
pub mod lease;
pub mod logs;
pub mod mirror;
pub mod objects;
pub mod parked;
pub mod publisher;
pub mod replays;
pub mod requests;
pub mod rpc;
pub mod seal;
pub mod server;
pub mod settings;
pub mod subjects;
pub mod topology;
pub mod trace;
pub mod trim;

mod direct;
mod durability;
mod publish;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Entry};
pub use connection::{Bus, BusStats};
pub use consumer::Consumer;
pub use delivery::Delivery;
pub use durability::Durability;
pub use error::{Error, RemoteError};
pub use identity::{Identity, Service};
pub use lease::{Lease, LeaseHolder, LeaseRecord, LeaseStore};
pub use mirror::KvMirror;
pub use publisher::{FramePublisher, FramePublishers};
pub use seal::InstanceKey;
pub use settings::{BusSettings, BusTls};
