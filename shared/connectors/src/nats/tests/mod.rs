//! Against a real nats-server.

mod peer;
mod reading;
mod suite;
