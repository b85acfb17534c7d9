//! Tests against a real nats-server.

mod buckets;
mod data_path;
mod leases;
mod messages;
mod permissions;
mod restarts;
mod rpc;
mod support;
mod upkeep;
