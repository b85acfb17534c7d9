//! Tests against a real nats-server.

mod buckets;
mod cluster;
mod data_path;
mod leases;
mod messages;
mod permissions;
mod refused;
mod restarts;
mod rpc;
mod support;
mod tls;
mod upkeep;
