//! `kafka`: records of topics, read as a member of a group and committed after delivery.
//!
//! The Kafka protocol is `librdkafka`'s. It makes no connection to a broker by itself: all go through a relay in this
//! process (see [`relay`]), which judges addresses, encrypts and proves who we are like every other connector.

mod avro;
mod config;
mod connector;
mod consumer;
mod context;
mod dial;
mod manual;
mod record;
mod registry;
mod relay;
mod sasl;
mod shared;
mod source;
mod starts;
mod wire;

#[cfg(test)]
mod tests;

pub use connector::Kafka;
